"""The journal of a run: append-only rows, chained by hashes, written only while the run is ours.

`Ledger` is everything that is done with the rows of runs; `RunJournal` is the end that a `Drive` writes to. An owner's
token is fresh for every claim: whoever lost a run can neither record nor, because a call that may not be repeated waits
for its `started` to be durable, send. The chain of hashes detects accidents, not forgers.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from motet.calls import Json
from motet.engine.store import Nothing, Rows, Sql, Store, Unreachable
from motet.errors import RunError
from motet.workflow.entries import Answered, Began, Entry, Finished, Resumed, Woke, decode, encode

_AGAIN = 0.1
"""Seconds until a database that was lost is tried again."""
BLOB = 256 << 10
"""Bytes of one entry past which it lies in the blob table, under its hash."""
CAP = 256 << 20
"""Bytes one run may write."""
LEASE = 30.0
"""Seconds after which a run whose owner says nothing may be claimed by another."""
_PROGRESS = (Finished, Answered, Woke, Resumed)
"""Entries that show that a run does not just kill whoever drives it."""


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


def chained(head: str, run: str, seq: int, body: str) -> str:
    """The hash of an entry, given that of the one before."""
    return hashlib.sha256(f"{head}\n{run}\n{seq}\n{body}".encode()).hexdigest()


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
        inserts, head, size = _inserts(began.run, 0, "", bodies, (began, *entries))
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
            *inserts,
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

    async def entries(self, run: str) -> tuple[list[Entry], str]:
        """Everything it has done, and the last hash. Raises `RunError` naming the first row that is damaged."""
        return await self.entries_since(run, 0, "")

    async def entries_since(self, run: str, seq: int, head: str) -> tuple[list[Entry], str]:
        """What it has done since it had done `seq` things, the last of them with the hash `head`; see `entries`."""
        rows = await self.store.read(Sql(f"{_ENTRIES} and seq >= ? order by seq", (run, seq)))
        blobs = (
            await self.store.read(Sql(_BLOBS, (run,)))
            if any(str(body).startswith("blob:") for _, body, _ in rows)
            else []
        )
        return _read(run, rows, blobs, seq=seq, head=head)

    async def bundle(self, run: str) -> str:
        """What its workflow was made from, as JSON text."""
        rows = await self.store.read(Sql("select bundle from run where id = ?", (run,)))
        if not rows:
            raise RunError(f"there is no run `{run}`", hint="motet runs")
        return str(rows[0][0])

    async def verify(self, run: str) -> list[str]:
        """What is wrong with its journal; empty when it is whole."""
        row = await self.row(run)
        try:
            entries, head = await self.entries(run)
        except RunError as error:
            return [error.message]
        stored = await self.store.read(Sql("select head, seq from run where id = ?", (run,)))
        problems: list[str] = []
        if stored[0][0] != head or stored[0][1] != len(entries):
            problems.append(f"run {run}: {len(entries)} entries are there, {row.seq} were written")
        if not entries or not isinstance(entries[0], Began):
            problems.append(f"run {run} does not begin at its beginning")
        return problems

    async def prune(self, before: float) -> int:
        """Forget runs that ended before then (seconds since 1970); how many."""
        ended = "status not in ('running', 'waiting') and updated < ?"
        among = f"run in (select id from run where {ended})"
        *_, gone = await self.store.do(
            Sql(f"delete from entry where {among}", (before,)),
            Sql(f"delete from blob where {among}", (before,)),
            Sql(f"delete from inbox where {among}", (before,)),
            Sql(f"delete from run where {ended} returning id", (before,)),
        )
        return len(gone)

    # -- driving --------------------------------------------------------------------------------------------------

    async def claim(self, run: str) -> Claim:
        """Make the run ours. Raises `LostRun` when somebody alive drives it, `RunError` when its journal is damaged."""
        row = await self.row(run)
        gone = row.owner is not None and not alive(row.owner)
        token = new_token()
        condition = "owner = ?" if gone else "(owner is null or lease < {now})"
        text = (
            "update run set owner = ?, lease = {now} + ?, wake = 0, parked = '',"
            " deaths = deaths + case when owner is null then 0 else 1 end"
            f" where id = ? and {condition} returning {_COLUMNS}, bundle"
        )
        owner = (row.owner,) if gone else ()
        try:
            found, rows, blobs = await self.store.do(
                Sql(text, (token, self.lease, run, *owner), must=True),
                Sql(f"{_ENTRIES} order by seq", (run,)),
                Sql(_BLOBS, (run,)),
            )
        except RunError:
            forget(token)
            raise
        except Nothing:
            forget(token)
            where = "" if row.owner is None else f" ({_who(row.owner)})"
            raise Busy(f"run {run} is being driven by another process{where}") from None
        *columns, bundle = found[0]
        try:
            entries, head = _read(run, rows, blobs)
        except RunError:
            await self.release(run, token, wake=None)
            forget(token)
            raise
        return Claim(RunRow(*columns), token, str(bundle), entries, head)

    async def renew(self, tokens: Sequence[str]) -> set[str]:
        """Say that these claims are still driven; gives those that still hold."""
        text = f"update run set lease = {{now}} + ? where owner in ({', '.join('?' * len(tokens))}) returning owner"
        (rows,) = await self.store.do(Sql(text, (self.lease, *tokens)))
        return {str(owner) for (owner,) in rows}

    async def release(
        self, run: str, token: str, *, wake: float | None, status: str | None = None, heard: bool = True
    ) -> bool:
        """Let go of it until `wake`. False when it is not ours, or, if `heard`, when something new is in its inbox."""
        unheard = " and not exists (select 1 from inbox where inbox.run = run.id and state = 'new')"
        text = (
            "update run set owner = null, lease = 0, deaths = 0, wake = ?, status = coalesce(?, status)"
            f" where id = ? and owner = ?{unheard if heard else ''} returning id"
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
            found.setdefault(str(run), []).append(Message(str(id_), float(at), msgspec.json.decode(str(body))))
        return found

    async def take(self, message: Message, *, refused: str = "") -> None:
        """Mark it heard; `refused` says why it changed nothing."""
        state = "refused" if refused else "taken"
        await self.store.do(Sql("update inbox set state = ?, note = ? where id = ?", (state, refused, message.id)))

    async def refused(self, run: str) -> list[tuple[Message, str]]:
        """What was said too late or in vain, with the reason."""
        text = "select id, at, body, note from inbox where run = ? and state = 'refused' order by at, id"
        return [
            (Message(str(id_), float(at), msgspec.json.decode(str(body))), str(note))
            for id_, at, body, note in await self.store.read(Sql(text, (run,)))
        ]


_ENTRIES = "select seq, body, hash from entry where run = ?"
_BLOBS = "select hash, body from blob where run = ?"


def _read(run: str, rows: Rows, found: Rows, *, seq: int = 0, head: str = "") -> tuple[list[Entry], str]:
    """The entries of these rows, of which the first is number `seq`, and the last hash.

    Raises `RunError` naming the first row that is damaged.
    """
    blobs = {str(digest): str(body) for digest, body in found}
    entries = list[Entry]()
    for at, (number, body, digest) in enumerate(rows, start=seq):
        text = str(body)
        if number != at or chained(head, run, at, text) != digest:
            message = f"run {run}: entry {at} of its journal is not what was written"
            raise RunError(message, hint=f"motet verify {run}")
        head = str(digest)
        if text.startswith("blob:"):
            name, text = text[5:], blobs.get(text[5:], "")
            if hashlib.sha256(text.encode()).hexdigest() != name:
                raise RunError(f"run {run}: the data of entry {at} is missing or damaged")
        try:
            entries.append(decode(text))
        except msgspec.MsgspecError as error:
            message = f"run {run}: entry {at} cannot be read: {error}"
            raise RunError(message, hint="was it written by a newer motet?") from error
    return entries, head


def _inserts(
    run: str, seq: int, head: str, bodies: Sequence[str], entries: Sequence[Entry]
) -> tuple[list[Sql], str, int]:
    statements: list[Sql] = []
    size = 0
    for at, (body, entry) in enumerate(zip(bodies, entries, strict=True), start=seq):
        stored = body
        if len(body) > BLOB:
            digest = hashlib.sha256(body.encode()).hexdigest()
            text = "insert into blob(run, hash, body) values(?, ?, ?) on conflict do nothing"
            statements.append(Sql(text, (run, digest, body)))
            stored = f"blob:{digest}"
        head = chained(head, run, at, stored)
        size += len(body)
        event = type(entry).__name__.lower()
        statements.append(
            Sql(
                "insert into entry(run, seq, event, act, body, hash) values(?, ?, ?, ?, ?, ?)",
                (run, at, event, str(getattr(entry, "key", "")), stored, head),
            )
        )
    return statements, head, size


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
        inserts, head, size = _inserts(self._run, self._seq, self._head, bodies, batch)
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
        written = await self._surely([Sql(text, values, must=True), *inserts], head)
        self._seq += len(batch)
        self._head = head
        if written > CAP:
            raise RunError(f"run {self._run} has written more than {CAP >> 20} MiB", hint="start a new run")

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


# -- owners -----------------------------------------------------------------------------------------------------------


_HELD: set[str] = set()
"""The tokens of this process that are in use: a claim whose release could not be written is nobody's."""


@cache
def this_machine() -> str:
    """The name of this host, with what tells two containers of one name apart: the boot and the process namespace."""
    parts = [socket.gethostname()]
    for read in (lambda: Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8], _pid_namespace):
        with suppress(OSError):
            parts.append(read())
    return "~".join(parts)


def _pid_namespace() -> str:
    return str(Path("/proc/self/ns/pid").stat().st_ino)


def new_token() -> str:
    """An owner's name: this host, this process, this claim."""
    token = f"{this_machine()}/{os.getpid()}/{_started(os.getpid())}/{uuid.uuid4().hex}"
    _HELD.add(token)
    return token


def forget(token: str) -> None:
    """Say that this process drives nothing under that token any more, whatever the table says."""
    _HELD.discard(token)


def alive(owner: str) -> bool:
    """May the process that claimed it still live? Only a process of this host can be known to be gone."""
    host, pid, started, _ = owner.rsplit("/", 3)
    if host != this_machine():
        return True
    if int(pid) == os.getpid():
        return owner in _HELD
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return started in ("", _started(int(pid)))


def _started(pid: int) -> str:
    """When the process began, in the kernel's ticks; empty where the system does not tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _who(owner: str) -> str:
    host, pid, *_ = owner.rsplit("/", 3)
    return f"process {pid} on {host.partition('~')[0]}"
