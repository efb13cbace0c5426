"""Fault rehearsal on what the servers really offer: nothing is sent, every call is answered from its tool's schema.

table = await rehearse(motet, "chain.yaml")
assert not table.surprises
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from motet.calls import Json
from motet.engine.rehearsal import MockServers, MockTool, Rehearsal, rehearsed
from motet.engine.rehearsal import rehearse as rehearse_with
from motet.orchestrator import checking
from motet.orchestrator.orchestrator import Orchestrator
from motet.testing.samples import sample
from motet.workflow.model import Workflow


async def rehearse(
    motet: Orchestrator, workflow: str | os.PathLike[str] | Workflow, inputs: Mapping[str, Json] | None = None
) -> Rehearsal:
    """The workflow without a fault, then with each of its servers failing in each way: what is done, undone, unknown.

    Inputs that are not given are samples of their schemas. Raises WorkflowError when it does not load or check.
    """
    found = motet.check(workflow)
    loaded = checking.runnable(found, workflow.path if isinstance(workflow, Workflow) else os.fspath(workflow))
    samples = {
        name: sample(declared.schema, name=name)
        for name, declared in loaded.inputs.items()
        if declared.required and not declared.secret
    }
    run_with = rehearsed(
        loaded, {**samples, **(inputs or {})}, lambda: mocks_of(motet), secrets=dict(motet.config.secrets)
    )
    return await rehearse_with(loaded, run_with, servers=found.plan.servers)


def mocks_of(motet: Orchestrator) -> MockServers:
    """Every listed tool as a mock: checks arguments as its schema says, answers a sample of its output schema."""
    effect = checking.effects(motet.config, motet.catalog)
    tools: dict[tuple[str, str], MockTool] = {}
    for tool in motet.catalog.tools():
        means = effect(tool.server, tool.name)
        tools[tool.server, tool.name] = MockTool(
            output=sample(tool.data_schema),
            input_schema=tool.input_schema,
            read_only=means.kind == "reads",
            keyed=means.key or None,
            repeatable=means.kind == "repeatable",
        )
    return MockServers(tools, routes=motet.catalog.route)
