"""The calendar server: events, free and busy time and deadlines, from CalDAV or from a folder of `.ics` files.

- `times`: ISO 8601 in and out, windows of time
- `records`: what tools and resources answer with
- `items`: reading iCalendar text: occurrences, their fields, free and busy time
- `drafts`: writing iCalendar text: new items, changed items, answers to invitations
- `store`: what a place with calendars offers; `caldav` and `folder` are the two places
- `multistatus`: WebDAV's XML, out and in
- `shelf`: which calendar and which item a caller means
- `arguments`, `tools` and `server`: what the caller sees
"""
