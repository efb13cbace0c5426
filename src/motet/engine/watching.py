"""Watching a run that somebody else drives: the events of a live drive, made from its journal as it grows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from motet.engine.changes import step_changed
from motet.engine.durable import NEAR, Durable, replayed
from motet.engine.journal import RunRow
from motet.events import DataFlowed, RunChanged, StepChanged
from motet.workflow.entries import Entry, Started
from motet.workflow.runstate import RunState

EVERY = 0.5
"""Seconds between looks into the journal."""

Seen = StepChanged | RunChanged | DataFlowed


async def watch(durable: Durable, run: str, *, every: float = EVERY) -> AsyncGenerator[Seen]:
    """Everything that has happened to the run, then what happens, until it ended, is parked, or only waits.

    A wait that is over within a minute is not waited out by the driver either: this goes on. `every` is seconds between
    looks. Raises `RunError` when there is no such run or its journal is damaged.
    """
    state: RunState | None = None
    told, seen, head = "", 0, ""
    while True:
        row = await durable.ledger.row(run)
        if row.seq > seen:
            entries, head = await durable.ledger.entries_since(run, seen, head)
            seen += len(entries)
            if state is None:
                state = replayed(durable.workflow(await durable.ledger.bundle(run)), run, entries[:1])
                entries = entries[1:]
            for entry in entries:
                for event in _events(state, entry):
                    yield event
        if state is not None and told != (told := state.status):
            yield RunChanged(state.at, run, row.workflow, told)
        if _rests(row, durable.now()):
            return
        await asyncio.sleep(every)


def _events(state: RunState, entry: Entry) -> list[Seen]:
    """What applying the entry gives to tell."""
    state.apply(entry)
    changes = list(state.changes)
    state.changes.clear()
    state.unwanted.clear()
    told: list[Seen] = [step_changed(state, change) for change in changes]
    if isinstance(entry, Started) and entry.server:
        told += [
            DataFlowed(entry.at, state.run, source, step, entry.server, entry.key, argument)
            for source, step, argument in entry.flows
            if source != entry.server
        ]
    return told


def _rests(row: RunRow, now: float) -> bool:
    """Will nothing happen by itself for a while?"""
    if row.ended or row.parked:
        return True
    waits = row.status == "waiting" and row.owner is None
    return waits and (row.wake is None or row.wake - now > NEAR)
