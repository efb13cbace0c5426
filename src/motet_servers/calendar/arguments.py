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
Start = Annotated[str | None, Field(description="From when, ISO 8601. Left out: now.")]
End = Annotated[
    str | None, Field(description="Until when, ISO 8601; a bare date is included. Left out: 30 days after start.")
]
Limit = Annotated[int, Field(description="At most so many.", ge=1, le=500)]
Cursor = Annotated[str | None, Field(description="next_cursor of the page before.")]
Summary = Annotated[str, Field(description="One line.", min_length=1, max_length=1000)]
Text = Annotated[str | None, Field(description="Longer text.", max_length=100_000)]
Short = Annotated[str | None, Field(max_length=1000)]
Zone = Annotated[
    str | None, Field(description="IANA zone of times without offset, kept with the event. Left out: the server's.")
]
Rule = Annotated[str | None, Field(description="RRULE such as FREQ=WEEKLY;BYDAY=MO;COUNT=10.", max_length=1000)]
Mails = Annotated[list[str] | None, Field(description="Mail addresses.", max_length=200)]
Words = Annotated[list[str] | None, Field(max_length=50)]
Occurring = Annotated[
    str | None, Field(description="`occurrence` of one event of a series: only that one. Left out: the whole series.")
]
Etag = Annotated[str | None, Field(description="`etag` as you read it: refuses if somebody changed the item since.")]
Key = Annotated[
    str | None, Field(description="Your name for this request: a repetition with the same key creates nothing new.")
]
Minutes = Annotated[int | None, Field(description="Reminder so many minutes before; 0 for none.", ge=0, le=40_320)]
