"""`motet demo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from motet.cli import exits, options, output

if TYPE_CHECKING:
    from motet.cli.demo.show import Kind

SERVERS = ("filesystem", "github", "database", "jira", "calendar", "deploy", "slack")


@click.command(short_help="Seven servers and the three patterns, on this machine, with no accounts.")
@click.option("--break", "broken", type=click.Choice(SERVERS), help="Kill this server once it is listed, for good.")
@click.option("--hang", "hanging", type=click.Choice(SERVERS), help="Stop this server: it answers nothing any more.")
@click.option("--slow", "slow", type=click.Choice(SERVERS), help="Let this server run only now and then.")
@click.option("--twice", is_flag=True, help="First with every server up, then once more with the trouble.")
@options.json
@click.pass_context
def command(
    ctx: click.Context, *, broken: str | None, hanging: str | None, slow: str | None, twice: bool, as_json: bool
) -> None:
    """Start seven servers on local stand-ins for GitHub, Jira, Slack and a calendar, and run three patterns on them.

    \b
    sequential  a GitHub issue from a Jira ticket, and a link back
    parallel    project status from three servers at once
    chain       deploy the latest release, check it, move the ticket, tell the channel

    With a broken server the others do their work, and the summary says what is missing and how to finish it; the exit
    code is 3 then, or 1 where a pattern cannot go on without it. Nothing is left running or lying about afterwards.
    """
    troubles: list[tuple[Kind, str | None]] = [("break", broken), ("hang", hanging), ("slow", slow)]
    chosen: list[tuple[Kind, str]] = [(kind, server) for kind, server in troubles if server]
    if len(chosen) > 1:
        raise click.UsageError("one of --break, --hang and --slow at a time")
    if twice and not chosen:
        raise click.UsageError("--twice wants --break, --hang or --slow for its second act")

    from motet.cli import examples, session
    from motet.cli.demo import show, stage

    trouble = show.Trouble(*chosen[0]) if chosen else None

    async def work() -> list[show.Outcome]:
        folder = examples.folder()
        output.say("motet demo: seven servers, each its own process with its own credentials; no accounts needed")
        async with stage.stage(folder) as built:
            acts = [None, trouble] if twice else [trouble]
            return await show.perform(built, folder, acts, tell=(lambda _: None) if as_json else show.summary)

    outcomes = session.run(work)
    if as_json:
        told = [outcome.to_json() for outcome in outcomes]
        output.emit_json(told if twice else told[0])
    ctx.exit(next((exits.FAILED for outcome in outcomes[:-1] if outcome.code), outcomes[-1].code))
