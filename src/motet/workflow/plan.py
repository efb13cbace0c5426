"""What a workflow is going to do: what runs in parallel, which servers it touches, which data moves between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from motet.calls import Json


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step."""

    name: str
    kind: str
    """call, read, prompt, approval, wait, run, set."""
    servers: tuple[str, ...]
    """Those it touches by itself; for `run`, those of the workflow it runs."""
    target: str
    """The tool, the prompt, the URIs or the workflow."""
    after: tuple[str, ...]
    unsafe: bool = False
    """A write that must not be sent twice: when its answer is lost, nobody knows whether it acted."""
    undo: str = ""
    """The tool that takes it back."""
    foreach: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """Something of one step that reaches another."""

    source: str
    field: str
    """The path in the source's data or record; empty: all of it."""
    target: str
    argument: str
    """Where it goes: an argument's name, or `if`, `foreach`, …"""
    kind: Literal["data", "decision"]
    """`decision`: it decides whether something happens; only the decision is passed on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of one workflow."""

    name: str
    steps: Mapping[str, PlanStep]
    waves: tuple[tuple[str, ...], ...]
    """Steps in levels; those of one level can run in parallel."""
    final: tuple[str, ...]
    """Those under `finally`."""
    flows: tuple[Flow, ...]

    @property
    def servers(self) -> tuple[str, ...]:
        """Every server it touches."""
        return tuple(dict.fromkeys(server for step in self.steps.values() for server in step.servers))

    @property
    def crossings(self) -> tuple[str, ...]:
        """What goes from one server to another: `github.release.tag_name -> deploy.deploy.version`."""
        found: list[str] = []
        for flow in self.flows:
            source, target = self.steps.get(flow.source), self.steps.get(flow.target)
            if flow.kind == "data" and source is not None and target is not None and source.servers and target.servers:
                field = f".{flow.field}" if flow.field else ""
                found.extend(
                    f"{one}.{flow.source}{field} -> {other}.{flow.target}.{flow.argument}"
                    for one in source.servers
                    for other in target.servers
                    if one != other
                )
        return tuple(dict.fromkeys(found))

    def render(self) -> str:
        """As text."""
        count, servers = len(self.steps), self.servers
        lines = [
            f"{self.name}: {_many(count, 'step')}, {_many(len(servers), 'server')}"
            + (f" ({', '.join(servers)})" if servers else "")
        ]
        width = min(max((len(name) for name in self.steps), default=0), 32)
        for number, wave in enumerate(self.waves, 1):
            lines.extend(
                f"  {str(number) if index == 0 else ' ':>3}  {self._line(name, width)}"
                for index, name in enumerate(wave)
            )
        lines.extend(f"  end  {self._line(name, width)}" for name in self.final)
        if self.crossings:
            lines += ["", "Data from server to server:", *(f"  {one}" for one in self.crossings)]
        unsafe = [name for name, step in self.steps.items() if step.unsafe]
        if unsafe:
            lines += ["", f"Not to be repeated: {', '.join(unsafe)}"]
        return "\n".join(lines)

    def _line(self, name: str, width: int) -> str:
        step = self.steps[name]
        told = [step.kind if not step.target else f"{step.kind} {step.target}"]
        told += ["for each item"] if step.foreach else []
        told += ["unsafe to repeat"] if step.unsafe else []
        told += [f"undo {step.undo}"] if step.undo else []
        return f"{name:<{width}}  {'; '.join(told)}"

    def mermaid(self) -> str:
        """As a Mermaid flow chart: solid arrows for data, dotted for decisions and mere order."""
        ids = {name: f"s{index}" for index, name in enumerate(self.steps)}
        lines = ["flowchart LR"]
        grouped: dict[str, list[str]] = {}
        for name, step in self.steps.items():
            grouped.setdefault(step.servers[0] if len(step.servers) == 1 else "", []).append(name)
        for number, (server, names) in enumerate(grouped.items()):
            if server:
                lines.append(f'  subgraph g{number}["{_label(server)}"]')
            lines.extend(f"{'    ' if server else '  '}{ids[name]}{_node(self.steps[name])}" for name in names)
            if server:
                lines.append("  end")
        edges: dict[tuple[str, str, str], dict[str, None]] = {}
        for flow in self.flows:
            arrow = "-->" if flow.kind == "data" else "-.->"
            edges.setdefault((flow.source, flow.target, arrow), {})[flow.field or flow.source] = None
        linked = {(source, target) for source, target, _ in edges}
        for name, step in self.steps.items():
            for before in step.after:
                if (before, name) not in linked:
                    edges[before, name, "-.->"] = {}
        for (source, target, arrow), labels in edges.items():
            shown = ", ".join([*labels][:4]) + (", …" if len(labels) > 4 else "")
            text = f'|"{_label(shown)}"|' if shown else ""
            lines.append(f"  {ids[source]} {arrow}{text} {ids[target]}")
        return "\n".join(lines)

    def to_json(self) -> Json:
        """For programs."""
        return {
            "name": self.name,
            "servers": list(self.servers),
            "waves": [list(wave) for wave in self.waves],
            "finally": list(self.final),
            "steps": {
                name: {
                    "kind": step.kind,
                    "servers": list(step.servers),
                    "target": step.target,
                    "after": list(step.after),
                    "unsafe": step.unsafe,
                    "undo": step.undo or None,
                    "foreach": step.foreach,
                }
                for name, step in self.steps.items()
            },
            "flows": [
                {
                    "from": flow.source,
                    "field": flow.field,
                    "to": flow.target,
                    "argument": flow.argument,
                    "kind": flow.kind,
                }
                for flow in self.flows
            ],
            "crossings": list(self.crossings),
        }


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _label(text: str) -> str:
    """Text that Mermaid takes as it is."""
    return "".join(char if char.isalnum() or char in " _-.:,/…[]()?*$" else f"#{ord(char)};" for char in text[:120])


def _node(step: PlanStep) -> str:
    text = _label(f"{step.name}: {step.target or step.kind}" if step.kind != "approval" else f"{step.name}?")
    return f'{{{{"{text}"}}}}' if step.kind in ("approval", "wait") else f'["{text}"]'
