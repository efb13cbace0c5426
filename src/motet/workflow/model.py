"""A workflow as the checker and the engine see it: loaded, with every place kept and every expression compiled.

A `Value` is anything a file may put where data goes: plain JSON, text with `${{ }}` in it, or lists and maps of these.
Evaluating one reads a `Scope`: bare step names are data, `steps.NAME` records, `inputs`, `run`, and a `foreach` item.
A name that is missing from the scope is absent data: evaluation that needs it raises `Absent`.
Durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from motet.calls import Json, Retry

Scope = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in its file; lines and columns count from 1, `start` and `end` are character offsets."""

    line: int
    column: int
    start: int = 0
    end: int = 0


class ExpressionError(Exception):
    """Evaluation failed; `place` is where, `message` is why."""

    def __init__(self, message: str, place: Place | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = place


class Absent(ExpressionError):
    """Evaluation needs data that is not there; `name` is the step (or input) that has none."""

    def __init__(self, name: str, place: Place | None = None) -> None:
        super().__init__(f"no data for `{name}`", place)
        self.name = name


class Value(Protocol):
    """Plain JSON or a tree with expressions in it."""

    @property
    def reads(self) -> frozenset[tuple[str, ...]]:
        """Paths of what it may read: `("release", "tag_name")`, `("steps", "ticket", "ok")`, `("inputs", "repo")`."""
        ...

    @property
    def place(self) -> Place:
        """Where it stands."""
        ...

    @property
    def constant(self) -> bool:
        """True when it holds no expression."""
        ...

    def evaluate(self, scope: Scope) -> Json:
        """The JSON it comes to; a map entry that comes to an empty optional is left out.

        Raises `Absent` or `ExpressionError`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Input:
    """One declared input."""

    name: str
    schema: Mapping[str, Json]
    required: bool = True
    default: Json = None
    secret: bool = False
    """The value is the name of a configured secret: journalled as that name, resolved when sent."""
    description: str = ""
    place: Place = Place(1, 1)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """`call: SERVER.TOOL` with its arguments (`arguments` is a map Value, or None)."""

    server: str
    tool: str
    arguments: Value | None
    place: Place


@dataclass(frozen=True, slots=True)
class Read:
    """`read`: one URI, or a list or map of them. `server` set: a `{server, uri}` override."""

    uris: Mapping[str, ReadTarget]
    """Key -> target; for one URI the single key is ""; for a list the keys are "0", "1", …"""
    form: Literal["one", "list", "map"]
    place: Place


@dataclass(frozen=True, slots=True)
class ReadTarget:
    """One address to read."""

    uri: Value
    server: str | None = None


@dataclass(frozen=True, slots=True)
class PromptGet:
    """`prompt: SERVER.NAME` with its arguments."""

    server: str
    name: str
    arguments: Value | None
    place: Place


@dataclass(frozen=True, slots=True)
class Approval:
    """`approval`: a person says yes or no to `message`. `timeout` None: waits as long as the workflow may."""

    message: Value
    timeout: float | None
    place: Place


@dataclass(frozen=True, slots=True)
class Wait:
    """`wait`: so many seconds (a number, a duration text, or an expression giving either), or until an instant."""

    duration: Value | None
    until: Value | None
    place: Place


@dataclass(frozen=True, slots=True)
class RunWorkflow:
    """`run`: another workflow, loaded together with this one."""

    workflow: Workflow
    arguments: Value | None
    place: Place


@dataclass(frozen=True, slots=True)
class SetValues:
    """`set`: pure values."""

    value: Value
    place: Place


Action = ToolCall | Read | PromptGet | Approval | Wait | RunWorkflow | SetValues


@dataclass(frozen=True, slots=True)
class Foreach:
    """One pass of the step for each item; `name` is what the item is called."""

    items: Value
    name: str = "item"
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class OnError:
    """What a failure of the step means."""

    mode: Literal["fail", "continue", "value", "call"]
    value: Value | None = None
    call: ToolCall | None = None


@dataclass(frozen=True, slots=True)
class OnUnavailable:
    """What it means that the server cannot be reached and nothing was sent."""

    mode: Literal["fail", "continue", "defer"]
    defer: float = 0.0


@dataclass(frozen=True, slots=True)
class Reconcile:
    """How to settle an unknown call: `call` looks, `happened` decides, `data` gives the step's data."""

    call: ToolCall
    happened: Value
    data: Value | None = None


@dataclass(frozen=True, slots=True)
class Undo:
    """How to take the step back. `when: maybe` also when its outcome is unknown."""

    call: ToolCall
    when: Literal["done", "maybe"] = "done"


@dataclass(frozen=True, slots=True)
class Step:
    """One step."""

    name: str
    action: Action
    place: Place
    needs: tuple[str, ...] = ()
    """Declared order."""
    after: frozenset[str] = frozenset()
    """Every step it waits for: names read (data or record) and `needs`."""
    condition: Value | None = None
    foreach: Foreach | None = None
    timeout: float | None = None
    """Over all attempts and back-offs, not over waits."""
    retry: Retry | None = None
    on_error: OnError = OnError("fail")
    on_unavailable: OnUnavailable | None = None
    reconcile: Reconcile | None = None
    undo: Undo | None = None
    idempotency_key: Value | None = None
    keep: bool = True
    """False: its data is left out of reports. The journal needs it: a run goes on from there."""
    parse_json: bool = False


@dataclass(frozen=True, slots=True)
class Workflow:
    """A loaded workflow."""

    name: str
    steps: Mapping[str, Step]
    description: str = ""
    inputs: Mapping[str, Input] = field(default_factory=dict[str, Input])
    output: Value | None = None
    timeout: float | None = None
    concurrency: int | None = None
    final: Mapping[str, Step] = field(default_factory=dict[str, Step])
    """The steps under `finally`."""
    path: str = ""
    source: str = field(default="", repr=False)
    """The file's own text: what is stored with a run."""
    digest: str = ""
    """SHA-256 of the source, nested workflows included."""
