"""The order of steps: what each waits for, what can start when, and rings of steps. Nothing recurses."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace

from motet.workflow.model import (
    Approval,
    PromptGet,
    Read,
    RunWorkflow,
    SetValues,
    Step,
    ToolCall,
    Value,
    Wait,
    Workflow,
)


def all_steps(workflow: Workflow) -> dict[str, Step]:
    """Every step, those under `finally` too."""
    return {**workflow.steps, **workflow.final}


def forward_values(step: Step) -> list[Value]:
    """The values that are evaluated before the step acts: what they read, it waits for."""
    found: list[Value | None] = [step.condition, step.idempotency_key]
    if step.foreach is not None:
        found.append(step.foreach.items)
    match step.action:
        case ToolCall(arguments=arguments) | PromptGet(arguments=arguments) | RunWorkflow(arguments=arguments):
            found.append(arguments)
        case Read(uris=uris):
            found.extend(target.uri for target in uris.values())
        case Approval(message=message):
            found.append(message)
        case Wait(duration=duration, until=until):
            found.extend((duration, until))
        case SetValues(value=value):
            found.append(value)
    return [value for value in found if value is not None]


def steps_read(value: Value) -> frozenset[str]:
    """The names of steps (or of anything else at the root) that a value reads, by data or by record."""
    return frozenset(_step_of(path) for path in value.reads)


def _step_of(path: tuple[str, ...]) -> str:
    root, *rest = path
    return rest[0] if root == "steps" and rest else root


def ordered(step: Step, names: set[str]) -> Step:
    """The step, knowing which of these steps it waits for: those it reads, and those it names under `needs`."""
    read = frozenset[str]().union(*(steps_read(value) for value in forward_values(step)))
    if step.foreach is not None:
        read -= {step.foreach.name}
    return replace(step, after=(read | set(step.needs)) & names)


def waves(after: Mapping[str, Set[str]]) -> list[list[str]]:
    """Steps in levels: each level waits only for the ones before it. Steps in a ring, or behind one, are left out."""
    waiting = {name: {one for one in before if one in after} for name, before in after.items()}
    followers: dict[str, list[str]] = {name: [] for name in after}
    for name, before in waiting.items():
        for one in before:
            followers[one].append(name)
    left = {name: len(before) for name, before in waiting.items()}
    levels: list[list[str]] = []
    level = [name for name, count in left.items() if count == 0]
    while level:
        levels.append(level)
        following: list[str] = []
        for name in level:
            for follower in followers[name]:
                left[follower] -= 1
                if left[follower] == 0:
                    following.append(follower)
        level = following
    return levels


def rings(after: Mapping[str, Set[str]]) -> list[list[str]]:
    """One ring for each group of steps that wait for each other: `[a, b]` when a waits for b, and b for a.

    Groups are the strongly connected components (Tarjan 1972, iterative); the ring is a shortest one through the
    first step.
    """
    groups = _components(after)
    found = [group for group in groups if len(group) > 1 or group[0] in after[group[0]]]
    order = {name: index for index, name in enumerate(after)}
    return [_ring(min(group, key=order.__getitem__), set(group), after) for group in reversed(found)]


def _components(after: Mapping[str, Set[str]]) -> list[list[str]]:
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    on_path: set[str] = set()
    path: list[str] = []
    made: list[list[str]] = []
    for root in after:
        if root in index:
            continue
        work = [(root, iter(sorted(after[root])))]
        index[root] = low[root] = len(index)
        path.append(root)
        on_path.add(root)
        while work:
            name, edges = work[-1]
            for one in edges:
                if one not in after:
                    continue
                if one not in index:
                    index[one] = low[one] = len(index)
                    path.append(one)
                    on_path.add(one)
                    work.append((one, iter(sorted(after[one]))))
                    break
                if one in on_path:
                    low[name] = min(low[name], index[one])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    made.append(_popped(path, on_path, name))
    return made


def _popped(path: list[str], on_path: set[str], name: str) -> list[str]:
    group: list[str] = []
    while True:
        group.append(path.pop())
        on_path.discard(group[-1])
        if group[-1] == name:
            return group


def _ring(start: str, group: set[str], after: Mapping[str, Set[str]]) -> list[str]:
    """The shortest way from a step back to itself within its group."""
    if start in after[start]:
        return [start]
    came: dict[str, str] = {}
    level = [start]
    while level:
        following: list[str] = []
        for name in level:
            for one in sorted(after[name] & group):
                if one == start:
                    ring = [name]
                    while ring[-1] != start:
                        ring.append(came[ring[-1]])
                    return ring[::-1]
                if one not in came:
                    came[one] = name
                    following.append(one)
        level = following
    return [start]
