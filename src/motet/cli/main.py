"""`motet`: the group of commands, loaded one by one.

`motet --help` and shell completion import click and nothing heavier; a command's module is imported when the command
is used, and the protocol only when it connects.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import click

from motet.cli import exits, output
from motet.errors import MotetError, RunError

SECTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "See it work": {
        "demo": "Seven servers and the three patterns, on this machine, with no accounts.",
    },
    "Servers": {
        "init": "Write a commented motet.toml to start from.",
        "servers": "What each server is, offers and lacks.",
        "tools": "The tools of one server, or of all.",
        "call": "Call one tool: SERVER.TOOL key=text key:=json.",
        "read": "Read resources, from any servers, together.",
        "login": "Log in to servers that want a person to.",
        "trust": "Show what changed in a server's tools, and accept it.",
        "doctor": "Find out what is missing on this machine.",
    },
    "Workflows": {
        "check": "Find every mistake in a workflow before it runs.",
        "run": "Run a workflow.",
        "rehearse": "Run a workflow with each server failing in turn, on mocks.",
        "schema": "The JSON Schema of workflow files, for editors.",
    },
    "Runs": {
        "runs": "The latest runs, and how they stand.",
        "show": "One run: its report, or everything it has done.",
        "resume": "Go on with a run: interrupted, waiting, or partial.",
        "rerun": "Run the workflow of an earlier run again.",
        "approve": "Say yes to an approval that a run waits for.",
        "reject": "Say no to an approval that a run waits for.",
        "answer": "Answer what a server asked while nobody was there.",
        "resolve": "Say what became of a step whose outcome is unknown.",
        "cancel": "End a run, and take back what it did.",
        "verify": "Is the journal of a run whole?",
        "prune": "Forget runs that ended long ago.",
    },
    "Fleets": {
        "worker": "Drive the runs of a database, beside other workers.",
        "workers": "The workers of a database, and what each drives.",
        "schedule": "Runs that workers begin by the clock.",
        "limit": "Limits that hold across all workers.",
    },
}
"""Every command with its one line of help, in the order of `motet --help`."""

POSTGRES: Final = frozenset({"psycopg", "psycopg_pool", "procrastinate", "croniter", "prometheus_client"})
"""What only a fleet needs."""
INSTALL: Final = "pip install 'motet[postgres]'"

COMMANDS: Final = {name: line for section in SECTIONS.values() for name, line in section.items()}


class Commands(click.Group):
    """The group: knows the names of all commands, imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"motet.cli.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise click.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]
        return names or super().shell_complete(ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MotetError as error:
            if ctx.meta.get("motet.json"):
                output.emit_json({"error": output.error_json(error)})
            output.complain(error)
            ctx.exit(exits.of_error(error))
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in POSTGRES:
                raise
            output.complain(RunError(f"a fleet needs {error.name}, which is not installed", hint=INSTALL))
            ctx.exit(exits.FAILED)
        except KeyboardInterrupt:
            output.say("interrupted")
            ctx.exit(exits.INTERRUPTED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--config", metavar="FILE", help="Configuration to use; default: ./motet.toml.")
@click.version_option(None, "--version", package_name="motet", message="motet %(version)s")
def cli(config: str | None) -> None:
    """Many MCP servers, one work: composes them, and keeps going when one drops out."""


def main() -> None:
    """The console script."""
    cli.main(prog_name="motet")


if __name__ == "__main__":
    sys.exit(main())
