"""What a `Drive` writes to: entries in order, several in one commit, and only while the run is ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from motet.engine.chain import inserts
from motet.engine.journal import Claim, Ledger, taken
from motet.engine.store.sql import Nothing, Sql, Unreachable
from motet.errors import RunError
from motet.workflow.entries import Answered, Entry, Finished, Resumed, Woke, encode

_AGAIN = 0.1
"""Seconds until a database that was lost is tried again."""
CAP = 256 << 20
"""Bytes one run may write; as much again to end in good order once it is cancelled."""
_PROGRESS = (Finished, Answered, Woke, Resumed)
"""Entries that show that a run does not just kill whoever drives it."""


class RunJournal:
    """The journal of one run that is ours. Entries are written in the order of `record`, several in one commit."""

    def __init__(self, ledger: Ledger, claim: Claim) -> None:
        self._ledger = ledger
        self._run = claim.row.id
        self._token = claim.token
        self._seq = len(claim.entries)
        self._head = claim.head
        self._pending: list[Entry] = []
        self._refused: list[Entry] = []
        self._written = self._seq
        self._size = 0
        self._flushing: asyncio.Task[None] | None = None
        self._broken: RunError | None = None
        self.holds: Callable[[], bool] = lambda: False
        """Is the run certainly ours still, so that it makes sense to try again?"""
        self.ending: Callable[[], bool] = lambda: False
        """Does the run begin nothing new any more?"""
        self.status = "running"
        """What the table of runs is to say from the next commit on."""

    def record(self, entry: Entry) -> None:
        """See `Journal.record`."""
        if self._broken is not None:
            raise self._broken
        self._pending.append(entry)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    async def durable(self) -> None:
        """See `Journal.durable`."""
        while self._flushing is not None:
            await asyncio.shield(self._flushing)
        if self._broken is not None:
            raise self._broken

    def fail(self, error: RunError) -> None:
        """Take no more: the run is no longer ours."""
        self._broken = self._broken or error

    @property
    def unwritten(self) -> list[Entry]:
        """What was recorded and, since the run was lost, not written."""
        return [*self._refused, *self._pending]

    async def _flush(self) -> None:
        try:
            while self._pending and self._broken is None:
                self._refused, self._pending = self._pending, []
                await self._write(self._refused)
                self._refused = []
        except Nothing:
            self._broken = taken(self._run)
        except RunError as error:
            self._broken = error
        finally:
            self._flushing = None

    async def _write(self, batch: list[Entry]) -> None:
        bodies = [encode(entry).decode() for entry in batch]
        rows, head, size = inserts(self._run, self._seq, self._head, bodies, batch)
        text = (
            "update run set seq = ?, head = ?, size = size + ?, updated = ?, status = ?, deaths = deaths * ?"
            " where id = ? and owner = ? and seq = ? returning size"
        )
        values = (
            self._seq + len(batch),
            head,
            size,
            batch[-1].at,
            self.status,
            0 if any(isinstance(entry, _PROGRESS) and not _interrupted(entry) for entry in batch) else 1,
            self._run,
            self._token,
            self._seq,
        )
        written = await self._surely([Sql(text, values, must=True), *rows], head)
        self._seq += len(batch)
        self._head = head
        if written > (2 * CAP if self.ending() else CAP):
            message = f"run {self._run} has written more than the {CAP >> 20} MiB that one run may"
            raise RunError(message, hint=f"motet cancel {self._run} ends it in good order")

    async def _surely(self, statements: list[Sql], head: str) -> int:
        """Write, while the run is ours, until it is certain that it is written; the bytes the run has written then."""
        doubtful = False
        while True:
            try:
                return int((await self._ledger.store.do(*statements))[0][0][0])
            except Nothing:
                text = "select size from run where id = ? and owner = ? and head = ?"
                found = await self._ledger.store.read(Sql(text, (self._run, self._token, head))) if doubtful else []
                if not found:
                    raise
                return int(found[0][0])
            except Unreachable as error:
                doubtful = doubtful or error.doubtful
                if not self.holds():
                    raise
            await asyncio.sleep(_AGAIN)


def _interrupted(entry: Entry) -> bool:
    """Does it only say that the last owner went away in the middle of it?"""
    return isinstance(entry, Finished) and entry.result.error is not None and entry.result.error.kind == "interrupted"
