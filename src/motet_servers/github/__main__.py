"""`motet-server-github`: the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from motet_servers.kit.command import ServerCommand
from motet_servers.kit.settings import AUTHORITIES, Variable

COMMAND = ServerCommand(
    name="motet-server-github",
    summary="GitHub: issues, comments, pull requests, releases, files, code search, labels.",
    build="motet_servers.github.server:build",
    variables=(
        Variable(
            "GITHUB_TOKEN",
            "a personal, app or Actions token",
            secret=True,
            where="Make one under Settings > Developer settings > Personal access tokens.",
        ),
        Variable(
            "GITHUB_API_URL",
            "the API's base URL; for Enterprise Server https://HOST/api/v3",
            default="https://api.github.com",
        ),
        Variable("GITHUB_REPOSITORY", "OWNER/NAME used when a call names no repository"),
        AUTHORITIES,
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; gives the exit code."""
    return COMMAND.main(argv)


if __name__ == "__main__":
    sys.exit(main())
