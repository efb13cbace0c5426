"""The journal of one target: one JSON line when an operation begins, one when it ends. Plain functions, no I/O.

    started   id, operation, requested, print (of the arguments), current (before), at
    finished  id, answer, current (after), stack, at

What is current is what the `current` link says; the journal tells how it got there: `stack` holds the versions a
rollback would go back to, newest last. An operation that died between the two lines is seen as `interrupted`; if it had
switched already, the stack is what it would have left. The same key takes an interrupted operation up from where it
began: what was current then is what its answer calls `previous`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from motet_servers.deploy.model import Event
from motet_servers.kit.errors import Conflict

Entry = Mapping[str, Any]
DEEPEST = 50


@dataclass(frozen=True, slots=True)
class Journal:
    """What a target's journal says."""

    started: Mapping[str, Entry] = field(default_factory=dict[str, Entry])
    finished: Mapping[str, Entry] = field(default_factory=dict[str, Entry])
    order: tuple[str, ...] = ()
    """Ids by their beginning, oldest first."""
    stack: tuple[str, ...] = ()
    current: str | None = None
    """What the last finished operation left as current."""
    open: str | None = None
    """The id of an operation that was the last to begin and never ended."""

    def history(self, link: str | None) -> tuple[str, ...]:
        """The versions to go back to, newest last, given what the link says now."""
        if link in {self.current, None} or self.current is None:
            return self.stack
        died_going_back = self.open is not None and self.started[self.open]["operation"] == "rollback"
        return stack_after(self.stack, current=self.current, to=link, back=died_going_back)

    def interrupted(self, operation_id: str) -> Entry | None:
        """How this operation began, if it died and nothing happened since."""
        return self.started[operation_id] if operation_id == self.open else None

    def answer(self, operation_id: str, fingerprint: str) -> dict[str, Any] | None:
        """The remembered answer of a finished operation; Conflict when its arguments were others."""
        begun = self.started.get(operation_id)
        if begun is not None and begun["print"] != fingerprint:
            raise Conflict("this idempotency_key was used with other arguments; take a new one.")
        ended = self.finished.get(operation_id)
        return None if ended is None else dict(ended["answer"])

    def events(self) -> list[Event]:
        """Past operations, newest first."""
        return [self._event(operation_id) for operation_id in reversed(self.order)]

    def _event(self, operation_id: str) -> Event:
        begun, ended = self.started[operation_id], self.finished.get(operation_id)
        answer: Mapping[str, Any] = {} if ended is None else ended["answer"]
        return Event(
            id=operation_id,
            operation=begun["operation"],
            requested=begun["requested"],
            version=answer.get("version"),
            previous=begun["current"],
            status=answer.get("status", "interrupted"),
            reason=answer.get("reason"),
            at=begun["at"],
        )


def replay(text: str) -> Journal:
    """The journal of those lines; a torn last line is left out."""
    started: dict[str, Entry] = {}
    finished: dict[str, Entry] = {}
    order: list[str] = []
    stack: tuple[str, ...] = ()
    current: str | None = None
    died: str | None = None
    for entry in _entries(text.splitlines()):
        operation_id = str(entry["id"])
        if entry["event"] == "started":
            if operation_id not in started:
                order.append(operation_id)
            started[operation_id] = entry
            died = operation_id
        else:
            finished[operation_id] = entry
            stack, current = tuple(entry["stack"]), entry["current"]
            died = None
    return Journal(started, finished, tuple(order), stack, current, died)


def _entries(lines: Iterable[str]) -> Iterable[Entry]:
    for line in lines:
        try:
            entry: Any = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "id" in entry:
            yield cast("Entry", entry)


def started(
    operation_id: str, operation: str, requested: str | None, *, fingerprint: str, current: str | None, at: str
) -> str:
    """The line for an operation that begins."""
    return _line(
        event="started",
        id=operation_id,
        operation=operation,
        requested=requested,
        print=fingerprint,
        current=current,
        at=at,
    )


def finished(
    operation_id: str, answer: Mapping[str, Any], *, current: str | None, stack: Iterable[str], at: str
) -> str:
    """The line for an operation that ended, well or not."""
    kept = list(stack)[-DEEPEST:]
    return _line(event="finished", id=operation_id, answer=dict(answer), current=current, stack=kept, at=at)


def _line(**entry: Any) -> str:
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=True)


def stack_after(history: tuple[str, ...], *, current: str | None, to: str | None, back: bool) -> tuple[str, ...]:
    """The stack after going from `current` to `to`: forward pushes, back pops down to it."""
    if to is None:
        return ()
    if back and to in history:
        return history[: len(history) - 1 - history[::-1].index(to)]
    return history if current in {None, to} else (*history, cast("str", current))
