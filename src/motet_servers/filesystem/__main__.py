"""`motet-server-filesystem`: the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from motet_servers.kit.command import ServerCommand
from motet_servers.kit.settings import Variable

COMMAND = ServerCommand(
    name="motet-server-filesystem",
    summary="Files below the given roots: read, search, write, edit, move, delete. Nothing outside them is reachable.",
    build="motet_servers.filesystem.server:build",
    arguments="ROOT",
    arguments_help="a directory that may be used, or NAME=DIRECTORY (default: FILESYSTEM_ROOTS)",
    variables=(
        Variable(
            "FILESYSTEM_ROOTS", "roots when none are given as arguments, separated as in PATH, each DIR or NAME=DIR"
        ),
        Variable("FILESYSTEM_READ_ONLY", "1: offer no tool that writes", default="0"),
        Variable("FILESYSTEM_MAX_BYTES", "most bytes read or written in one call", default="4194304"),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; gives the exit code."""
    return COMMAND.main(argv)


if __name__ == "__main__":
    sys.exit(main())
