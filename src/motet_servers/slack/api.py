"""Slack's Web API as our tools need it: which requests, in which order, and how a key makes a message be sent once.

A key leaves its mark in the message's metadata. Before a keyed send we look for it among the newest 500 messages of the
channel (or of the thread), so a repetition finds what the first attempt sent, also when its answer was lost.
Channels are taken by id or by name; Slack wants ids, so names are looked up and remembered.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from motet_servers.kit import idempotency, progress
from motet_servers.kit.errors import InvalidInput, NotFound, Refused
from motet_servers.kit.http import Answer, ApiClient
from motet_servers.slack import model, wire

NEWEST = 500
"""Messages looked through for a key's mark."""
NAMES_HOLD = 300.0
"""Seconds that a channel's name is taken to mean the same channel: channels are renamed, and names used again."""
SEARCHED_PAGES = 20
"""Pages of up to 1,000 channels or users looked through for one."""
LARGEST_FILE = 32 << 20
"""Bytes of a file we upload."""
_ID = re.compile(r"[CGD][A-Z0-9]{6,}")
_TS = re.compile(r"[0-9]{1,12}\.[0-9]{6}")
_BROADCAST = re.compile(r"<(?=!(?:channel|here|everyone|subteam\^))")


class Slack:
    """One workspace, one bot."""

    def __init__(self, client: ApiClient, *, now: Callable[[], float] = time.monotonic) -> None:
        """`now` gives seconds."""
        self._client = client
        self._locks = idempotency.KeyLocks()
        self._now = now
        self._ids: dict[str, str] = {}
        self._ids_until = 0.0

    async def identity(self) -> model.Identity:
        found = wire.read(await self._call("auth.test"), wire.IdentityWire)
        return model.Identity(found.user_id, found.user, found.team, found.team_id, found.url)

    # Channels

    async def channels(self, *, archived: bool, limit: int, cursor: str | None) -> model.ChannelPage:
        page = await self._channels(archived=archived, limit=limit, cursor=cursor)
        return model.ChannelPage([wire.channel(each) for each in page.channels], wire.after(page.response_metadata))

    async def _channels(self, *, archived: bool, limit: int, cursor: str | None) -> wire.ChannelsWire:
        wanted = {"limit": limit, "cursor": cursor, "exclude_archived": not archived}
        everything = {**wanted, "types": "public_channel,private_channel"}
        answer = await self._call("conversations.list", everything, fine="missing_scope")
        if not wire.read(answer, wire.Status).ok:
            answer = await self._call("conversations.list", {**wanted, "types": "public_channel"})
        return wire.read(answer, wire.ChannelsWire)

    async def channel(self, named: str) -> model.Channel:
        answer = await self._call("conversations.info", {"channel": await self._id(named), "include_num_members": True})
        return wire.channel(wire.read(answer, wire.OneChannelWire).channel)

    async def join(self, named: str) -> model.Channel:
        answer = await self._call("conversations.join", {"channel": await self._id(named)})
        return wire.channel(wire.read(answer, wire.OneChannelWire).channel)

    async def _id(self, named: str) -> str:
        """The channel's id, from an id or a name with or without `#`."""
        if _ID.fullmatch(named):
            return named
        name = named.removeprefix("#").lower()
        if not name or any(character.isspace() for character in name):
            raise InvalidInput(f"channel must be a channel's id or name, not {named!r}.")
        if self._now() >= self._ids_until:
            self._ids.clear()
            self._ids_until = self._now() + NAMES_HOLD
        if name in self._ids:
            return self._ids[name]
        cursor: str | None = None
        seen = 0
        for _ in range(SEARCHED_PAGES):
            page = await self._channels(archived=False, limit=1000, cursor=cursor)
            cursor, seen = wire.after(page.response_metadata), seen + len(page.channels)
            await progress.note(seen, message="channels looked through for that name")
            self._ids.update({each.name: each.id for each in page.channels})
            if name in self._ids:
                return self._ids[name]
            if cursor is None:
                break
        raise NotFound(f"there is no channel #{name}, or the bot may not see it. See list_channels.")

    # Reading

    async def messages(
        self, named: str, *, oldest: str | None, latest: str | None, limit: int, cursor: str | None
    ) -> model.MessagePage:
        channel = await self._id(named)
        wanted = {"channel": channel, "oldest": oldest, "latest": latest, "limit": limit, "cursor": cursor}
        return self._page(channel, wire.read(await self._call("conversations.history", wanted), wire.MessagesWire))

    async def replies(self, named: str, thread_ts: str, *, limit: int, cursor: str | None) -> model.MessagePage:
        channel = await self._id(named)
        wanted = {"channel": channel, "ts": _ts(thread_ts), "limit": limit, "cursor": cursor}
        return self._page(channel, wire.read(await self._call("conversations.replies", wanted), wire.MessagesWire))

    def _page(self, channel: str, page: wire.MessagesWire) -> model.MessagePage:
        items = [wire.message(channel, each) for each in page.messages]
        return model.MessagePage(channel, items, wire.after(page.response_metadata))

    async def permalink(self, named: str, ts: str) -> model.Permalink:
        channel = await self._id(named)
        answer = await self._call("chat.getPermalink", {"channel": channel, "message_ts": _ts(ts)})
        return model.Permalink(channel, ts, wire.read(answer, wire.PermalinkWire).permalink)

    async def users(self, *, limit: int, cursor: str | None) -> model.UserPage:
        page = wire.read(await self._call("users.list", {"limit": limit, "cursor": cursor}), wire.UsersWire)
        return model.UserPage([wire.user(each) for each in page.members], wire.after(page.response_metadata))

    async def search_users(self, text: str, *, limit: int) -> model.UsersFound:
        if "@" in text.strip("@"):
            return await self._user_by_address(text)
        wanted = text.removeprefix("@").lower()
        found: list[model.User] = []
        cursor: str | None = None
        seen = 0
        for _ in range(SEARCHED_PAGES):
            page = await self.users(limit=1000, cursor=cursor)
            cursor, seen = page.next_cursor, seen + len(page.items)
            await progress.note(seen, message="users looked through")
            found += [user for user in page.items if not user.deleted and wanted in _names(user)]
            if cursor is None or len(found) > limit:
                break
        return model.UsersFound(found[:limit], complete=cursor is None and len(found) <= limit)

    async def _user_by_address(self, address: str) -> model.UsersFound:
        answer = await self._call("users.lookupByEmail", {"email": address}, fine="users_not_found")
        known = wire.read(answer, wire.Status).ok
        found = [wire.user(wire.read(answer, wire.OneUserWire).user)] if known else []
        return model.UsersFound(found, complete=True)

    # Writing

    async def send(
        self, named: str, text: str, *, thread_ts: str | None, broadcast: bool, key: str | None
    ) -> model.Sent:
        channel = await self._id(named)
        thread = None if thread_ts is None else _ts(thread_ts)
        text = text if broadcast else _BROADCAST.sub("&lt;", text)
        checked = idempotency.checked(key)
        mark = None if checked is None else idempotency.mark("slack", "send_message", checked)
        said = idempotency.fingerprint([channel, text, thread])
        async with self._locks.hold(mark):
            if mark is not None:
                async for old in self._newest(channel, thread):
                    if _made_by(mark, said, old):
                        return model.Sent(channel, old.ts, old.text or "", _thread(old), created=False)
            metadata = (
                None if mark is None else {"event_type": wire.EVENT, "event_payload": {"key": mark, "said": said}}
            )
            wanted = {"channel": channel, "text": text, "thread_ts": thread}
            answer = await self._call(
                "chat.postMessage", {**wanted, "metadata": metadata and json.dumps(metadata)}, harmless=False
            )
        sent = wire.read(answer, wire.PostedWire)
        shown = sent.message or wire.MessageWire(text=text)
        return model.Sent(sent.channel, sent.ts, shown.text or text, thread or "", created=True)

    async def _newest(self, channel: str, thread: str | None) -> AsyncIterator[wire.MessageWire]:
        method, more = ("conversations.history", {}) if thread is None else ("conversations.replies", {"ts": thread})
        wanted: dict[str, Any] = {"channel": channel, "limit": 200, "include_all_metadata": True, **more}
        cursor, seen, more = None, 0, True
        while more and seen < NEWEST:
            page = wire.read(await self._call(method, {**wanted, "cursor": cursor}), wire.MessagesWire)
            cursor, seen = wire.after(page.response_metadata), seen + len(page.messages)
            more = cursor is not None
            await progress.note(seen, message="messages looked through for this idempotency_key")
            for each in page.messages:
                yield each

    async def update(self, named: str, ts: str, text: str, *, broadcast: bool) -> model.Updated:
        channel = await self._id(named)
        text = text if broadcast else _BROADCAST.sub("&lt;", text)
        answer = await self._call("chat.update", {"channel": channel, "ts": _ts(ts), "text": text})
        done = wire.read(answer, wire.PostedWire)
        return model.Updated(done.channel, done.ts, text)

    async def delete(self, named: str, ts: str) -> model.Deleted:
        channel = await self._id(named)
        deleted = await self._changed("chat.delete", {"channel": channel, "ts": _ts(ts)}, "message_not_found")
        return model.Deleted(channel, ts, deleted)

    async def react(self, named: str, ts: str, name: str, *, present: bool) -> model.Reacted:
        channel = await self._id(named)
        emoji = name.strip(":")
        method, fine = ("reactions.add", "already_reacted") if present else ("reactions.remove", "no_reaction")
        changed = await self._changed(method, {"channel": channel, "timestamp": _ts(ts), "name": emoji}, fine)
        return model.Reacted(channel, ts, emoji, present, changed)

    async def _changed(self, method: str, wanted: Mapping[str, Any], fine: str) -> bool:
        """Did the call change something? Slack's word `fine` says that it was so before."""
        return wire.read(await self._call(method, wanted, fine=fine), wire.Status).ok

    async def upload(
        self,
        named: str,
        filename: str,
        content: bytes,
        *,
        title: str | None,
        comment: str | None,
        thread_ts: str | None,
    ) -> model.Uploaded:
        channel = await self._id(named)
        thread = None if thread_ts is None else _ts(thread_ts)
        size = len(content)
        await progress.note(0, size, "bytes sent")
        place = wire.read(
            await self._call("files.getUploadURLExternal", {"filename": filename, "length": size}),
            wire.UploadWire,
        )
        await self._put(place.upload_url, content)
        await progress.note(size, size, "bytes sent")
        wanted = {
            "files": json.dumps([{"id": place.file_id, "title": title or filename}]),
            "channel_id": channel,
            "initial_comment": comment and _BROADCAST.sub("&lt;", comment),
            "thread_ts": thread,
        }
        shared = wire.read(await self._call("files.completeUploadExternal", wanted, harmless=False), wire.FilesWire)
        file = shared.files[0] if shared.files else wire.FileWire(place.file_id)
        shown = title or filename
        return model.Uploaded(file.id, filename, shown, size, file.permalink or "", channel)

    async def _put(self, url: str, content: bytes) -> None:
        """Send the bytes where Slack says: to its own host, or, without the token, to another of its hosts."""
        parts, own = urlsplit(url), urlsplit(self._client.base)
        headers = {"Content-Type": "application/octet-stream"}
        if (parts.scheme, parts.netloc) == (own.scheme, own.netloc):
            await self._client.request("POST", url, content=content, headers=headers, read_only=True)
            return
        host = parts.hostname or ""
        if parts.scheme != "https" or not host.endswith(".slack.com") or parts.port not in (None, 443):
            raise Refused("Slack named a place for the file that is not its own; nothing was sent there.")
        async with self._client.elsewhere("Slack's file store", f"https://{host}") as store:
            await store.request("POST", url, content=content, headers=headers, read_only=True)

    # Requests

    async def _call(
        self, method: str, wanted: Mapping[str, Any] | None = None, *, harmless: bool = True, fine: str = ""
    ) -> Answer:
        """POST a method with form arguments; raises what `ok: false` means, unless its word is `fine`.

        `harmless`: it may be repeated.
        """
        form = {name: _written(value) for name, value in (wanted or {}).items() if value is not None and value != ""}
        answer = await self._client.request("POST", f"/{method}", data=form, read_only=harmless)
        status = wire.read(answer, wire.Status)
        if status.error == "channel_not_found":
            self._ids.clear()
        if not status.ok and (not fine or status.error != fine):
            raise wire.failure(status, harmless=harmless)
        return answer


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _ts(ts: str) -> str:
    if _TS.fullmatch(ts) is None:
        raise InvalidInput(f"ts must be a message's ts such as 1788253200.000100, not {ts!r}.")
    return ts


def _names(user: model.User) -> str:
    return "\n".join((user.name, user.real_name, user.display_name, user.email)).lower()


def _thread(message: wire.MessageWire) -> str:
    """The thread a message answers in; empty for one that stands in the channel itself."""
    return "" if message.thread_ts in (None, message.ts) else message.thread_ts or ""


def _made_by(mark: str, said: str, message: wire.MessageWire) -> bool:
    if message.metadata is None or message.metadata.event_type != wire.EVENT:
        return False
    left = message.metadata.event_payload or {}
    if left.get("key") != mark:
        return False
    idempotency.same(str(left.get("said")), said)
    return True
