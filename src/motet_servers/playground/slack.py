"""Slack's Web API, as much as the slack server uses; state in memory. Failures are 200 with ``ok: false``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

from motet_servers.playground.http import (
    Refused,
    Request,
    Response,
    json_response,
    mapping,
    number,
    objects,
    strings,
    text,
)

BOT = "U0MOTETBOT"
TEAM = "T0PLAYGRND"


@dataclass(slots=True)
class Message:
    """A message; replies carry their thread's first `ts`."""

    ts: str
    user: str
    text: str
    thread_ts: str | None = None
    metadata: dict[str, object] | None = None
    reactions: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    files: list[str] = field(default_factory=list[str])
    edited: bool = False


@dataclass(slots=True)
class Channel:
    """A public channel."""

    id: str
    name: str
    topic: str = ""
    member: bool = True
    messages: list[Message] = field(default_factory=list[Message])


@dataclass(slots=True)
class File:
    """A file, from asking for an upload URL to its share."""

    id: str
    name: str
    size: int
    content: bytes | None = None
    title: str = ""


class SlackRefused(Exception):
    """One of Slack's error words, such as `channel_not_found`."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class Slack:
    """The stand-in: a handler over channels and users."""

    def __init__(
        self,
        channels: list[Channel],
        users: Mapping[str, str],
        *,
        token: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.url = "http://127.0.0.1"
        self.channels = {channel.id: channel for channel in channels}
        self.files: dict[str, File] = {}
        self._users = {f"U0{name.upper()}": (name, full) for name, full in users.items()} | {BOT: ("motet", "Motet")}
        self._token = token
        self._now = now
        self._last = 0
        self._methods: dict[str, Callable[[dict[str, object]], tuple[dict[str, object], str]]] = {
            "auth.test": self._test,
            "conversations.list": self._list,
            "conversations.info": self._info,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "conversations.join": self._join,
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "chat.delete": self._delete,
            "chat.getPermalink": self._permalink,
            "reactions.add": self._react,
            "reactions.remove": self._unreact,
            "reactions.get": self._reactions,
            "users.list": self._list_users,
            "users.info": self._user_info,
            "users.lookupByEmail": self._by_email,
            "files.getUploadURLExternal": self._upload_url,
            "files.completeUploadExternal": self._complete_upload,
        }

    async def __call__(self, request: Request) -> Response:
        if request.path.startswith("/upload/"):
            return self._receive(request)
        if not request.path.startswith("/api/"):
            return Response(404, b"not found", {"content-type": "text/plain"})
        effect = ""
        try:
            params = request.params()
            self._admit(request.headers.get("authorization", ""), params)
            method = self._methods.get(request.path.removeprefix("/api/"), _unknown)
            answer, effect = method(params)
            answer = {"ok": True, **answer}
        except SlackRefused as refused:
            answer = {"ok": False, "error": refused.word}
        except Refused as refused:
            answer = {"ok": False, "error": "invalid_arguments", "response_metadata": {"messages": [refused.message]}}
        return json_response(answer, effect=effect)

    def _admit(self, authorization: str, params: Mapping[str, object]) -> None:
        if (authorization.removeprefix("Bearer ") or params.get("token")) != self._token:
            raise SlackRefused("invalid_auth" if authorization else "not_authed")

    # Finding

    def _channel(self, params: Mapping[str, object], *, posting: bool = False) -> Channel:
        wanted = text(params, "channel")
        for channel in self.channels.values():
            if wanted == channel.id or (posting and wanted.removeprefix("#") == channel.name):
                return channel
        raise SlackRefused("channel_not_found")

    def _message(
        self, params: Mapping[str, object], name: str = "ts", *, missing: str = "message_not_found"
    ) -> tuple[Channel, Message]:
        channel = self._channel(params)
        wanted = text(params, name) or text(params, "timestamp") or text(params, "message_ts")
        for message in channel.messages:
            if message.ts == wanted:
                return channel, message
        raise SlackRefused(missing)

    def _ts(self) -> str:
        self._last = max(self._last + 1, int(self._now().timestamp() * 1_000_000))
        return f"{self._last // 1_000_000}.{self._last % 1_000_000:06d}"

    # Methods: arguments → answer and effect

    def _test(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        del params
        return {
            "url": f"{self.url}/",
            "team": "Playground",
            "user": "motet",
            "team_id": TEAM,
            "user_id": BOT,
            "bot_id": "B0MOTET01",
        }, ""

    def _list(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        shown = [self._show_channel(channel) for channel in self.channels.values()]
        page, cursor = _page(params, shown)
        return {"channels": page, "response_metadata": {"next_cursor": cursor}}, ""

    def _info(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        return {"channel": self._show_channel(self._channel(params))}, ""

    def _join(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        channel = self._channel(params)
        effect = "" if channel.member else "channel.joined"
        channel.member = True
        return {"channel": self._show_channel(channel)}, effect

    def _history(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        channel = self._channel(params)
        oldest, latest = float(text(params, "oldest", "0")), float(text(params, "latest", "9e9"))
        inclusive = text(params, "inclusive") in ("true", "1")
        found = [
            message
            for message in reversed(channel.messages)
            if message.thread_ts in (None, message.ts)
            and (oldest < float(message.ts) < latest or (inclusive and float(message.ts) in (oldest, latest)))
        ]
        page, cursor = _page(params, [self._show(message, channel, params) for message in found], default=100)
        return {"messages": page, "has_more": bool(cursor), "pin_count": 0, **_more(cursor)}, ""

    def _replies(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        channel, first = self._message(params, missing="thread_not_found")
        root = first.thread_ts or first.ts
        thread = [message for message in channel.messages if root in (message.ts, message.thread_ts)]
        page, cursor = _page(params, [self._show(message, channel, params) for message in thread], default=1000)
        return {"messages": page, "has_more": bool(cursor), **_more(cursor)}, ""

    def _post(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        channel = self._channel(params, posting=True)
        if not channel.member:
            raise SlackRefused("not_in_channel")
        body = text(params, "text")
        if not body and not params.get("blocks"):
            raise SlackRefused("no_text")
        message = Message(self._ts(), BOT, body, text(params, "thread_ts") or None, _metadata(params))
        if message.thread_ts is not None:
            root = next((each for each in channel.messages if each.ts == message.thread_ts), None)
            if root is None:
                raise SlackRefused("thread_not_found")
            root.thread_ts = root.ts
        channel.messages.append(message)
        return {
            "channel": channel.id,
            "ts": message.ts,
            "message": self._show(message, channel, params),
        }, "message.posted"

    def _update(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        channel, message = self._message(params)
        if message.user != BOT:
            raise SlackRefused("cant_update_message")
        message.text, message.edited = text(params, "text"), True
        shown = {"type": "message", "user": message.user, "text": message.text}
        return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": shown}, "message.updated"

    def _delete(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        channel, message = self._message(params)
        if message.user != BOT:
            raise SlackRefused("cant_delete_message")
        channel.messages.remove(message)
        return {"channel": channel.id, "ts": message.ts}, "message.deleted"

    def _permalink(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        channel, message = self._message(params, "message_ts")
        return {"channel": channel.id, "permalink": self._link(channel, message)}, ""

    def _link(self, channel: Channel, message: Message) -> str:
        return f"{self.url}/archives/{channel.id}/p{message.ts.replace('.', '')}"

    def _react(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        _, message = self._message(params, "timestamp")
        people = message.reactions.setdefault(text(params, "name"), [])
        if BOT in people:
            raise SlackRefused("already_reacted")
        people.append(BOT)
        return {}, "reaction.added"

    def _unreact(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        _, message = self._message(params, "timestamp")
        people = message.reactions.get(text(params, "name"), [])
        if BOT not in people:
            raise SlackRefused("no_reaction")
        people.remove(BOT)
        return {}, "reaction.removed"

    def _reactions(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        channel, message = self._message(params, "timestamp")
        return {"type": "message", "channel": channel.id, "message": self._show(message, channel, params)}, ""

    def _list_users(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        page, cursor = _page(params, [self._show_user(ident) for ident in self._users])
        return {
            "members": page,
            "cache_ts": int(self._now().timestamp()),
            "response_metadata": {"next_cursor": cursor},
        }, ""

    def _user_info(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        if (wanted := text(params, "user")) not in self._users:
            raise SlackRefused("user_not_found")
        return {"user": self._show_user(wanted)}, ""

    def _by_email(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        for ident, (name, _) in self._users.items():
            if text(params, "email") == f"{name}@example.test":
                return {"user": self._show_user(ident)}, ""
        raise SlackRefused("users_not_found")

    def _upload_url(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        file = File(f"F0{len(self.files) + 1:07d}", text(params, "filename"), number(params, "length", 0))
        self.files[file.id] = file
        return {"upload_url": f"{self.url}/upload/v1/{file.id}", "file_id": file.id}, ""

    def _receive(self, request: Request) -> Response:
        file = self.files.get(request.path.rpartition("/")[2])
        if file is None or request.method != "POST":
            return Response(404, b"no such upload", {"content-type": "text/plain"})
        file.content = request.body
        return Response(200, b"OK - %d" % len(request.body), {"content-type": "text/plain"})

    def _complete_upload(self, params: dict[str, object]) -> tuple[dict[str, object], str]:
        shared: list[File] = []
        for named in _files(params):
            file = self.files.get(text(named, "id"))
            if file is None or file.content is None:
                raise SlackRefused("file_not_found")
            file.title = text(named, "title", file.name)
            shared.append(file)
        if wanted := text(params, "channel_id"):
            channel = self._channel({"channel": wanted})
            posted = Message(self._ts(), BOT, text(params, "initial_comment"), text(params, "thread_ts") or None)
            posted.files = [file.id for file in shared]
            channel.messages.append(posted)
        return {"files": [self._show_file(file) for file in shared]}, "file.shared"

    # Slack's shapes

    def _show_channel(self, channel: Channel) -> dict[str, object]:
        about = {"creator": "", "last_set": 0}
        return {
            "id": channel.id,
            "name": channel.name,
            "name_normalized": channel.name,
            "is_channel": True,
            "is_group": False,
            "is_im": False,
            "is_mpim": False,
            "is_private": False,
            "is_archived": False,
            "is_general": channel.name == "general",
            "is_shared": False,
            "is_org_shared": False,
            "is_member": channel.member,
            "created": 1700000000,
            "creator": BOT,
            "unlinked": 0,
            "topic": {"value": channel.topic, **about},
            "purpose": {"value": "", **about},
            "previous_names": [],
            "num_members": len(self._users),
        }

    def _show(self, message: Message, channel: Channel, params: Mapping[str, object]) -> dict[str, object]:
        shown: dict[str, object] = {
            "type": "message",
            "user": message.user,
            "text": message.text,
            "ts": message.ts,
            "team": TEAM,
        }
        if message.user == BOT:
            shown["bot_id"] = "B0MOTET01"
        if message.thread_ts is not None:
            shown["thread_ts"] = message.thread_ts
            if message.thread_ts == message.ts:
                shown["reply_count"] = sum(each.thread_ts == message.ts for each in channel.messages) - 1
        if message.metadata is not None and text(params, "include_all_metadata") in ("true", "1"):
            shown["metadata"] = message.metadata
        if message.edited:
            shown["edited"] = {"user": message.user, "ts": message.ts}
        reactions = {name: people for name, people in message.reactions.items() if people}
        if reactions:
            shown["reactions"] = [
                {"name": name, "count": len(people), "users": people} for name, people in reactions.items()
            ]
        if message.files:
            shown["files"] = [self._show_file(self.files[ident]) for ident in message.files]
        return shown

    def _show_user(self, ident: str) -> dict[str, object]:
        name, full = self._users[ident]
        return {
            "id": ident,
            "team_id": TEAM,
            "name": name,
            "real_name": full,
            "deleted": False,
            "is_bot": ident == BOT,
            "is_app_user": False,
            "updated": 1700000000,
            "tz": "Etc/UTC",
            "profile": {
                "real_name": full,
                "real_name_normalized": full,
                "display_name": name,
                "display_name_normalized": name,
                "email": f"{name}@example.test",
                "avatar_hash": "",
                "title": "",
                "team": TEAM,
            },
        }

    def _show_file(self, file: File) -> dict[str, object]:
        return {
            "id": file.id,
            "name": file.name,
            "title": file.title,
            "size": len(file.content or b""),
            "user": BOT,
            "permalink": f"{self.url}/files/{BOT}/{file.id}/{file.name}",
        }


def _unknown(params: dict[str, object]) -> tuple[dict[str, object], str]:
    del params
    raise SlackRefused("unknown_method")


def _page(
    params: Mapping[str, object], shown: list[dict[str, object]], *, default: int = 100
) -> tuple[list[dict[str, object]], str]:
    start = number({"": text(params, "cursor").removeprefix("at:") or 0}, "", 0)
    most = max(1, number(params, "limit", default))
    return shown[start : start + most], f"at:{start + most}" if start + most < len(shown) else ""


def _more(cursor: str) -> dict[str, object]:
    return {"response_metadata": {"next_cursor": cursor}} if cursor else {}


def _files(params: Mapping[str, object]) -> list[dict[str, object]]:
    return objects({"files": _decoded(params.get("files"))}, "files")


def _metadata(params: Mapping[str, object]) -> dict[str, object] | None:
    if params.get("metadata") is None:
        return None
    found = mapping({"metadata": _decoded(params["metadata"])}, "metadata")
    if not {"event_type", "event_payload"} <= set(found):
        raise SlackRefused("invalid_metadata_format")
    return found


def _decoded(found: object) -> object:
    """JSON that a form carries as text; anything else as it is."""
    try:
        return orjson.loads(found) if isinstance(found, str) else found
    except orjson.JSONDecodeError:
        raise SlackRefused("invalid_json") from None


def channel_from(found: Mapping[str, object], at: int, user: str) -> Channel:
    """A channel as a seed file writes it: `name`, `topic`, `messages` (`ts`: text)."""
    name = text(found, "name")
    channel = Channel(f"C0{name.upper().replace('-', '')[:9]}{at}", name, text(found, "topic"))
    channel.messages = [Message(ts, user, body) for ts, body in strings(found, "messages").items()]
    return channel
