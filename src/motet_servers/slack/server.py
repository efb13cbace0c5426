"""The Slack server's tools and resources."""

from __future__ import annotations

from ssl import SSLContext
from typing import Annotated

import httpx2
from fastmcp.resources.base import ResourceResult
from pydantic import Field

from motet_servers.kit.arguments import Cursor, Encoding, Key, base64_length, decoded
from motet_servers.kit.http import ApiClient
from motet_servers.kit.server import JSON, DomainServer, as_json, closing
from motet_servers.kit.settings import Values
from motet_servers.slack import model, wire
from motet_servers.slack.api import LARGEST_FILE, Slack

ChannelName = Annotated[str, Field(min_length=1, max_length=100, description="A channel's name (#releases) or id.")]
Ts = Annotated[str, Field(max_length=20, description="The message's ts, as send_message or list_messages gave it.")]
SECONDS = r"^[0-9]{1,12}(\.[0-9]{1,6})?$"
"""Since 1970, as Slack counts."""
Text = Annotated[str, Field(min_length=1, max_length=40_000, description="Slack's mrkdwn.")]
Limit = Annotated[int, Field(ge=1, le=200, description="Most items on one page.")]
Emoji = Annotated[str, Field(min_length=1, max_length=100, description="The emoji's name, such as tada.")]
Broadcast = Annotated[
    bool,
    Field(description="Let <!channel>, <!here>, <!everyone> and groups notify people; else they are shown as text."),
]


def build(values: Values, arguments: list[str]) -> DomainServer:
    """The server for the environment's workspace."""
    del arguments
    return slack_server(values.url("SLACK_API_URL"), values.token("SLACK_BOT_TOKEN"), tls=values.authorities())


def slack_server(
    url: str, token: str, *, tls: SSLContext | None = None, transport: httpx2.AsyncBaseTransport | None = None
) -> DomainServer:
    """A server for the workspace the bot token belongs to."""
    client = ApiClient(
        "Slack",
        url,
        headers={"Authorization": f"Bearer {token}"},
        explain=wire.words,
        secrets=[token],
        tls=tls,
        transport=transport,
    )
    slack = Slack(client)

    server = DomainServer(
        "slack-mcp-server",
        version="1.0.0",
        description="Slack integration: channels, messages, threads, users, files and reactions.",
        capabilities={"tools": {}, "resources": {}},
        domain="slack",
        uris=["slack://**"],
        secrets=[token],
        lifespan=closing(client),
    )
    _reading_tools(server, slack)
    _message_tools(server, slack)
    _other_tools(server, slack)
    _resources(server, slack)
    return server


def _reading_tools(server: DomainServer, slack: Slack) -> None:
    @server.tool(retry="safe", title="List channels")
    async def list_channels(
        include_archived: bool = False,  # noqa: FBT001, FBT002 - tools are called by name
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> model.ChannelPage:
        """Channels the bot can see; it can post where `member` is true."""
        return await slack.channels(archived=include_archived, limit=limit, cursor=cursor)

    @server.tool(retry="safe", title="Get a channel")
    async def get_channel(channel: ChannelName) -> model.Channel:
        """A channel by name or id."""
        return await slack.channel(channel)

    @server.tool(retry="safe", title="List messages")
    async def list_messages(
        channel: ChannelName,
        oldest: Annotated[
            str | None, Field(pattern=SECONDS, description="Only after this ts (seconds since 1970 will do).")
        ] = None,
        latest: Annotated[str | None, Field(pattern=SECONDS, description="Only before this ts.")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> model.MessagePage:
        """Messages of a channel, newest first; replies are in their threads."""
        return await slack.messages(channel, oldest=oldest, latest=latest, limit=limit, cursor=cursor)

    @server.tool(retry="safe", title="List a thread")
    async def list_replies(
        channel: ChannelName, thread_ts: Ts, limit: Limit = 50, cursor: Cursor = None
    ) -> model.MessagePage:
        """A thread from its first message on, oldest first."""
        return await slack.replies(channel, thread_ts, limit=limit, cursor=cursor)

    @server.tool(retry="safe", title="Search users")
    async def search_users(
        query: Annotated[str, Field(min_length=1, max_length=255, description="Part of a name, or an e-mail address.")],
        limit: Limit = 50,
    ) -> model.UsersFound:
        """Users whose name matches, or the one with that address."""
        return await slack.search_users(query, limit=limit)

    @server.tool(retry="safe", title="Get a permalink")
    async def get_permalink(channel: ChannelName, ts: Ts) -> model.Permalink:
        """A message's address for people."""
        return await slack.permalink(channel, ts)

    @server.tool(retry="safe", title="Who the bot is")
    async def get_identity() -> model.Identity:
        """The bot's user and workspace."""
        return await slack.identity()


def _message_tools(server: DomainServer, slack: Slack) -> None:
    @server.tool(retry="keyed", title="Send a message", destructive=False)
    async def send_message(
        channel: ChannelName,
        text: Text,
        thread_ts: Annotated[Ts | None, Field(description="Answer in this message's thread.")] = None,
        allow_broadcast: Broadcast = False,  # noqa: FBT002 - tools are called by name
        idempotency_key: Key = None,
    ) -> model.Sent:
        """Post a message. With a key, a repetition gives the message that the first call sent."""
        return await slack.send(channel, text, thread_ts=thread_ts, broadcast=allow_broadcast, key=idempotency_key)

    @server.tool(retry="safe", title="Change a message", read_only=False, idempotent=True)
    async def update_message(
        channel: ChannelName,
        ts: Ts,
        text: Text,
        allow_broadcast: Broadcast = False,  # noqa: FBT002 - tools are called by name
    ) -> model.Updated:
        """Replace the text of one of the bot's own messages."""
        return await slack.update(channel, ts, text, broadcast=allow_broadcast)

    @server.tool(retry="safe", title="Delete a message", read_only=False, idempotent=True)
    async def delete_message(channel: ChannelName, ts: Ts) -> model.Deleted:
        """Delete one of the bot's own messages; fine if it is gone already."""
        return await slack.delete(channel, ts)


def _other_tools(server: DomainServer, slack: Slack) -> None:
    @server.tool(retry="safe", title="Add a reaction", read_only=False, destructive=False, idempotent=True)
    async def add_reaction(channel: ChannelName, ts: Ts, name: Emoji) -> model.Reacted:
        """React to a message; fine if the bot has already."""
        return await slack.react(channel, ts, name, present=True)

    @server.tool(retry="safe", title="Remove a reaction", read_only=False, idempotent=True)
    async def remove_reaction(channel: ChannelName, ts: Ts, name: Emoji) -> model.Reacted:
        """Take the bot's reaction back; fine if there is none."""
        return await slack.react(channel, ts, name, present=False)

    @server.tool(retry="safe", title="Join a channel", read_only=False, destructive=False, idempotent=True)
    async def join_channel(channel: ChannelName) -> model.Channel:
        """Let the bot into a public channel; fine if it is in already."""
        return await slack.join(channel)

    @server.tool(retry="verify_first", title="Upload a file", destructive=False)
    async def upload_file(
        channel: ChannelName,
        filename: Annotated[str, Field(min_length=1, max_length=255)],
        content: Annotated[str, Field(max_length=base64_length(LARGEST_FILE))],
        encoding: Encoding = "utf-8",
        title: Annotated[str | None, Field(max_length=255, description="Left out: the file's name.")] = None,
        comment: Annotated[Text | None, Field(description="A message to go with it.")] = None,
        thread_ts: Annotated[Ts | None, Field(description="Share it in this message's thread.")] = None,
    ) -> model.Uploaded:
        """Share a file in a channel. After a lost answer, look with list_messages before repeating."""
        raw = decoded(content, encoding, most=LARGEST_FILE)
        return await slack.upload(channel, filename, raw, title=title, comment=comment, thread_ts=thread_ts)


def _resources(server: DomainServer, slack: Slack) -> None:
    @server.resource("slack://channels{?cursor}", name="channels", mime_type=JSON)
    async def channels(cursor: str | None = None) -> ResourceResult:
        """Channels the bot can see."""
        return as_json(await slack.channels(archived=False, limit=200, cursor=cursor))

    @server.resource("slack://channel/{channel}/messages{?cursor}", name="messages", mime_type=JSON)
    async def messages(channel: str, cursor: str | None = None) -> ResourceResult:
        """Messages of a channel, by name or id, newest first."""
        return as_json(await slack.messages(channel, oldest=None, latest=None, limit=50, cursor=cursor))

    @server.resource("slack://channel/{channel}/thread/{thread_ts}{?cursor}", name="thread", mime_type=JSON)
    async def thread(channel: str, thread_ts: str, cursor: str | None = None) -> ResourceResult:
        """A thread, oldest first."""
        return as_json(await slack.replies(channel, thread_ts, limit=50, cursor=cursor))

    @server.resource("slack://users{?cursor}", name="users", mime_type=JSON)
    async def users(cursor: str | None = None) -> ResourceResult:
        """The workspace's users."""
        return as_json(await slack.users(limit=200, cursor=cursor))
