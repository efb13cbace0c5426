"""The tables, and how those of an older motet are brought up to date."""

from __future__ import annotations

from motet.errors import RunError

SCHEMA = 3
"""Of the tables. A newer one is refused, an older one is brought up to date on opening."""
MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        (
            "create table run(id text primary key, workflow text not null, bundle text not null, status text not null,"
            " generation integer not null, rerun_of text, key text unique, created double precision not null,"
            " updated double precision not null, owner text, lease double precision not null, wake double precision,"
            " seq integer not null, head text not null, size bigint not null)"
        ),
        "create index run_due on run(status, wake)",
        (
            "create table entry(run text not null, seq integer not null, event text not null, act text not null,"
            " body text not null, hash text not null, primary key(run, seq))"
        ),
        (
            "create table inbox(id text primary key, run text not null, at double precision not null,"
            " body text not null, state text not null, note text not null)"
        ),
        "create index inbox_new on inbox(run, state)",
        "create table blob(run text not null, hash text not null, body text not null, primary key(run, hash))",
    ),
    2: (  # what a fleet needs to know of runs and of its workers
        "alter table run add column priority integer not null default 0",
        "alter table run add column speaks integer not null default 1",
        "alter table run add column needs text not null default '[]'",
        "alter table run add column deaths integer not null default 0",
        "alter table run add column parked text not null default ''",
        (
            "create table worker(id text primary key, host text not null, pid integer not null, release text not null,"
            " speaks text not null, servers text not null, started double precision not null,"
            " seen double precision not null, legs integer not null, room integer not null, draining integer not null)"
        ),
        "create table duty(name text primary key, at double precision not null)",
        (
            "create table schedule(name text primary key, workflow text not null, bundle text not null,"
            " cron text not null, zone text not null, inputs text not null, overlap text not null,"
            " catch_up text not null, priority integer not null, paused integer not null,"
            " next double precision not null, waiting double precision, last double precision, run text,"
            " missed integer not null, missed_at text not null, trouble text not null)"
        ),
        (
            "create table limits(name text primary key, concurrency integer not null, rate double precision not null,"
            " burst integer not null, tat double precision not null, locked bigint not null)"
        ),
        (
            "create table permit(name text not null, holder text not null, worker text not null,"
            " until double precision not null, primary key(name, holder))"
        ),
        (
            "create table ticket(name text not null, holder text not null, at double precision not null,"
            " until double precision not null, primary key(name, holder))"
        ),
    ),
    3: (  # each worker says after which silence it is to be taken for dead
        "alter table worker add column stall double precision not null default 15",
    ),
}


def steps_from(found: int, where: str) -> list[tuple[int, str]]:
    """What brings tables of schema `found` up to date, as (schema, statement). Raises `RunError` for newer ones."""
    if found > SCHEMA:
        raise RunError(
            f"the journal {where} has schema {found}; this motet knows {SCHEMA}", hint="use the motet that wrote it"
        )
    return [(version, text) for version in range(found + 1, SCHEMA + 1) for text in MIGRATIONS[version]]
