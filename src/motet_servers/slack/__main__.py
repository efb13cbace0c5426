"""`motet-server-slack`: the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from motet_servers.kit.command import ServerCommand
from motet_servers.kit.settings import AUTHORITIES, Variable

COMMAND = ServerCommand(
    name="motet-server-slack",
    summary="Slack: channels, messages, threads, users, files, reactions, permalinks.",
    build="motet_servers.slack.server:build",
    variables=(
        Variable(
            "SLACK_BOT_TOKEN",
            "the app's bot token (xoxb-…)",
            secret=True,
            where="Find it under api.slack.com/apps > your app > OAuth & Permissions.",
        ),
        Variable("SLACK_API_URL", "the Web API's base URL", default="https://slack.com/api"),
        AUTHORITIES,
    ),
    notes="Scopes: channels:read, channels:history, users:read, users:read.email, chat:write, reactions:write,\n"
    "reactions:read, files:write; groups:read and groups:history for private channels; channels:join to join.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; gives the exit code."""
    return COMMAND.main(argv)


if __name__ == "__main__":
    sys.exit(main())
