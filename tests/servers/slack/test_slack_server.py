"""The Slack server on the playground: what its tools answer, and that a key makes a message be sent once."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import pytest

from motet_servers.kit.errors import (
    Conflict,
    DomainError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Unavailable,
)
from motet_servers.kit.http import ApiClient
from motet_servers.kit.server import DomainServer
from motet_servers.playground.world import Credentials, Playground
from motet_servers.slack.api import Slack
from motet_servers.slack.server import slack_server
from motet_servers.slack.wire import Status, failure

TOKEN = "xoxb-" + "t" * 36
KEYS = Credentials("g", "j", TOKEN, "c", "control")

KINDS = ["error_before", "error_after", "cut_before", "cut_after", "rate_limited"]


@pytest.fixture
async def playground() -> AsyncGenerator[Playground]:
    async with Playground(credentials=KEYS) as playground:
        yield playground


@pytest.fixture
def slack(playground: Playground) -> DomainServer:
    return slack_server(f"{playground.slack.url}/api", TOKEN)


async def call(server: DomainServer, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await server.call_tool(tool, arguments)
    assert result.structured_content is not None
    return result.structured_content


@pytest.mark.proves("FR-ORCH-003")
@pytest.mark.parametrize("channel", ["#releases", "releases", "RELEASES", "C0RELEASES2"])
async def test_a_message_goes_to_a_channel_by_name_or_id(
    slack: DomainServer, playground: Playground, channel: str
) -> None:
    sent = await call(slack, "send_message", channel=channel, text="v2.1.0 is out")
    assert sent == {
        "channel": "C0RELEASES2",
        "ts": sent["ts"],
        "text": "v2.1.0 is out",
        "thread_ts": "",
        "created": True,
    }
    newest = (await call(slack, "list_messages", channel=channel, limit=1))["items"][0]
    assert (newest["ts"], newest["text"], newest["user"]) == (sent["ts"], "v2.1.0 is out", "U0MOTETBOT")


@pytest.mark.parametrize("threaded", [False, True])
async def test_after_trouble_a_repetition_with_the_same_key_has_one_effect(
    slack: DomainServer, playground: Playground, threaded: bool
) -> None:
    for done, kind in enumerate(KINDS, start=1):
        wish = {"channel": "releases", "text": "out", "idempotency_key": kind}
        wish |= {"thread_ts": "1788253200.000100"} if threaded else {}
        await playground.set_trouble("slack", {"kind": kind, "times": 1, "path": "chat.postMessage"})
        with pytest.raises(RateLimited if kind == "rate_limited" else OutcomeUnknown):
            await call(slack, "send_message", **wish)
        second = await call(slack, "send_message", **wish)
        third = await call(slack, "send_message", **wish)
        assert second["created"] is (not kind.endswith("_after"))
        assert third == {**second, "created": False}
        assert playground.effects["slack"] == {"message.posted": done}, kind


async def test_a_key_used_for_another_text_is_refused(slack: DomainServer, playground: Playground) -> None:
    await call(slack, "send_message", channel="releases", text="one", idempotency_key="k")
    with pytest.raises(Conflict, match="used before with other arguments"):
        await call(slack, "send_message", channel="releases", text="two", idempotency_key="k")
    assert playground.effects["slack"] == {"message.posted": 1}


async def test_a_thread_is_answered_and_listed_from_its_start(slack: DomainServer) -> None:
    first = await call(slack, "send_message", channel="general", text="Shall we?")
    answer = await call(slack, "send_message", channel="general", text="Yes", thread_ts=first["ts"])
    thread = await call(slack, "list_replies", channel="general", thread_ts=first["ts"])
    channel = await call(slack, "list_messages", channel="general")
    assert answer["thread_ts"] == first["ts"]
    assert [message["text"] for message in thread["items"]] == ["Shall we?", "Yes"]
    assert [(message["text"], message["reply_count"]) for message in channel["items"]] == [("Shall we?", 1)]


async def test_messages_page_by_cursor(slack: DomainServer) -> None:
    for number in range(5):
        await call(slack, "send_message", channel="general", text=str(number))
    texts: list[str] = []
    cursor = None
    while cursor != "end":
        page = await call(slack, "list_messages", channel="general", limit=2, cursor=cursor)
        texts += [message["text"] for message in page["items"]]
        cursor = page["next_cursor"] or "end"
    assert texts == ["4", "3", "2", "1", "0"]


async def test_text_from_elsewhere_cannot_notify_everybody(slack: DomainServer) -> None:
    for mention in ["<!channel>", "<!here|here>", "<!everyone>", "<!subteam^S1>"]:
        sent = await call(slack, "send_message", channel="general", text=f"hi {mention} <https://x.test|x>")
        updated = await call(slack, "update_message", channel="general", ts=sent["ts"], text=mention)
        meant = await call(slack, "send_message", channel="general", text=mention, allow_broadcast=True)
        assert sent["text"] == f"hi &lt;{mention[1:]} <https://x.test|x>"
        assert (updated["text"], meant["text"]) == (f"&lt;{mention[1:]}", mention)


async def test_changing_deleting_and_reacting_twice_is_doing_it_once(
    slack: DomainServer, playground: Playground
) -> None:
    ts = (await call(slack, "send_message", channel="general", text="x"))["ts"]
    place = {"channel": "general", "ts": ts}
    reacted = [(await call(slack, "add_reaction", **place, name=":tada:"))["changed"] for _ in "12"]
    shown = (await call(slack, "list_messages", channel="general"))["items"][0]["reactions"]
    taken = [(await call(slack, "remove_reaction", **place, name="tada"))["changed"] for _ in "12"]
    deleted = [(await call(slack, "delete_message", **place))["deleted"] for _ in "12"]
    assert reacted == taken == deleted == [True, False]
    assert shown == [{"name": "tada", "count": 1, "users": ["U0MOTETBOT"]}]
    assert playground.effects["slack"] == {
        "message.posted": 1,
        "reaction.added": 1,
        "reaction.removed": 1,
        "message.deleted": 1,
    }


async def test_others_messages_are_not_the_bots_to_change(slack: DomainServer) -> None:
    for tool, more in (("delete_message", {}), ("update_message", {"text": "x"})):
        with pytest.raises(Refused, match="only the bot's own messages"):
            await call(slack, tool, channel="releases", ts="1788253200.000100", **more)


async def test_a_file_is_shared_with_its_comment(slack: DomainServer, playground: Playground) -> None:
    shared = await call(slack, "upload_file", channel="general", filename="notes.txt", content="Näh", comment="See")
    newest = (await call(slack, "list_messages", channel="general"))["items"][0]
    assert (shared["size"], shared["channel"]) == (4, "C0GENERAL1")
    assert (newest["text"], newest["files"]) == ("See", ["notes.txt"])
    assert playground.slack.files[shared["id"]].content == "Näh".encode()
    with pytest.raises(InvalidInput, match="not valid base64"):
        await call(slack, "upload_file", channel="general", filename="x", content="*", encoding="base64")


async def test_people_are_found_by_name_and_address(slack: DomainServer) -> None:
    found = [
        [user["name"] for user in (await call(slack, "search_users", query=query))["items"]]
        for query in ("hop", "@ada", "guido@example.test", "nobody@example.test", "qq")
    ]
    assert found == [["grace"], ["ada"], ["guido"], [], []]


async def test_a_channel_is_looked_up_once(slack: DomainServer, playground: Playground) -> None:
    await call(slack, "send_message", channel="general", text="one")
    before = playground.requests("slack")
    await call(slack, "send_message", channel="general", text="two")
    assert playground.requests("slack") - before == 1


async def test_a_name_is_looked_up_again_in_time(playground: Playground) -> None:
    clock = [0.0]
    token = {"Authorization": f"Bearer {TOKEN}"}
    async with ApiClient("Slack", f"{playground.slack.url}/api", headers=token) as client:
        slack = Slack(client, now=lambda: clock[0])
        before = await slack.channel("general")
        playground.slack.channels[before.id].name = "renamed"
        assert (await slack.channel("general")).id == before.id
        clock[0] = 300.0
        with pytest.raises(NotFound, match="there is no channel #general"):
            await slack.channel("general")


async def test_a_channel_nobody_knows_says_where_to_look(slack: DomainServer) -> None:
    with pytest.raises(NotFound, match="See list_channels"):
        await call(slack, "send_message", channel="#nowhere", text="x")


async def test_a_channel_without_the_bot_says_what_to_do(slack: DomainServer, playground: Playground) -> None:
    playground.slack.channels["C0GENERAL1"].member = False
    with pytest.raises(Refused, match="invite it, or use join_channel"):
        await call(slack, "send_message", channel="general", text="x")
    assert (await call(slack, "join_channel", channel="general"))["member"] is True
    assert (await call(slack, "send_message", channel="general", text="x"))["created"] is True


async def test_a_ts_that_is_none_never_leaves(slack: DomainServer, playground: Playground) -> None:
    for ts in ["", "1", "1788253200", "1788253200.0001&x=1", "latest"]:
        with pytest.raises(InvalidInput, match="ts must be a message's ts"):
            await call(slack, "get_permalink", channel="C0GENERAL1", ts=ts)
        assert playground.requests("slack") == 0


async def test_resources_hold_what_the_tools_answer(slack: DomainServer) -> None:
    for uri, part in (
        ("slack://channels", '"name":"releases"'),
        ("slack://channel/releases/messages", '"text":"v2.0.0 is out"'),
        ("slack://channel/releases/thread/1788253200.000100", '"text":"v2.0.0 is out"'),
        ("slack://users", '"real_name":"Ada Lovelace"'),
    ):
        assert part in str((await slack.read_resource(uri)).contents[0].content)
    assert (await call(slack, "get_identity"))["user"] == "motet"
    ts = "1788253200.000100"
    assert "/archives/C0RELEASES2/" in (await call(slack, "get_permalink", channel="releases", ts=ts))["permalink"]


@pytest.mark.parametrize(
    ("word", "harmless", "kind"),
    [
        ("channel_not_found", False, NotFound),
        ("missing_scope", False, Refused),
        ("ratelimited", False, RateLimited),
        ("msg_too_long", False, InvalidInput),
        ("internal_error", False, OutcomeUnknown),
        ("fatal_error", False, OutcomeUnknown),
        ("fatal_error", True, Unavailable),
        ("service_unavailable", False, Unavailable),
        ("something_new", False, InvalidInput),
        ("", False, InvalidInput),
    ],
)
def test_slacks_words_are_sorted(word: str, harmless: bool, kind: type[DomainError]) -> None:
    found = failure(
        Status(ok=False, error=word, needed="chat:write" if word == "missing_scope" else ""), harmless=harmless
    )
    assert type(found) is kind
    assert ("chat:write" in str(found)) is (word == "missing_scope")


@pytest.mark.parametrize(
    "place",
    [
        "http://169.254.169.254/x",
        "https://evil.test/x",
        "https://files.slack.com.evil.test/x",
        "https://files.slack.com:8443/x",
    ],
)
async def test_a_file_goes_nowhere_but_to_slack(place: str) -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url))
        return httpx2.Response(200, json={"ok": True, "upload_url": place, "file_id": "F1"})

    slack = slack_server("https://slack.com/api", TOKEN, transport=httpx2.MockTransport(answer))
    with pytest.raises(Refused, match="not its own; nothing was sent there"):
        await call(slack, "upload_file", channel="C0000001", filename="x", content="x")
    assert asked == ["https://slack.com/api/files.getUploadURLExternal"]


async def test_a_file_goes_to_slacks_own_store_without_the_token() -> None:
    asked: list[tuple[str, bytes, bool]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append((str(request.url), request.content, "authorization" in request.headers))
        place = "https://files.slack.com/upload/v1/abc?x=1"
        return httpx2.Response(200, json={"ok": True, "upload_url": place, "file_id": "F1", "files": [{"id": "F1"}]})

    slack = slack_server("https://slack.com/api", TOKEN, transport=httpx2.MockTransport(answer))
    await call(slack, "upload_file", channel="C0000001", filename="x", content="News")
    assert [(url, has_token) for url, _, has_token in asked] == [
        ("https://slack.com/api/files.getUploadURLExternal", True),
        ("https://files.slack.com/upload/v1/abc?x=1", False),
        ("https://slack.com/api/files.completeUploadExternal", True),
    ]
    assert asked[1][1] == b"News"


async def test_without_the_scope_for_private_channels_the_public_ones_are_listed() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if b"private_channel" in request.content:
            return httpx2.Response(200, json={"ok": False, "error": "missing_scope", "needed": "groups:read"})
        return httpx2.Response(200, json={"ok": True, "channels": [{"id": "C0000001", "name": "general"}]})

    slack = slack_server("https://slack.com/api", TOKEN, transport=httpx2.MockTransport(answer))
    assert [channel["name"] for channel in (await call(slack, "list_channels"))["items"]] == ["general"]
