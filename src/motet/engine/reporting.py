"""The report of a run, made from its state as it stands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

from motet.calls import Json
from motet.engine.asking import questions
from motet.engine.ports import Redact, as_it_is
from motet.engine.report import ACTIONS, Left, Report, StepReport, short
from motet.workflow.entries import Waiting
from motet.workflow.runstate import RunState
from motet.workflow.scopes import parts
from motet.workflow.standing import CHOSEN, Frame, Node, Unit


def report_of(state: RunState, *, redact: Redact = as_it_is, again: str = "", dry: bool = False) -> Report:
    """The report of a run as it stands now. `again` is the command that runs a memory run once more."""
    maker = _Maker(state, redact, again)
    frames = sorted(state.frames(), key=lambda frame: frame.prefix)
    steps: list[StepReport] = []
    for frame in frames:
        steps += [maker.step(node) for node in frame.all_nodes]
    root = state.root
    failure = None
    if root.failure is not None and state.status == "failed":
        failure = {"step": root.failure[0], **root.failure[1].record()}
    return Report(
        run=state.run,
        workflow=root.workflow.name,
        status=state.status,
        output=redact(root.output),
        steps=tuple(steps),
        missing=maker.missing(frames),
        degraded=tuple(u.key for u in maker.units(frames) if u.via in ("fallback", "value") and u.status == "done"),
        undone=tuple(u.key for u in maker.units(frames) if u.undo == "done"),
        pending=maker.pending(frames),
        attention=maker.attention(frames),
        failure=None if failure is None else redact(failure),
        began=root.began,
        ended=root.ended,
        durable=state.durable,
        dry=dry,
        flows=maker.flows(frames),
    )


class _Maker:
    def __init__(self, state: RunState, redact: Redact, again: str) -> None:
        self.state = state
        self.redact = redact
        self.resume = f"motet resume {state.run}" if state.durable else again or f"motet run {_file(state.root)}"

    def units(self, frames: list[Frame]) -> list[Unit]:
        return [unit for frame in frames for node in frame.all_nodes for unit in node.units]

    def step(self, node: Node) -> StepReport:
        units, status = node.units, node.status
        record = node.record()
        loops = node.foreach is not None
        if len(units) == 1:
            started, began, waiting = units[0].started, units[0].began, units[0].waiting
        else:
            started = next((unit.started for unit in units if unit.started is not None), None)
            began = min((unit.began for unit in units if unit.began is not None), default=None)
            waiting = next((unit.waiting for unit in units if unit.waiting is not None), None)
        if status == "pending" and units:
            status = "waiting" if waiting is not None else units[0].status
        if status == "running" and self.state.status == "waiting":
            status = "waiting"  # a nested run that waits
        items = record["items"] if not loops else [self._item(unit) for unit in units]
        return StepReport(
            step=node.key,
            kind=ACTIONS[type(node.step.action).__name__],
            status=status,
            ok=node.status == "done",
            server=node.server or getattr(node.step.action, "server", None),
            name=None if started is None else started.name,
            reason=_wait_reason(waiting) if status == "waiting" else node.reason,
            error=None if record["error"] is None else self.redact(record["error"]),
            attempts=record["attempts"],
            via=record["via"],
            missing=tuple(record["missing"]),
            undo=record["undo"],
            began=began,
            settled=node.settled,
            inputs=None if started is None or loops else self.redact(started.arguments),
            output=self.redact(node.data) if node.step.keep and node.has_data else None,
            items=tuple(self.redact(items)) if items else (),
            final=node.phase == "finally",
        )

    def _item(self, unit: Unit) -> dict[str, Json]:
        began = unit.began
        return {
            **unit.record(),
            "item": unit.item,
            "began": began,
            "settled": unit.settled,
            "inputs": None if unit.started is None else unit.started.arguments,
        }

    def missing(self, frames: list[Frame]) -> tuple[str, ...]:
        found: list[str] = []
        for frame in frames:
            for node in frame.all_nodes:
                if node.status == "partial":
                    found += [f"{node.key}[{key}]" for key in node.record()["missing"]]
                elif _lacks(node):
                    found.append(node.key)
            found += [frame.prefix + name for name in frame.missing]
        return tuple(found)

    def pending(self, frames: list[Frame]) -> tuple[Left, ...]:
        left: list[Left] = []
        for frame in frames:
            left += [self._waits(unit) for unit in frame.waits.values()]
            if frame.status == "partial" or (frame.stage != "ended" and not frame.failure and not frame.cancelled):
                left += [self._gap(node) for node in frame.all_nodes if _is_open_gap(node)]
        left += [
            Left(unit.key, "undo pending", _why_undo(unit), unit.node.server or None, self.resume)
            for unit in self.units(frames)
            if unit.undo == "pending" and self.state.ended
        ]
        return tuple(left)

    def _gap(self, node: Node) -> Left:
        reason = "" if node.reason is None else node.reason
        if node.error is not None and node.error.server is not None and not reason.startswith(node.error.server):
            reason = f"{node.error.server}: {node.error.message}"
        server = node.server or getattr(node.step.action, "server", None)
        return Left(node.key, node.status, str(self.redact(reason)), server, self.resume)

    def _waits(self, unit: Unit) -> Left:
        waiting = unit.waiting
        assert waiting is not None
        run, key = self.state.run, unit.key
        command, reason = self.resume, "" if waiting.error is None else waiting.error.message
        shown: Mapping[str, Json] | None = None
        match waiting.reason:
            case "approval":
                told = cast("Mapping[str, Json]", waiting.shown or {})
                command, reason = f"motet approve {run} {key}", str(told.get("message", ""))
                shown = cast("Mapping[str, Json] | None", self.redact(told.get("then") or None))
            case "question":
                asked = questions(waiting).values()
                approval = all(question.kind == "approval" for question in asked)
                command = f"motet {'approve' if approval else 'answer'} {run} {key}"
                reason = "; ".join(question.message for question in asked)
            case "resolve":
                command = f"motet resolve {run} {key} --done|--failed|--retry"
            case _:
                pass
        if waiting.until is not None:
            until = datetime.fromtimestamp(waiting.until, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
            reason = f"{reason}, until {until}" if reason else f"until {until}"
        return Left(
            key,
            f"waiting({waiting.reason})",
            str(self.redact(reason)),
            unit.node.server or None,
            command,
            shown,
            waiting.digest,
        )

    def attention(self, frames: list[Frame]) -> tuple[Left, ...]:
        left: list[Left] = []
        for unit in self.units(frames):
            server = unit.node.server or None
            if unit.status == "unknown" or (unit.waiting is not None and unit.waiting.reason == "resolve"):
                command = f"motet resolve {self.state.run} {unit.key} --done|--failed" if self.state.durable else ""
                why = "it may have acted" + (f": {unit.error.message}" if unit.error is not None else "")
                left.append(Left(unit.key, "unknown", str(self.redact(why)), server, command))
            if unit.undo in ("failed", "unknown") or (unit.undo == "pending" and self.state.ended):
                if unit.status == "unknown" and unit.undo == "unknown":
                    continue
                left.append(
                    Left(
                        unit.key,
                        f"undo {unit.undo}",
                        str(self.redact(_why_undo(unit))),
                        server,
                        self._undo_command(unit),
                    )
                )
        return tuple(left)

    def _undo_command(self, unit: Unit) -> str:
        if self.state.durable and unit.undo in ("failed", "pending"):
            return self.resume
        undo = unit.node.step.undo
        if undo is None:
            return ""
        if unit.undo_started is not None:
            sent = cast("dict[str, Json]", self.redact(unit.undo_started.arguments or {}))
            arguments = "".join(f" {_argument(key, value)}" for key, value in sent.items())
        else:
            needed = () if undo.call.arguments is None else tuple(parts(undo.call.arguments))
            arguments = "".join(" …" if key == "*" else f" {key}=…" for key in needed)
        return f"motet call {undo.call.server}.{undo.call.tool}{arguments}"

    def flows(self, frames: list[Frame]) -> tuple[tuple[str, str], ...]:
        found: dict[tuple[str, str], None] = {}
        for unit in self.units(frames):
            started = unit.started
            if started is not None and started.server is not None:
                for server, _, _ in started.flows:
                    if server != started.server:
                        found[server, started.server] = None
        return tuple(found)


def _argument(key: str, value: Json) -> str:
    """As `motet call` takes it from a shell."""
    plain = isinstance(value, str)
    return shlex.quote(f"{key}={value}" if plain else f"{key}:={short(value, 200)}")


def _wait_reason(waiting: Waiting | None) -> str:
    return "waits for its own steps" if waiting is None else f"waits for {waiting.reason}"


def _file(frame: Frame) -> str:
    return frame.workflow.path or frame.workflow.name


def _lacks(node: Node) -> bool:
    if node.has_data or node.status in ("pending", "cancelled"):
        return False
    return not (node.status == "skipped" and (node.reason in CHOSEN or node.reason == "stopped"))


def _is_open_gap(node: Node) -> bool:
    if node.status in ("failed", "partial"):
        return True
    return node.status == "skipped" and (node.reason or "").startswith("missing")


def _why_undo(unit: Unit) -> str:
    if unit.undo_error is not None:
        where = f"{unit.undo_error.server}: " if unit.undo_error.server else ""
        return where + unit.undo_error.message
    if unit.undo == "pending":
        return "it was not taken back yet"
    return "it may have acted, and nobody knows"
