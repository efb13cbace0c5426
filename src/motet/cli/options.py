"""Options that many commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from motet.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_CONFIG: Final = "motet.toml"

config = click.option(
    "--config",
    metavar="FILE",
    help=f"Configuration to use; default: $MOTET_CONFIG, else ./{DEFAULT_CONFIG}.",
)

journal = click.option(
    "--journal",
    "--database",
    "journal",
    metavar="PLACE",
    envvar="MOTET_JOURNAL",
    help="Where runs are kept: a file, or a postgresql:// URL; default: $MOTET_JOURNAL, else the state folder.",
)


database = click.option(
    "--database",
    "--journal",
    "journal",
    metavar="URL",
    envvar="MOTET_JOURNAL",
    help="The PostgreSQL database of the runs: postgresql://…; default: $MOTET_JOURNAL.",
)


shown = click.option(
    "--shown",
    default="",
    metavar="DIGEST",
    help="Only if it still shows this: the `digest`, or its beginning, of `motet show --json`.",
)


class _Seconds(click.ParamType[float]):
    """A duration as people write it, in seconds."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from motet.config.values import duration

        try:
            return duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


SECONDS: Final = _Seconds()


def json(function: F) -> F:
    """`--json`: one JSON document on stdout, also for errors."""
    return click.option(
        "--json", "as_json", is_flag=True, callback=_remember_json, help="Print one JSON document instead of text."
    )(function)


def _remember_json(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:  # noqa: FBT001 - click's signature
    ctx.meta["motet.json"] = value
    return value


def config_path(given: str | None) -> Path:
    """The configuration file to use: the option here, the one before the command, the variable, then the folder's own.

    Raises ConfigError when none is named and the folder has none.
    """
    ctx = click.get_current_context(silent=True)
    before = ctx.find_root().params.get("config") if ctx else None
    named = given or before or os.environ.get("MOTET_CONFIG")
    if named:
        return Path(named)
    if not Path(DEFAULT_CONFIG).is_file():
        raise ConfigError(
            f"no {DEFAULT_CONFIG} in {Path.cwd()}",
            hint=f"`motet init` writes one; `--config FILE` names yours (a {DEFAULT_CONFIG}, .mcp.json or mcp.json)",
        )
    return Path(DEFAULT_CONFIG)
