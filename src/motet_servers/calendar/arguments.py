"""The arguments that several tools share: what each may be, and what its caller is told about it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

CalendarName = Annotated[
    str | None,
    Field(
        description="Id or name (see list_calendars). Left out: all when reading, the default when writing.",
        max_length=300,
    ),
]
Uid = Annotated[str, Field(description="UID of the item.", min_length=1, max_length=500)]
Time = Annotated[str, Field(max_length=64)]
Start = Annotated[Time | None, Field(description="From when, ISO 8601. Left out: now.")]
End = Annotated[
    Time | None, Field(description="Until when, ISO 8601; a bare date is included. Left out: 30 days after start.")
]
Limit = Annotated[int, Field(description="At most so many.", ge=1, le=500)]
Query = Annotated[
    str | None,
    Field(max_length=1000, description="Only events with this text in summary, description, location or attendees."),
]
Summary = Annotated[str, Field(description="One line.", min_length=1, max_length=1000)]
Text = Annotated[str | None, Field(description="Longer text.", max_length=100_000)]
Short = Annotated[str | None, Field(max_length=1000)]
Zone = Annotated[
    str | None,
    Field(
        max_length=100, description="IANA zone of times without offset, kept with the event. Left out: the server's."
    ),
]
Rule = Annotated[str | None, Field(description="RRULE such as FREQ=WEEKLY;BYDAY=MO;COUNT=10.", max_length=1000)]
Mail = Annotated[str, Field(max_length=320)]
Mails = Annotated[list[Mail] | None, Field(description="Mail addresses.", max_length=200)]
Words = Annotated[list[Annotated[str, Field(max_length=200)]] | None, Field(max_length=50)]
Occurring = Annotated[
    Time | None, Field(description="`occurrence` of one event of a series: only that one. Left out: the whole series.")
]
Etag = Annotated[
    str | None,
    Field(max_length=1000, description="`etag` as you read it: refuses if somebody changed the item since."),
]
Minutes = Annotated[int | None, Field(description="Reminder so many minutes before; 0 for none.", ge=0, le=40_320)]
