"""What the tools answer: flat, stable fields. Text that Slack leaves out is empty, never missing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel."""

    id: str
    name: str
    """Without the `#`."""
    topic: str
    purpose: str
    private: bool
    archived: bool
    member: bool
    """Is the bot in it? It can post only then."""
    members: int


@dataclass(frozen=True, slots=True)
class ChannelPage:
    """One page of channels."""

    items: list[Channel]
    next_cursor: str | None
    """For the next page; None on the last."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """An emoji under a message."""

    name: str
    count: int
    users: list[str]


@dataclass(frozen=True, slots=True)
class Message:
    """A message."""

    channel: str
    """The channel's id."""
    ts: str
    """Its name within the channel."""
    user: str
    """The author's id."""
    text: str
    """Slack's mrkdwn."""
    thread_ts: str
    """The thread's first message; empty outside threads."""
    reply_count: int
    sent_at: str
    """ISO 8601, UTC."""
    edited: bool
    reactions: list[Reaction]
    files: list[str]
    """Names of attached files."""


@dataclass(frozen=True, slots=True)
class MessagePage:
    """One page of messages: of a channel newest first, of a thread oldest first."""

    channel: str
    items: list[Message]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that is there now."""

    channel: str
    """The channel's id."""
    ts: str
    text: str
    thread_ts: str
    created: bool
    """False when an idempotency key found it again."""


@dataclass(frozen=True, slots=True)
class Updated:
    """A message after its change."""

    channel: str
    ts: str
    text: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """A message that is gone."""

    channel: str
    ts: str
    deleted: bool
    """False when it was gone before."""


@dataclass(frozen=True, slots=True)
class Reacted:
    """A reaction's state after the call."""

    channel: str
    ts: str
    name: str
    present: bool
    changed: bool
    """False when it was so before."""


@dataclass(frozen=True, slots=True)
class Permalink:
    """A message's address for people."""

    channel: str
    ts: str
    permalink: str


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file that was shared."""

    id: str
    name: str
    title: str
    size: int
    """Bytes."""
    permalink: str
    channel: str


@dataclass(frozen=True, slots=True)
class User:
    """A user."""

    id: str
    name: str
    real_name: str
    display_name: str
    email: str
    """Empty without the scope users:read.email."""
    bot: bool
    deleted: bool
    time_zone: str


@dataclass(frozen=True, slots=True)
class UsersFound:
    """Users that match."""

    items: list[User]
    complete: bool
    """False: there are or may be more; narrow the search."""


@dataclass(frozen=True, slots=True)
class UserPage:
    """One page of users."""

    items: list[User]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the bot is."""

    user_id: str
    user: str
    team: str
    team_id: str
    url: str
