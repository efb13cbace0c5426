import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from motet.cli.main import COMMANDS, cli

HEAVY = ("mcp", "mcp_types", "pydantic", "aiohttp", "msgspec", "orjson", "yaml", "rich", "fastmcp", "asyncio")


def modules_after(code: str, **env: str) -> set[str]:
    script = (
        f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint('|'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=15,
        check=True,
        env={**os.environ, **env},
    )
    return set(done.stderr.splitlines()[-1].split("|"))


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_loads_nothing_heavy(name: str | None):
    arguments = [name, "--help"] if name else ["--help"]
    loaded = modules_after(f"from motet.cli.main import cli; cli.main({arguments!r})")
    assert loaded.isdisjoint(HEAVY)


def test_help_of_the_group_loads_no_command():
    loaded = modules_after("from motet.cli.main import cli; cli.main(['--help'])")
    assert not [name for name in loaded if name.startswith("motet.cli.commands.")]


@pytest.mark.parametrize("words", ["motet ", "motet de", "motet call --"])
def test_completion_loads_nothing_heavy(words: str):
    loaded = modules_after(
        "from motet.cli.main import main; main()",
        _MOTET_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
    )
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_list_is_the_one_of_the_command(name: str):
    command: click.Command = import_module(f"motet.cli.commands.{name}").command
    assert (command.name or name, command.short_help) == ("command", COMMANDS[name])
    assert command.help


def test_every_command_module_is_in_the_list():
    folder = Path(import_module("motet.cli.commands").__path__[0])
    assert {path.stem for path in folder.glob("[!_]*.py")} == set(COMMANDS)


def test_a_misspelt_command_is_answered_with_the_right_one():
    result = CliRunner().invoke(cli, ["server"])
    assert result.exit_code == 2
    assert "Did you mean 'servers'?" in result.stderr


def test_it_runs_as_a_module_too():
    done = subprocess.run([sys.executable, "-m", "motet", "--version"], capture_output=True, text=True, timeout=15)
    assert (done.returncode, done.stdout.split()[0], done.stderr) == (0, "motet", "")
