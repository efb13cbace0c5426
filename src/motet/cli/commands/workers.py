"""`motet workers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from motet.cli import options, output

if TYPE_CHECKING:
    from motet.engine.fleet.members import Member


@click.command(short_help="The workers of a database, and what each drives.")
@options.database
@options.config
@options.json
def command(*, journal: str | None, config: str | None, as_json: bool) -> None:
    """List the workers that said something in the last day."""
    from motet.cli import fleet, session
    from motet.engine.fleet.members import Members
    from motet.engine.store.opening import open_store

    settings = session.configured(config)

    async def work() -> list[Member]:
        async with open_store(fleet.url(settings, journal)) as store:
            return await Members(store).all()

    members = session.run(work)
    if as_json:
        output.emit_json([member.to_json() for member in members])
        return
    cells = [
        (member.id, member.host, str(member.pid), _state(member), f"{member.legs}/{member.room}", member.release)
        for member in members
    ]
    output.table(("worker", "host", "pid", "state", "runs", "motet"), cells)


def _state(member: Member) -> str:
    if not member.alive:
        return f"silent for {member.silent:.0f} s"
    return "draining" if member.draining else "alive"
