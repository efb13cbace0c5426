"""Which servers a workflow may touch: those have to be there before it is run."""

from __future__ import annotations

from collections.abc import Iterator

from motet.workflow.model import PromptGet, Read, RunWorkflow, Step, ToolCall, Workflow


def servers_of(workflow: Workflow) -> set[str] | None:
    """The servers a workflow may touch; None when only their boundaries tell (it reads URIs)."""
    found: set[str] = set()
    for server in _touched(workflow):
        if server is None:
            return None
        found.add(server)
    return found


def _touched(workflow: Workflow) -> Iterator[str | None]:
    for step in (*workflow.steps.values(), *workflow.final.values()):
        for action in _actions(step):
            match action:
                case ToolCall(server=server) | PromptGet(server=server):
                    yield server
                case Read(uris=uris):
                    yield from (target.server for target in uris.values())
                case RunWorkflow(workflow=inner):
                    yield from _touched(inner)
                case _:
                    pass


def _actions(step: Step) -> Iterator[object]:
    yield step.action
    for other in (step.undo, step.reconcile, step.on_error):
        yield getattr(other, "call", None)
