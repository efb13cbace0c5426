"""The journal: append-only rows of all runs, chained by hashes, written only by whoever claimed the run.

`Ledger` is everything that is done with these rows; `recording.RunJournal` is the end that a `Drive` writes to. An
owner's token is fresh for every claim: whoever lost a run can neither record nor, because a call that may not be
repeated waits for its `started` to be durable, send.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from motet.calls import Json
from motet.engine.chain import BLOBS, ENTRIES, inserts, read_rows
from motet.engine.owners import alive, forget, new_token, who
from motet.engine.store.sql import Nothing, Sql, Store
from motet.errors import RunError
from motet.workflow.entries import Began, Entry, encode

LEASE = 30.0
"""Seconds after which a run whose owner says nothing may be claimed by another."""


class LostRun(RunError):
    """Another process drives this run now."""


class Busy(LostRun):
    """Another process drives this run, and we never did."""


def taken(run: str) -> LostRun:
    """What is raised where a run turns out to be another's."""
    return LostRun(f"run {run} was taken over by another process")


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as the table of runs has it."""

    id: str
    workflow: str
    status: str
    """`running`, `waiting`, or how it ended."""
    generation: int
    rerun_of: str | None
    key: str | None
    created: float
    updated: float
    owner: str | None
    lease: float
    wake: float | None
    """When a wait is over by itself; 0: somebody said something."""
    seq: int
    priority: int = 0
    """Of two that could go on, the higher goes first."""
    speaks: int = 1
    """The version of its entries."""
    needs: str = "[]"
    """The servers it may touch, as a JSON list; `null` when only their boundaries tell."""
    deaths: int = 0
    """How many owners in a row were lost without the run getting anywhere."""
    parked: str = ""
    """Why nobody but a person starts it again."""

    def to_json(self) -> dict[str, Json]:
        """As JSON, without its owner."""
        told = msgspec.to_builtins(self)
        return {key: told[key] for key in told if key not in ("owner", "lease", "seq", "needs", "speaks")}

    @property
    def ended(self) -> bool:
        """Is it over?"""
        return self.status not in OPEN

    def driven(self, now: float) -> bool:
        """Does somebody drive it who may be alive? `now` is seconds since 1970, by the clock of its leases."""
        return self.owner is not None and self.lease >= now and alive(self.owner)

    def due(self, now: float) -> bool:
        """Could it go on: is it open, nobody driving it, and its wait over? `now` as in `driven`."""
        if self.ended or self.parked or self.driven(now):
            return False
        return self.wake <= now if self.wake is not None else self.status == "running"

    @property
    def servers(self) -> frozenset[str] | None:
        """The servers it may touch; None when only their boundaries tell."""
        needs = msgspec.json.decode(self.needs, type=list[str] | None)
        return None if needs is None else frozenset(needs)


OPEN = ("running", "waiting")
"""The statuses of a run that is not over."""
_COLUMNS = (
    "id, workflow, status, generation, rerun_of, key, created, updated, owner, lease, wake, seq,"
    " priority, speaks, needs, deaths, parked"
)


@dataclass(frozen=True, slots=True)
class Message:
    """Something said to a run, in its inbox."""

    id: str
    at: float
    body: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that is ours to drive, with everything it has done."""

    row: RunRow
    token: str
    bundle: str
    """What its workflow was made from, as JSON text."""
    entries: list[Entry]
    head: str
    inbox: list[Message]
    """What was said to it and not heard yet."""


def _message(id_: object, at: float, body: object) -> Message:
    """A message as its row has it; one that cannot be read says nothing."""
    try:
        return Message(str(id_), float(at), msgspec.json.decode(str(body), type=dict[str, Any]))
    except msgspec.MsgspecError:
        return Message(str(id_), float(at), {})


def _cut_off(row: RunRow, there: int) -> RunError:
    """What is raised where a run has lost the end of its journal."""
    message = f"run {row.id}: {there} entries are there, {row.seq} were written"
    return RunError(message, hint=f"motet verify {row.id}")


def _busy(run: str, owner: str | None) -> Busy:
    where = "" if owner is None else f" ({who(owner)})"
    return Busy(f"run {run} is being driven by another process{where}")


def _claim(run: str, token: str, lease: float, *, gone: str | None = None) -> list[Sql]:
    """What makes a run ours that is nobody's, or still that of an owner who is gone, and reads all there is of it."""
    condition = "(owner is null or lease < {now})" if gone is None else "owner = ?"
    text = (
        "update run set owner = ?, lease = {now} + ?, wake = 0, parked = '',"
        " deaths = deaths + case when owner is null then 0 else 1 end"
        f" where id = ? and {condition} returning {_COLUMNS}, bundle, head"
    )
    return [
        Sql(text, (token, lease, run, *(() if gone is None else (gone,))), must=True),
        Sql(f"{ENTRIES} order by seq", (run,)),
        Sql(BLOBS, (run,)),
        Sql(_SAID, (run,)),
    ]


_SAID = "select id, at, body from inbox where run = ? and state = 'new' order by at, id"


class Ledger:
    """The rows of all runs in one store."""

    def __init__(self, store: Store, *, lease: float = LEASE) -> None:
        self.store = store
        self.lease = lease
        """Seconds an owner may be silent before another may take its run."""

    # -- runs -----------------------------------------------------------------------------------------------------

    async def create(
        self,
        began: Began,
        bundle: Json,
        *,
        key: str | None = None,
        entries: Sequence[Entry] = (),
        priority: int = 0,
        needs: str = "null",
    ) -> str:
        """The id of a new run; of the run that has this id or key, when there is one already."""
        bodies = [encode(entry).decode() for entry in (began, *entries)]
        rows, head, size = inserts(began.run, 0, "", bodies, (began, *entries))
        statements = [
            Sql(
                "insert into run(id, workflow, bundle, status, generation, rerun_of, key, created, updated, owner,"
                " lease, wake, seq, head, size, priority, speaks, needs)"
                " values(?, ?, ?, 'running', ?, ?, ?, ?, ?, null, 0, 0, ?, ?, ?, ?, ?, ?)"
                " on conflict do nothing returning id",
                (
                    *(began.run, began.workflow, bundle, began.generation, began.rerun_of, key, began.at, began.at),
                    *(len(bodies), head, size, priority, began.version, needs),
                ),
                must=True,
            ),
            *rows,
        ]
        try:
            await self.store.do(*statements)
        except Nothing:
            found = await self.store.read(Sql("select id from run where id = ? or key = ?", (began.run, key)))
            return str(found[0][0])
        return began.run

    async def row(self, run: str) -> RunRow:
        """The run. Raises `RunError` when there is none."""
        rows = await self.store.read(Sql(f"select {_COLUMNS} from run where id = ?", (run,)))
        if not rows:
            raise RunError(f"there is no run `{run}`", hint="motet runs")
        return RunRow(*rows[0])

    async def wake(self, run: str) -> None:
        """Let it go on now, also if it was parked."""
        await self.store.do(Sql("update run set wake = 0, parked = '', deaths = 0 where id = ?", (run,)))

    async def park(self, row: RunRow, why: str) -> None:
        """Let nobody but a person start it again, if it still belongs to whom the row says."""
        text = (
            "update run set parked = ?, wake = null, owner = null, lease = 0 where id = ? and coalesce(owner, '') = ?"
        )
        await self.store.do(Sql(text, (why, row.id, row.owner or "")))

    async def postpone(self, run: str, seconds: float) -> None:
        """Leave a run alone for a while that nobody drives."""
        text = "update run set wake = {now} + ? where id = ? and owner is null and wake is not null"
        await self.store.do(Sql(text, (seconds, run)))

    async def fault(self, run: str, *, again_in: float) -> int:
        """Count one more leg that got nowhere, and leave the run alone for so many seconds; how many there were."""
        text = "update run set deaths = deaths + 1, wake = {now} + ? where id = ? and owner is null returning deaths"
        (rows,) = await self.store.do(Sql(text, (again_in, run)))
        return int(rows[0][0]) if rows else 0

    async def rows(self, *, status: Sequence[str] = (), limit: int = 100) -> list[RunRow]:
        """The latest runs, newest first."""
        where = f" where status in ({', '.join('?' * len(status))})" if status else ""
        text = f"select {_COLUMNS} from run{where} order by created desc, id limit ?"
        return [RunRow(*row) for row in await self.store.read(Sql(text, (*status, limit)))]

    async def due(self, now: float | None = None, *, limit: int = 100_000) -> list[RunRow]:
        """Open runs that can go on: their wait is over, somebody said something, or their owner is gone.

        The highest priority first; parked runs are left out. `now` is seconds since 1970; None: the database's clock.
        """
        text = (
            f"select {_COLUMNS}, case when lease < {{now}} then 1 else 0 end from run where parked = '' and"
            " ((status = 'running' and coalesce(wake, 0) <= @) or (status = 'waiting' and wake <= @))"
            " order by priority desc, wake limit ?"
        ).replace("@", "{now}" if now is None else "?")
        at = () if now is None else (now, now)
        found = [(RunRow(*row), over) for *row, over in await self.store.read(Sql(text, (*at, limit)))]
        return [row for row, over in found if row.owner is None or over or not alive(row.owner)]

    async def parked(self) -> list[RunRow]:
        """Open runs that nobody but a person starts again."""
        text = f"select {_COLUMNS} from run where parked <> '' and status in ('running', 'waiting')"
        return [RunRow(*row) for row in await self.store.read(Sql(text))]

    async def entries(self, run: str) -> tuple[list[Entry], str]:
        """Everything it has done, and the last hash. Raises `RunError` naming the first row that is damaged."""
        return await self.entries_since(run, 0, "")

    async def entries_since(self, run: str, seq: int, head: str) -> tuple[list[Entry], str]:
        """What it has done since it had done `seq` things, the last of them with the hash `head`; see `entries`."""
        rows = await self.store.read(Sql(f"{ENTRIES} and seq >= ? order by seq", (run, seq)))
        blobs = (
            await self.store.read(Sql(BLOBS, (run,)))
            if any(str(body).startswith("blob:") for _, body, _ in rows)
            else []
        )
        return read_rows(run, rows, blobs, seq=seq, head=head)

    async def bundle(self, run: str) -> str:
        """What its workflow was made from, as JSON text."""
        rows = await self.store.read(Sql("select bundle from run where id = ?", (run,)))
        if not rows:
            raise RunError(f"there is no run `{run}`", hint="motet runs")
        return str(rows[0][0])

    async def verify(self, run: str) -> list[str]:
        """What is wrong with its journal; empty when it is whole."""
        while True:
            row, stored = await self.row(run), await self._head(run)
            try:
                entries, head = await self.entries(run)
            except RunError as error:
                return [error.message]
            if await self._head(run) == stored:  # else it went on meanwhile
                break
        problems: list[str] = []
        if (head, len(entries)) != stored:
            problems.append(_cut_off(row, len(entries)).message)
        if not entries or not isinstance(entries[0], Began):
            problems.append(f"run {run} does not begin at its beginning")
        return problems

    async def _head(self, run: str) -> tuple[str, int]:
        rows = await self.store.read(Sql("select head, seq from run where id = ?", (run,)))
        return (str(rows[0][0]), int(rows[0][1])) if rows else ("", 0)

    async def prune(self, before: float, *, compact: bool = True) -> int:
        """Forget runs that ended before then (seconds since 1970) and that nobody drives; how many.

        With `compact`, nothing of them lies about in the file afterwards; it may take a while.
        """
        ended = "status not in ('running', 'waiting') and updated < ? and owner is null"
        among = f"run in (select id from run where {ended})"
        *_, gone = await self.store.do(
            Sql(f"delete from entry where {among}", (before,)),
            Sql(f"delete from blob where {among}", (before,)),
            Sql(f"delete from inbox where {among}", (before,)),
            Sql(f"delete from run where {ended} returning id", (before,)),
        )
        if gone and compact:
            await self.store.compact()
        return len(gone)

    # -- driving --------------------------------------------------------------------------------------------------

    async def claim(self, run: str) -> Claim:
        """Make the run ours. Raises `LostRun` when somebody alive drives it, `RunError` when its journal is damaged."""
        token = new_token()
        try:
            return await self._claimed(run, token)
        except BaseException:
            forget(token)
            raise

    async def _claimed(self, run: str, token: str) -> Claim:
        try:
            found, rows, blobs, said = await self.store.do(*_claim(run, token, self.lease))
        except Nothing:
            owner = (await self.row(run)).owner
            if owner is None or alive(owner):
                raise _busy(run, owner) from None
            try:
                found, rows, blobs, said = await self.store.do(*_claim(run, token, self.lease, gone=owner))
            except Nothing:
                raise _busy(run, owner) from None
        *columns, bundle, written = found[0]
        row = RunRow(*columns)
        try:
            entries, head = read_rows(run, rows, blobs)
            if (head, len(entries)) != (written, row.seq):
                raise _cut_off(row, len(entries))
        except RunError:
            await self.release(run, token, wake=None, well=False)
            raise
        return Claim(row, token, str(bundle), entries, head, [_message(*one) for one in said])

    async def renew(self, tokens: Sequence[str]) -> set[str]:
        """Say that these claims are still driven; gives those that still hold."""
        text = f"update run set lease = {{now}} + ? where owner in ({', '.join('?' * len(tokens))}) returning owner"
        (rows,) = await self.store.do(Sql(text, (self.lease, *tokens)))
        return {str(owner) for (owner,) in rows}

    async def release(
        self,
        run: str,
        token: str,
        *,
        wake: float | None,
        status: str | None = None,
        heard: bool = True,
        well: bool = True,
    ) -> bool:
        """Let go of it until `wake`. False when it is not ours, or, if `heard`, when something new is in its inbox.

        `well`: it was driven as far as it goes, so that no earlier misfortune counts any more.
        """
        unheard = " and not exists (select 1 from inbox where inbox.run = run.id and state = 'new')"
        text = (
            f"update run set owner = null, lease = 0{', deaths = 0' if well else ''}, wake = ?,"
            f" status = coalesce(?, status) where id = ? and owner = ?{unheard if heard else ''} returning id"
        )
        try:
            await self.store.do(Sql(text, (wake, status, run, token), must=True))
        except Nothing:
            return False
        return True

    # -- the inbox ------------------------------------------------------------------------------------------------

    async def tell(self, run: str, at: float, body: Json) -> None:
        """Say something to the run; whoever drives it hears it. Raises `RunError` when there is no such run."""
        packed = msgspec.json.encode(body).decode()
        try:
            await self.store.do(
                Sql("update run set wake = 0, parked = '', deaths = 0 where id = ? returning id", (run,), must=True),
                Sql(
                    "insert into inbox(id, run, at, body, state, note) values(?, ?, ?, ?, 'new', '')",
                    (uuid.uuid4().hex, run, at, packed),
                ),
            )
        except Nothing:
            raise RunError(f"there is no run `{run}`", hint="motet runs") from None

    async def heard(self, runs: Sequence[str]) -> dict[str, list[Message]]:
        """What was said to each of these runs and not heard yet, in order; nothing for the others."""
        text = (
            f"select run, id, at, body from inbox where run in ({', '.join('?' * len(runs))}) and state = 'new'"
            " order by at, id"
        )
        found: dict[str, list[Message]] = {}
        for run, id_, at, body in await self.store.read(Sql(text, tuple(runs))):
            found.setdefault(str(run), []).append(_message(id_, at, body))
        return found

    async def take(self, message: Message, *, refused: str = "") -> None:
        """Mark it heard; `refused` says why it changed nothing."""
        state = "refused" if refused else "taken"
        await self.store.do(Sql("update inbox set state = ?, note = ? where id = ?", (state, refused, message.id)))

    async def refused(self, run: str) -> list[tuple[Message, str]]:
        """What was said too late or in vain, with the reason."""
        text = "select id, at, body, note from inbox where run = ? and state = 'refused' order by at, id"
        return [
            (_message(id_, at, body), str(note)) for id_, at, body, note in await self.store.read(Sql(text, (run,)))
        ]
