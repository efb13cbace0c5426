"""Workflow files -> `Workflow`: which texts belong to it, where they come from, and how they are kept.

`load_text` is pure: other workflows (`run: other.yaml`) come through the `read` it is given, by the path they are
named with, taken relative to the file that names them. `load` is the same for a file on this machine, the one place
here that opens files, and only when no `read` is given. A loaded workflow can be made again from its sources alone:
`bundle`, `unbundle`.
"""

from __future__ import annotations

import gc
import hashlib
import posixpath
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias, cast

from motet.calls import Json
from motet.errors import WorkflowError
from motet.workflow.building import Builder, CannotRun
from motet.workflow.document import Unreadable, read
from motet.workflow.graph import all_steps
from motet.workflow.model import RunWorkflow, Workflow
from motet.workflow.problems import Problem, Source, in_order

ReadText: TypeAlias = Callable[[str], str]
"""The text of a file. Raises OSError, KeyError or ValueError when there is none."""

MAX_FILES = 100
"""Workflows that one workflow may run, all levels together."""
MAX_LEVELS = 16


def load(path: Path | str, *, read: ReadText | None = None) -> Workflow:
    """The workflow in a file. Raises `WorkflowError` with every problem, or when there is no such file."""
    reading = read_file if read is None else read
    try:
        text = reading(str(path))
    except (OSError, KeyError, ValueError) as error:
        raise WorkflowError(f"cannot read the workflow `{path}`: {_why(error)}") from None
    return load_text(text, path=str(path), read=reading)


def load_text(text: str, *, path: str = "", read: ReadText | None = None) -> Workflow:
    """The workflow in a text, YAML or JSON. Raises `WorkflowError` with every problem."""
    loaded = parsed(text, path=path, read=read)
    if loaded.workflow is None or loaded.problems:
        raise refusal(loaded.problems, path)
    return loaded.workflow


def refusal(problems: tuple[Problem, ...], path: str) -> WorkflowError:
    """The error that tells these problems."""
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    first = problems[0]
    where = f"{first.file or path or '<workflow>'}:{first.place.line}:{first.place.column}"
    message = f"{path or 'the workflow'} has {count}; the first: {where}: {first.message}"
    return WorkflowError(message, problems=tuple(problem.render() for problem in problems), hint=first.hint)


def read_file(path: str) -> str:
    """A file's text, which has to be UTF-8 and no longer than a workflow may be. Raises OSError or ValueError."""
    with Path(path).open("rb") as file:
        data = file.read((8 << 20) + 1)
    if len(data) > 8 << 20:
        raise ValueError("the file is larger than 8 MiB")
    return data.decode("utf-8-sig")


def bundle(workflow: Workflow) -> Json:
    """Everything the workflow was made from, as JSON: its own text and that of every workflow it runs."""
    nested: dict[str, Json] = {}
    waiting = [workflow]
    while waiting:
        for step in all_steps(waiting.pop()).values():
            if isinstance(step.action, RunWorkflow) and step.action.workflow.path not in nested:
                nested[step.action.workflow.path] = step.action.workflow.source
                waiting.append(step.action.workflow)
    return {"path": workflow.path, "source": workflow.source, "nested": nested}


def unbundle(told: Json) -> Workflow:
    """The workflow of a bundle. Raises `WorkflowError`."""
    if not isinstance(told, Mapping):
        raise WorkflowError("this is no stored workflow")
    kept = cast("Mapping[str, Json]", told)
    nested = cast("Mapping[str, str]", kept.get("nested") or {})
    return load_text(str(kept.get("source", "")), path=str(kept.get("path", "")), read=nested.__getitem__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What could be made of a text, and what is wrong. With problems, the workflow is only good for checking."""

    workflow: Workflow | None
    problems: tuple[Problem, ...]
    sources: Mapping[str, Source]
    """By path, those of nested workflows too."""


def parsed(text: str, *, path: str = "", read: ReadText | None = None) -> Loaded:
    """The same as `load_text`, with the problems as values."""
    files = _Files(read)
    with collector_paused(len(text) > 200_000):
        workflow = files.workflow(text, path, ())
    return Loaded(workflow, in_order(files.problems, path), files.sources)


@contextmanager
def collector_paused(large: bool) -> Generator[None]:  # noqa: FBT001 - the only thing it is asked
    """All that loading builds is kept, so for a large file looking for garbage meanwhile costs more than loading it."""
    if not large or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "there is no such file" if isinstance(error, KeyError) else str(error)


@dataclass(slots=True)
class _Files:
    """All files of one load."""

    read: ReadText | None
    problems: list[Problem] = field(default_factory=list[Problem])
    sources: dict[str, Source] = field(default_factory=dict[str, Source])
    done: dict[str, Workflow | None] = field(default_factory=dict[str, "Workflow | None"])

    def workflow(self, text: str, path: str, above: tuple[str, ...]) -> Workflow | None:
        """A text, loaded; None when there is nothing to check further."""
        source = self.sources[path] = Source(text.removeprefix("\ufeff"), path)
        try:
            root = read(source)
        except Unreadable as unreadable:
            self.problems.append(unreadable.problem)
            return None
        above = (*above, path)
        made = Builder(source, self.problems, partial(self.nested, above)).workflow(root)
        return None if made is None else replace(made, digest=_digest(made))

    def nested(self, above: tuple[str, ...], written: str) -> Workflow | None:
        """The workflow that a `run` of the last of these files names. Raises `CannotRun`."""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(above[-1]), written))
        if path in above or (path == posixpath.normpath(above[0]) and above[0]):
            ring = " -> ".join(posixpath.basename(one) or "<workflow>" for one in (*above, path))
            raise CannotRun(f"the workflow runs itself: {ring}", code="cycle")
        if path in self.done:
            return self.done[path]
        if self.read is None:
            raise CannotRun("other workflows cannot be read from here")
        if len(above) >= MAX_LEVELS or len(self.sources) >= MAX_FILES:
            raise CannotRun(
                f"workflows run workflows more than {MAX_LEVELS} levels deep, or more than {MAX_FILES} of them"
            )
        try:
            text = self.read(path)
        except (OSError, KeyError, ValueError) as error:
            hint = "the path is relative to this file"
            raise CannotRun(f"cannot read `{written}`: {_why(error)}", hint=hint, code="file") from None
        self.done[path] = made = self.workflow(text, path, above)
        return made


def _digest(workflow: Workflow) -> str:
    made = hashlib.sha256(workflow.source.encode())
    for step in all_steps(workflow).values():
        if isinstance(step.action, RunWorkflow):
            made.update(step.action.workflow.digest.encode())
    return made.hexdigest()
