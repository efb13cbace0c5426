"""`motet-server-database`: the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from motet_servers.kit.command import ServerCommand
from motet_servers.kit.settings import Variable

COMMAND = ServerCommand(
    name="motet-server-database",
    summary="One SQLite or PostgreSQL database: describe, query (read-only), explain, execute in one transaction.",
    build="motet_servers.database.server:build",
    variables=(
        Variable(
            "DATABASE_URL",
            "the database, such as sqlite:///path/to/file.db or postgresql://user:password@host/name",
            secret=True,
            where="For PostgreSQL use a role of its own, not a superuser.",
        ),
        Variable(
            "DATABASE_READ_URL",
            "the same database through a role that can only read, for everything but execute",
            secret=True,
        ),
        Variable("DATABASE_READ_ONLY", "1: offer no tool that writes", default="0"),
        Variable("DATABASE_ALLOW_SUPERUSER", "1: query as a superuser, whom no read-only lock holds", default="0"),
        Variable("DATABASE_QUERIES", "a TOML file of named queries"),
        Variable("DATABASE_MAX_ROWS", "most rows in one answer", default="1000"),
        Variable("DATABASE_MAX_BYTES", "most bytes of rows in one answer", default="1048576"),
        Variable("DATABASE_TIMEOUT", "seconds one statement may take", default="30"),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; gives the exit code."""
    return COMMAND.main(argv)


if __name__ == "__main__":
    sys.exit(main())
