"""`motet init`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from motet.cli import options, output
from motet.errors import ConfigError

TEMPLATE: Final = """\
# motet: many MCP servers, one work. Every key: docs/configuration.md. Look at the result with `motet servers`.

# Server lists of other hosts are read as they are and never written; settings below are laid over them by name.
# include = [".mcp.json"]

[defaults]
timeout = {connect = "30s", call = "30s"}   # seconds, or "500ms", "30s", "1d"

# A server is a command to start or a url to reach. It gets the variables named here, and nobody else's.
[servers.files]
command  = "motet-server-filesystem"        # comes with: pip install 'motet[servers]'
args     = ["."]
boundary = {domain = "files", schemes = ["files"]}

# [servers.jira]
# command  = "motet-server-jira"
# env      = {JIRA_URL = "https://jira.example.org"}
# secrets  = {JIRA_PERSONAL_TOKEN = "env:JIRA_PERSONAL_TOKEN"}
# timeout  = {call = "5s", tools = {transition_issue = "15s"}}
# retry    = {attempts = 3, idempotent = ["transition_issue"], keyed = {create_issue = "idempotency_key"}}
# breaker  = {calls = 5, failure_rate = 0.5, window = "30s", open_for = "15s"}
# tools    = {allow = ["get_*", "transition_issue"], approve = ["transition_issue"]}   # approve: a person is asked
# required = false                          # true: motet does not start without it

# [servers.example]
# url      = "https://mcp.example.org/mcp"
# headers  = {Authorization = "Bearer ${EXAMPLE_TOKEN}"}
# boundary = {domain = "examples", schemes = ["example"]}
"""


@click.command(short_help="Write a commented motet.toml to start from.")
@click.argument("file", default=options.DEFAULT_CONFIG, type=click.Path(dir_okay=False, path_type=Path))
@options.json
def command(file: Path, *, as_json: bool) -> None:
    """Write a commented motet.toml to start from (FILE, default ./motet.toml).

    A file that is there already is left alone.
    """
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(TEMPLATE)
    except FileExistsError:
        raise ConfigError(f"{file} is there already; nothing was written", hint="motet init OTHER.toml") from None
    except OSError as why:
        raise ConfigError(f"{file} cannot be written: {why.strerror}", hint="name a place you may write to") from None
    if as_json:
        output.emit_json({"written": str(file)})
    else:
        click.echo(f"{file} written. Next: edit it, then `motet servers`.")
