"""`motet demo`."""

from __future__ import annotations

import click

from motet.cli import options, output

SERVERS = ("filesystem", "github", "database", "jira", "calendar", "deploy", "slack")


@click.command(short_help="Seven servers and the three patterns, on this machine, with no accounts.")
@click.option("--break", "broken", type=click.Choice(SERVERS), help="Kill this server once it is listed, for good.")
@click.option("--hang", "hanging", type=click.Choice(SERVERS), help="Stop this server: it answers nothing any more.")
@click.option("--slow", "slow", type=click.Choice(SERVERS), help="Let this server run only now and then.")
@options.json
@click.pass_context
def command(ctx: click.Context, *, broken: str | None, hanging: str | None, slow: str | None, as_json: bool) -> None:
    """Start seven servers on local stand-ins for GitHub, Jira, Slack and a calendar, and run three patterns on them.

    \b
    sequential  a GitHub issue from a Jira ticket, and a link back
    parallel    project status from three servers at once
    chain       deploy the latest release, check it, move the ticket, tell the channel

    With a broken server the others do their work, and the summary says what is missing and how to finish it. Nothing is
    left running or lying about afterwards.
    """
    from motet.cli import examples, session
    from motet.cli.demo import show, stage

    troubles: list[tuple[show.Kind, str | None]] = [("break", broken), ("hang", hanging), ("slow", slow)]
    chosen = [show.Trouble(kind, server) for kind, server in troubles if server]
    if len(chosen) > 1:
        raise click.UsageError("one of --break, --hang and --slow at a time")

    async def work() -> show.Outcome:
        folder = examples.folder()
        output.say("motet demo: seven servers, each its own process with its own credentials; no accounts needed")
        async with stage.stage(folder) as built:
            return await show.perform(built, folder, chosen[0] if chosen else None)

    outcome = session.run(work)
    if as_json:
        output.emit_json(outcome.to_json())
    else:
        show.summary(outcome)
    ctx.exit(outcome.code)
