"""The four servers over something small that is really there, arguments for every tool, and what there is as facts.

A fact that is gone was destroyed, and two sets of facts that are the same mean one effect.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from motet_servers.calendar.folder import FolderStore
from motet_servers.calendar.server import assemble
from motet_servers.calendar.times import zone_named
from motet_servers.calendar.tools import Habits
from motet_servers.database.named import load as load_queries
from motet_servers.database.server import Settings as Database
from motet_servers.database.server import database_server
from motet_servers.deploy.server import deploy_server
from motet_servers.deploy.targets import load as load_targets
from motet_servers.filesystem.server import Settings as Filesystem
from motet_servers.filesystem.server import filesystem_server
from motet_servers.kit.server import DomainServer

Facts = set[tuple[object, ...]]
NAMES = ("filesystem", "database", "calendar", "deploy")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BOOKKEEPING = re.compile(r"^(DTSTAMP|CREATED|LAST-MODIFIED)[:;].*$", re.MULTILINE)
EVENT = (
    "BEGIN:VEVENT\r\nUID:{uid}\r\nSUMMARY:{uid}\r\nDTSTAMP:20261101T000000Z\r\nDTSTART:20261125T100000Z\r\n"
    "DTEND:20261125T110000Z\r\nORGANIZER:mailto:grace@example.org\r\nATTENDEE:mailto:ada@example.org\r\nEND:VEVENT\r\n"
)
TODO = "BEGIN:VTODO\r\nUID:due\r\nSUMMARY:due\r\nDTSTAMP:20261101T000000Z\r\nDUE:20261125T100000Z\r\nEND:VTODO\r\n"
TARGETS = """
targets:
  staging: {service: false, hooks: {before: [sh, -c, 'echo "$RELEASE_VERSION" >> ../../ran']}}
  production: {service: false}
  running: {start: [sleep, '600'], health: {path: /, timeout: 0.2}}
"""


@dataclass(frozen=True)
class World:
    """One server's things in a folder of their own; `serve` makes a new server over them."""

    name: str
    root: Path
    serve: Callable[[], DomainServer]

    def facts(self) -> Facts:
        """What there is, past the server."""
        match self.name:
            case "database":
                with closing(sqlite3.connect(self.root / "data.db")) as connection:
                    tables = connection.execute("select name, sql from sqlite_master where name not like 'motet%'")
                    found: Facts = {("schema", *row) for row in tables}
                    return found | {("row", *row) for row in connection.execute("select * from people")}
            case "calendar":
                text = "".join(file.read_text() for file in sorted(self.root.rglob("*.ics")))
                items = re.findall(r"^BEGIN:(?:VEVENT|VTODO).*?^END:(?:VEVENT|VTODO)", text, re.MULTILINE | re.DOTALL)
                return {("line", item[:60], line) for item in items for line in BOOKKEEPING.sub("", item).splitlines()}
            case "deploy":
                return files(self.root, skip=("lock", "journal.jsonl", "services.json")) | journal(self.root)
            case _:
                return files(self.root)

    def state(self) -> Facts:
        """Everything, to the byte and the moment of its last change."""
        return {
            (str(path), path.lstat().st_mtime_ns, path.lstat().st_size)
            for path in self.root.rglob("*")
            if not path.name.endswith(("-shm", "-wal"))
        }


def files(root: Path, skip: tuple[str, ...] = ()) -> Facts:
    found: Facts = set()
    for path in root.rglob("*"):
        if path.name not in skip:
            shown = str(path.relative_to(root))
            if path.is_symlink():
                found.add((shown, "->", str(path.readlink())))
            elif path.is_dir():
                found.add((shown, "directory"))
            else:
                found.add((shown, hashlib.sha256(path.read_bytes()).hexdigest()))
    return found


def journal(root: Path) -> Facts:
    """The operations that ended, by their answers."""
    lines = [line for file in root.rglob("journal.jsonl") for line in file.read_text().splitlines()]
    entries = [json.loads(line) for line in lines]
    return {("operation", entry["id"]) for entry in entries if entry["event"] == "finished"}


def world(name: str, root: Path) -> World:
    """Something small that is really there."""
    make: dict[str, Callable[[Path], Callable[[], DomainServer]]] = {
        "filesystem": make_filesystem,
        "database": make_database,
        "calendar": make_calendar,
        "deploy": make_deploy,
    }
    (root / "world").mkdir()
    return World(name, root / "world", make[name](root / "world"))


def make_filesystem(root: Path) -> Callable[[], DomainServer]:
    (root / "sub").mkdir()
    (root / "a.txt").write_text("one\ntwo\n")
    (root / "sub/b.txt").write_text("three\n")
    return lambda: filesystem_server(Filesystem(roots=(("files", root),), max_bytes=100_000))


def make_database(root: Path) -> Callable[[], DomainServer]:
    with closing(sqlite3.connect(root / "data.db")) as connection:
        connection.executescript(
            "create table people (id integer primary key, name text not null unique);"
            "insert into people values (1, 'Ada'), (2, 'Grace')"
        )
    queries = root.parent / "queries.toml"
    queries.write_text('[queries.everyone]\nsql = "select * from people order by id"\n')
    return lambda: database_server(Database(url=f"sqlite:///{root}/data.db", queries=load_queries(queries)))


def make_calendar(root: Path) -> Callable[[], DomainServer]:
    (root / "team").mkdir()
    for uid, component in (("one", EVENT.format(uid="one")), ("two", EVENT.format(uid="two")), ("due", TODO)):
        text = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//EN\r\n{component}END:VCALENDAR\r\n"
        (root / f"team/{uid}.ics").write_text(text, newline="")
    os.close(os.open(root / ".motet-calendar.lock", os.O_CREAT))
    habits = Habits(zone_named("UTC"), "team", "ada@example.org")
    return lambda: assemble(FolderStore(root), habits, local=True, clock=lambda: NOW)


def make_deploy(root: Path) -> Callable[[], DomainServer]:
    for version in ("v1", "v2", "v3"):
        (root / f"artifacts/{version}").mkdir(parents=True)
        (root / f"artifacts/{version}/app.py").write_text(version)
    targets = root.parent / "targets.yaml"
    targets.write_text(TARGETS)
    for env in ("staging", "production"):
        home = root / f"targets/{env}"
        for version in ("v0", "v1", "v2"):
            (home / f"releases/{version}").mkdir(parents=True)
            (home / f"releases/{version}/app.py").write_text(version)
    (root / "targets/staging/current").symlink_to("releases/v2")
    (root / "targets/production/current").symlink_to("releases/v1")
    stack = {"event": "finished", "id": "0", "answer": {"status": "deployed", "version": "v2"}, "at": "2026"}
    begun = {"event": "started", "id": "0", "operation": "deploy", "requested": "v2", "print": "0", "at": "2026"}
    lines = [{**begun, "current": "v1"}, {**stack, "current": "v2", "stack": ["v1"]}]
    (root / "targets/staging/journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    configured = {
        name: target.model_copy(update={"path": f"{root}/targets/{name}", "artifacts": root / "artifacts"})
        for name, target in load_targets(targets).items()
    }
    return lambda: deploy_server(configured)


Json = dict[str, Any]
READS: dict[tuple[str, str], Json] = {
    ("filesystem", "list_roots"): {},
    ("filesystem", "read"): {"path": "a.txt"},
    ("filesystem", "read_many"): {"paths": ["a.txt", "sub/b.txt"]},
    ("filesystem", "list"): {},
    ("filesystem", "tree"): {},
    ("filesystem", "search"): {"pattern": "t"},
    ("filesystem", "stat"): {"path": "a.txt", "with_hash": True},
    ("database", "list_tables"): {},
    ("database", "describe_table"): {"table": "people"},
    ("database", "query"): {"sql": "select * from people where id = :id", "parameters": {"id": 1}},
    ("database", "explain"): {"sql": "select * from people"},
    ("database", "list_queries"): {},
    ("database", "run_query"): {"name": "everyone"},
    ("calendar", "list_calendars"): {},
    ("calendar", "list_events"): {},
    ("calendar", "get_event"): {"uid": "one"},
    ("calendar", "list_deadlines"): {},
    ("calendar", "get_free_busy"): {"start": "2026-11-25", "end": "2026-11-26"},
    ("deploy", "list_targets"): {},
    ("deploy", "list_releases"): {"env": "staging"},
    ("deploy", "plan"): {"version": "v3", "env": "staging"},
    ("deploy", "check"): {"env": "staging"},
    ("deploy", "history"): {"env": "staging"},
}
"""Every tool that says it only reads."""
WRITES: dict[tuple[str, str], Json] = {
    ("filesystem", "write"): {"path": "a.txt", "content": "other"},
    ("filesystem", "edit"): {"path": "a.txt", "edits": [{"old": "o", "new": "oo", "all": True}]},
    ("filesystem", "create"): {"path": "new.txt", "content": "new"},
    ("filesystem", "create_directory"): {"path": "x/y"},
    ("filesystem", "move"): {"source": "a.txt", "destination": "moved.txt"},
    ("filesystem", "delete"): {"path": "sub", "recursive": True},
    ("database", "execute"): {"sql": "update people set name = name || '!'"},
    ("database", "execute_batch"): {
        "statements": [
            {"sql": "update people set name = name || '?'"},
            {"sql": "insert into people (name) values (hex(randomblob(8)))"},
        ]
    },
    ("calendar", "create_event"): {"summary": "new", "start": "2026-11-26T10:00"},
    ("calendar", "create_deadline"): {"summary": "new", "due": "2026-11-26"},
    ("calendar", "update_event"): {"uid": "one", "summary": "changed", "start": "2026-11-26T10:00"},
    ("calendar", "update_deadline"): {"uid": "due", "status": "completed"},
    ("calendar", "respond_to_event"): {"uid": "one", "response": "declined"},
    ("calendar", "delete_event"): {"uid": "two"},
    ("deploy", "deploy"): {"version": "v3", "env": "staging"},
    ("deploy", "promote"): {"env": "production", "from_env": "staging"},
    ("deploy", "rollback"): {"env": "staging"},
    ("deploy", "stop"): {"env": "running"},
    ("deploy", "prune"): {"env": "staging", "keep": 1},
}
"""Every other tool, with something to do."""
REFUSED_TWICE = {("filesystem", "move")}
"""A second call finds nothing to do it to, and says so."""
ADDRESSES: dict[str, list[tuple[str, str]]] = {
    "filesystem": [
        ("files://files", "application/json"),
        ("files://files/sub", "application/json"),
        ("files://files/sub/b.txt", "text/plain"),
        ("files://files/sub%2Fb.txt", "text/plain"),
    ],
    "database": [
        ("db://tables", "application/json"),
        ("db://tables/people", "application/json"),
        ("db://tables/main.people/rows", "application/json"),
        ("db://queries/everyone", "application/json"),
    ],
    "calendar": [
        ("calendar://calendars", "application/json"),
        ("calendar://team/events?start=2026-11-25&limit=1", "application/json"),
        ("calendar://team/events/one", "application/json"),
        ("calendar://team/ical/one", "text/calendar"),
        ("calendar://team/deadlines?include_completed=true", "application/json"),
        ("calendar://team/free-busy?start=2026-11-25&end=2026-11-26T00%3A00%3A00Z", "application/json"),
    ],
    "deploy": [
        ("deploy://targets", "application/json"),
        ("deploy://staging/current", "application/json"),
        ("deploy://staging/releases", "application/json"),
        ("deploy://staging/history", "application/json"),
    ],
}
"""An address for every resource and template, and what it gives."""
