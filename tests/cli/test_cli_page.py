"""docs/cli.md against the commands. `python tests/cli/test_cli_page.py` writes the page's help texts anew."""

import re
from importlib import import_module
from pathlib import Path

import click

from motet.cli import exits
from motet.cli.main import COMMANDS, cli

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def help_of(name: str) -> str:
    command: click.Command = import_module(f"motet.cli.commands.{name}").command
    with click.Context(cli, info_name="motet", terminal_width=88, help_option_names=["-h", "--help"]) as parent:
        ctx = click.Context(command, parent=parent, info_name=name, terminal_width=88)
        return command.get_help(ctx)


def rendered() -> str:
    """The part of the page below its first heading of a command."""
    parts = [f"## motet {name}\n\n```text\n{help_of(name)}\n```\n" for name in COMMANDS]
    return "\n".join(parts)


def head_and_tail(page: str) -> tuple[str, str]:
    at = page.index("## motet ")
    return page[:at], page[at:]


def test_the_page_shows_every_command_as_its_help_does():
    _, tail = head_and_tail(PAGE.read_text(encoding="utf-8"))
    assert tail == rendered()


def test_the_page_gives_the_exit_codes_that_hold():
    head, _ = head_and_tail(PAGE.read_text(encoding="utf-8"))
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", head, re.M)}
    assert codes == set(exits.PRECEDENCE)


if __name__ == "__main__":
    head, _ = head_and_tail(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(head + rendered(), encoding="utf-8")
