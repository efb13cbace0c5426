"""Slack's answers as far as we read them, its error words sorted, and how each answer becomes what our tools give."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from motet_servers.kit.errors import (
    DomainError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Unavailable,
)
from motet_servers.kit.http import Answer, decoded
from motet_servers.slack import model

T = TypeVar("T")
EVENT = "motet_message"
"""The metadata event that an idempotency key leaves with a message."""


class Status(msgspec.Struct):
    """The part every answer has."""

    ok: bool
    error: str = ""
    needed: str = ""


class Refusal(msgspec.Struct):
    """What may come with an HTTP status instead."""

    error: str = ""


class Said(msgspec.Struct):
    """A topic or purpose."""

    value: str = ""


class ChannelWire(msgspec.Struct):
    """A channel."""

    id: str
    name: str = ""
    topic: Said | None = None
    purpose: Said | None = None
    is_private: bool = False
    is_archived: bool = False
    is_member: bool = False
    num_members: int = 0


class Next(msgspec.Struct):
    """Where the next page is."""

    next_cursor: str = ""


class ChannelsWire(msgspec.Struct):
    """A page of channels."""

    channels: list[ChannelWire]
    response_metadata: Next | None = None


class OneChannelWire(msgspec.Struct):
    """One channel."""

    channel: ChannelWire


class ReactionWire(msgspec.Struct):
    """A reaction."""

    name: str
    count: int = 0
    users: list[str] = []


class FileWire(msgspec.Struct):
    """A file."""

    id: str
    name: str | None = None
    permalink: str | None = None


class MetadataWire(msgspec.Struct):
    """A message's metadata."""

    event_type: str = ""
    event_payload: dict[str, Any] | None = None


class MessageWire(msgspec.Struct):
    """A message."""

    ts: str = ""
    text: str | None = None
    user: str | None = None
    bot_id: str | None = None
    thread_ts: str | None = None
    reply_count: int = 0
    edited: Any = None
    reactions: list[ReactionWire] | None = None
    files: list[FileWire] | None = None
    metadata: MetadataWire | None = None


class MessagesWire(msgspec.Struct):
    """A page of messages."""

    messages: list[MessageWire]
    response_metadata: Next | None = None


class PostedWire(msgspec.Struct):
    """A message that was posted or changed."""

    channel: str
    ts: str
    message: MessageWire | None = None


class PermalinkWire(msgspec.Struct):
    """A permalink."""

    permalink: str


class UploadWire(msgspec.Struct):
    """Where to put a file."""

    upload_url: str
    file_id: str


class FilesWire(msgspec.Struct):
    """Files that were shared."""

    files: list[FileWire]


class ProfileWire(msgspec.Struct):
    """A user's profile."""

    real_name: str | None = None
    display_name: str | None = None
    email: str | None = None


class UserWire(msgspec.Struct):
    """A user."""

    id: str
    name: str = ""
    real_name: str | None = None
    deleted: bool = False
    is_bot: bool = False
    tz: str | None = None
    profile: ProfileWire | None = None


class UsersWire(msgspec.Struct):
    """A page of users."""

    members: list[UserWire]
    response_metadata: Next | None = None


class OneUserWire(msgspec.Struct):
    """One user."""

    user: UserWire


class IdentityWire(msgspec.Struct):
    """Who we are."""

    user_id: str
    user: str = ""
    team: str = ""
    team_id: str = ""
    url: str = ""


def read(answer: Answer, kind: type[T]) -> T:
    """The answer as `kind`; Unavailable when it is something else."""
    return decoded(answer, kind, service="Slack", setting="SLACK_API_URL")


def words(answer: Answer) -> str:
    """Slack's own word for a refusal that came with an HTTP status."""
    try:
        return msgspec.json.decode(answer.content, type=Refusal).error
    except (msgspec.DecodeError, RecursionError):
        return ""


_WORDS: Mapping[str, tuple[type[DomainError], str]] = {
    "channel_not_found": (NotFound, "there is no such channel, or the bot may not see it. See list_channels."),
    "user_not_found": (NotFound, "there is no such user. See search_users."),
    "message_not_found": (NotFound, "there is no such message in that channel."),
    "thread_not_found": (NotFound, "there is no such thread in that channel."),
    "file_not_found": (NotFound, "there is no such file."),
    "not_in_channel": (Refused, "the bot is not in that channel: invite it, or use join_channel."),
    "is_archived": (Refused, "that channel is archived."),
    "missing_scope": (Refused, "the app lacks a scope: add it under OAuth & Permissions and install again."),
    "not_authed": (Refused, "no token was accepted. Check SLACK_BOT_TOKEN."),
    "invalid_auth": (Refused, "the token is not valid. Check SLACK_BOT_TOKEN."),
    "account_inactive": (Refused, "the token's account is deactivated."),
    "token_revoked": (Refused, "the token was revoked. Install the app again."),
    "token_expired": (Refused, "the token has expired. Renew it."),
    "not_allowed_token_type": (Refused, "this needs another kind of token; use a bot token."),
    "no_permission": (Refused, "the workspace does not permit it."),
    "restricted_action": (Refused, "the workspace does not permit it."),
    "cant_update_message": (Refused, "only the bot's own messages can be changed."),
    "cant_delete_message": (Refused, "only the bot's own messages can be deleted."),
    "edit_window_closed": (Refused, "the message is too old to be changed in this workspace."),
    "ratelimited": (RateLimited, "too many requests. Try again later."),
    "rate_limited": (RateLimited, "too many messages. Try again later."),
    "msg_too_long": (InvalidInput, "the text is too long (40,000 characters)."),
    "no_text": (InvalidInput, "the text is empty."),
    "invalid_name": (InvalidInput, "there is no such emoji."),
    "service_unavailable": (Unavailable, "it is not available. Try again later."),
}
_BROKEN = frozenset({"internal_error", "fatal_error", "request_timeout", "team_added_to_org"})


def failure(status: Status, *, harmless: bool) -> DomainError:
    """The error that an answer with `ok: false` means; `harmless`: the request only read, or may be repeated."""
    word = status.error or "unknown_error"
    if word in _BROKEN:
        if harmless:
            return Unavailable(f"Slack failed: {word}. Try again later.")
        return OutcomeUnknown(
            f"Slack failed while writing: {word}; it may have happened. Look before repeating it, "
            "or repeat it with the same idempotency_key."
        )
    kind, text = _WORDS.get(word, (InvalidInput, "it does not accept this."))
    needed = f" Needed: {status.needed}." if status.needed else ""
    return kind(f"Slack refused ({word}): {text}{needed}")


def channel(wire: ChannelWire) -> model.Channel:
    """A channel."""
    return model.Channel(
        id=wire.id,
        name=wire.name,
        topic=wire.topic.value if wire.topic is not None else "",
        purpose=wire.purpose.value if wire.purpose is not None else "",
        private=wire.is_private,
        archived=wire.is_archived,
        member=wire.is_member,
        members=wire.num_members,
    )


def message(channel_id: str, wire: MessageWire) -> model.Message:
    """A message."""
    return model.Message(
        channel=channel_id,
        ts=wire.ts,
        user=wire.user or wire.bot_id or "",
        text=wire.text or "",
        thread_ts=wire.thread_ts or "",
        reply_count=wire.reply_count,
        sent_at=_moment(wire.ts),
        edited=bool(wire.edited),
        reactions=[model.Reaction(each.name, each.count, each.users) for each in wire.reactions or []],
        files=[each.name or each.id for each in wire.files or []],
    )


def user(wire: UserWire) -> model.User:
    """A user."""
    profile = wire.profile or ProfileWire()
    return model.User(
        id=wire.id,
        name=wire.name,
        real_name=wire.real_name or profile.real_name or "",
        display_name=profile.display_name or "",
        email=profile.email or "",
        bot=wire.is_bot,
        deleted=wire.deleted,
        time_zone=wire.tz or "",
    )


def after(page: Next | None) -> str | None:
    """The next page's cursor, None on the last."""
    return (page.next_cursor or None) if page is not None else None


def _moment(ts: str) -> str:
    try:
        return datetime.fromtimestamp(float(ts), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""
