"""`python -m motet_servers.calendar`, or `motet-server-calendar`."""

from __future__ import annotations

import sys

from motet_servers.kit.command import ServerCommand
from motet_servers.kit.settings import Variable

COMMAND = ServerCommand(
    name="motet-server-calendar",
    summary="MCP server for calendars (CalDAV or .ics files): events, free/busy, invitations, deadlines.",
    build="motet_servers.calendar.server:build",
    variables=(
        Variable(
            "CALDAV_URL",
            "where the calendars are: a server, a principal, a home or one calendar",
            where="Most providers show it under calendar settings as the CalDAV address.",
        ),
        Variable("CALDAV_USERNAME", "user name at the CalDAV server"),
        Variable(
            "CALDAV_PASSWORD",
            "password for it",
            secret=True,
            where="Many providers want an app password, made in the account's security settings.",
        ),
        Variable("CALENDAR_FOLDER", "instead of CalDAV: a folder of .ics files"),
        Variable("CALENDAR_DEFAULT", "calendar for new items; not needed when there is only one"),
        Variable("CALENDAR_TIMEZONE", "IANA zone of times without an offset", default="UTC"),
        Variable("CALENDAR_EMAIL", "your address in invitations, if the user name is not it"),
        Variable("CALDAV_TIMEOUT", "seconds to wait for the CalDAV server", default="30"),
        Variable("CALDAV_POLL", "seconds between looks at what somebody subscribed to", default="30"),
        Variable("CALDAV_ALLOW_HTTP", "1 allows plain http to another machine"),
    ),
)


def main() -> int:
    """Run the server; the exit code."""
    return COMMAND.main()


if __name__ == "__main__":
    sys.exit(main())
