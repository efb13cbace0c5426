"""`motet resolve`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from motet.cli import options

if TYPE_CHECKING:
    from motet.workflow.entries import Verdict


@click.command(short_help="Say what became of a step whose outcome is unknown.")
@click.argument("run")
@click.argument("step")
@click.argument("data", required=False, metavar="[DATA]")
@click.option("--done", is_flag=True, help="It happened; DATA, as JSON, is what it gave.")
@click.option("--failed", is_flag=True, help="It did not happen.")
@click.option("--retry", is_flag=True, help="Do it again.")
@options.journal
@options.config
@options.json
def command(
    *,
    run: str,
    step: str,
    data: str | None,
    done: bool,
    failed: bool,
    retry: bool,
    journal: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Say what became of a step whose outcome nobody knows. `motet resume RUN` goes on with the run.

    \b
    motet resolve RUN tell --done '{"ts": "1.2"}'
    """
    from motet.cli import asking, runs

    chosen = [word for word, flag in (("done", done), ("failed", failed), ("retry", retry)) if flag]
    if len(chosen) != 1:
        raise click.UsageError("say one of --done, --failed and --retry")
    if data is not None and not done:
        raise click.UsageError("DATA belongs to --done")
    verdict: Verdict = "done" if done else "failed" if failed else "retry"
    value = _json(data)
    runs.say(
        config,
        journal,
        lambda ledger: ledger.resolve(run, step, verdict, data=value, who=asking.who()),
        told=f"{step} of run {run}: {verdict}",
        run=run,
        as_json=as_json,
    )


def _json(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except (json.JSONDecodeError, RecursionError) as why:
        raise click.BadParameter(f"DATA is not valid JSON ({why})") from None
