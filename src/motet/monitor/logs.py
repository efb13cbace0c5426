"""Logs of a worker: one line for each thing worth it, as JSON or as text, from events and from libraries' own records.

The standard library's `logging` carries both: it is what the libraries speak, and its handlers are where operators hook
in. Whatever is written is redacted and has no control characters; JSON escapes them, text leaves them out.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from motet.events import LegBegan, LegEnded, Noticed, RunChanged, ServerChanged, StepChanged

Format = Literal["json", "text"]
Redact = Callable[[str], str]
LOGGERS: Final = {"motet": logging.INFO, "procrastinate": logging.WARNING, "psycopg": logging.WARNING}
"""Whose records are written, and from which level on."""
_LOUD: Final = frozenset({"failed", "unknown"})
_LONG: Final = 2_000
"""Characters of one text that are written."""

log = logging.getLogger("motet.events")


def tell(event: Any) -> None:
    """Write down an event, if it is worth a line."""
    match event:
        case LegBegan(run=run, workflow=workflow, takeover=takeover):
            _line(logging.INFO, "leg began", run=run, workflow=workflow, takeover=takeover)
        case LegEnded(run=run, workflow=workflow, how=how, took=took):
            level = logging.WARNING if how in ("lost", "failed") else logging.INFO
            _line(level, "leg ended", run=run, workflow=workflow, how=how, took=round(took, 3))
        case RunChanged(run=run, workflow=workflow, status=status):
            level = logging.WARNING if status == "failed" else logging.INFO
            _line(level, f"run is {status}", run=run, workflow=workflow, status=status)
        case StepChanged(run=run, step=step, status=status, server=server, message=message) if (
            status.partition("(")[0] in _LOUD
        ):
            _line(logging.WARNING, f"step is {status}", run=run, step=step, server=server, why=message)
        case ServerChanged(server=server, state=state, reason=reason):
            level = logging.INFO if state in ("ready", "connecting", "idle", "disabled") else logging.WARNING
            _line(level, f"server is {state}", server=server, state=state, why=reason)
        case Noticed(server=server, what=what, message=message):
            _line(logging.INFO, what, server=server, why=message)
        case _:
            pass


def _line(level: int, event: str, **fields: Any) -> None:
    log.log(
        level, "%s", event, extra={"fields": {key: value for key, value in fields.items() if value not in (None, "")}}
    )


class Lines(logging.Formatter):
    """A record as one line."""

    def __init__(self, form: Format, *, redact: Redact, always: Mapping[str, str]) -> None:
        super().__init__()
        self._form = form
        self._redact = redact
        self._always = always

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        given: Mapping[str, Any] = getattr(record, "fields", {})
        fields = {key: self._clean(value) for key, value in given.items()}
        text = self._clean(record.getMessage())
        level = record.levelname.lower()
        if record.exc_info:
            fields["trace"] = self._clean(self.formatException(record.exc_info), limit=20_000)
        if self._form == "json":
            whole = {"time": at, "level": level, "event": text, "logger": record.name, **self._always, **fields}
            return json.dumps(whole, ensure_ascii=True, default=str)
        told = " ".join(f"{key}={_plain(value)}" for key, value in fields.items())
        return f"{at} {level:<7} {_plain(text)}{' ' if told else ''}{told}"

    def _clean(self, value: Any, *, limit: int = _LONG) -> Any:
        return self._redact(value)[:limit] if isinstance(value, str) else value


def _plain(value: Any) -> str:
    return "".join(char if char.isprintable() else " " for char in str(value))


def write(form: Format, *, redact: Redact, worker: str, to: TextIO | None = None) -> logging.Handler:
    """Write the lines of `LOGGERS` from now on, to stderr or where `to` says; `stop` takes the handler off again."""
    handler = logging.StreamHandler(to or sys.stderr)
    handler.setFormatter(Lines(form, redact=redact, always={"worker": worker}))
    for name, level in LOGGERS.items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = False
        logger.addHandler(handler)
    return handler


def stop(handler: logging.Handler) -> None:
    """Write no more lines by that handler."""
    for name in LOGGERS:
        logging.getLogger(name).removeHandler(handler)
        logging.getLogger(name).propagate = True
