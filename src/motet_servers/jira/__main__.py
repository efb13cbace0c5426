"""`motet-server-jira`: the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from motet_servers.kit.command import ServerCommand
from motet_servers.kit.settings import AUTHORITIES, Variable

COMMAND = ServerCommand(
    name="motet-server-jira",
    summary="Jira Data Center: issues, comments, links, transitions, sprints, boards, assignees.",
    build="motet_servers.jira.server:build",
    variables=(
        Variable("JIRA_URL", "base URL, such as https://jira.example.com"),
        Variable(
            "JIRA_PERSONAL_TOKEN",
            "a personal access token",
            secret=True,
            where="Make one in Jira under your profile > Personal Access Tokens.",
        ),
        Variable("JIRA_USERNAME", "user name, when there is no personal token"),
        Variable("JIRA_API_TOKEN", "password or API token of JIRA_USERNAME", secret=True),
        AUTHORITIES,
    ),
    notes="Give JIRA_PERSONAL_TOKEN, or JIRA_USERNAME and JIRA_API_TOKEN.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; gives the exit code."""
    return COMMAND.main(argv)


if __name__ == "__main__":
    sys.exit(main())
