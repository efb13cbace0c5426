"""The memory carrier: a run that lives and ends with this process. For reads, tests and the fast path."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Literal

import jsonschema_rs

from motet.calls import Ask, Json
from motet.engine.driving import Drive
from motet.engine.ports import Dispatch, Journal, MemoryJournal, Now, Redact, as_it_is, wall_clock
from motet.engine.report import Report
from motet.engine.reporting import report_of
from motet.engine.secrets import Secrets
from motet.errors import WorkflowError
from motet.events import Emit, nobody
from motet.workflow.entries import Began, Verdict
from motet.workflow.judging import bind_inputs
from motet.workflow.model import Workflow
from motet.workflow.runstate import RunState

PARALLEL = 64
"""Acts in flight at once in one run, when nobody says otherwise."""
Dry = Literal["", "plan", "reads"]
"""Empty: everything is done. `plan`: nothing is sent. `reads`: only what changes nothing."""


class Run:
    """One run in memory. Make it, `await run.drive()`; meanwhile others may `cancel` or `answer`."""

    def __init__(
        self,
        workflow: Workflow,
        inputs: Mapping[str, Json] | None = None,
        *,
        dispatch: Dispatch,
        run: str | None = None,
        now: Now = wall_clock,
        emit: Emit = nobody,
        ask: Ask | None = None,
        secrets: Mapping[str, str] | None = None,
        redact: Redact = as_it_is,
        parallel: int = PARALLEL,
        dry: Dry = "",
        journal: Journal | None = None,
        parks: float | None = None,
    ) -> None:
        """`parks`: `drive` returns when nothing will happen for so many seconds, and may be called again.

        Raises `WorkflowError` when the inputs do not fit, `RunError` when a secret is not configured.
        """
        check_inputs(workflow, inputs or {})
        self.id = run or new_run_id()
        self._secrets = Secrets(new_nonce(workflow), secrets)
        self._redact = redact
        self._dry: Dry = dry
        given = self._secrets.referred(workflow, inputs or {})
        began = Began(at=now(), run=self.id, workflow=workflow.name, inputs=given, digest=workflow.digest)
        kept = journal or MemoryJournal()
        kept.record(began)
        self.state = RunState(workflow, began)
        self._drive = Drive(
            self.state,
            kept,
            dispatch,
            now=now,
            emit=emit,
            ask=ask,
            secrets=self._secrets,
            parallel=parallel,
            parks=parks,
            dry=dry,
        )

    async def drive(self) -> Report:
        """The report, once the run has ended. Cancelling this abandons the run: nothing is undone."""
        await self._drive.go()
        return self.report()

    def cancel(self, who: str = "") -> None:
        """End it in good order: calls in flight end, what was done is undone, `finally` runs."""
        self._drive.cancel(who)

    def answer(self, key: str, verdict: Verdict, *, who: str = "", data: Json = None, note: str = "") -> None:
        """Answer an approval that waits. Raises `RunError` when nothing of that key does."""
        self._drive.answer(key, verdict, who=who, data=data, note=note)

    def server_back(self, server: str) -> None:
        """A server can be reached again: steps deferred for it are tried now."""
        self._drive.server_back(server)

    def report(self) -> Report:
        """Where it stands now."""

        def redacted(value: Json) -> Json:
            return self._redact(self._secrets.shown(value))

        redact = redacted if self._secrets.nonce else self._redact
        return report_of(self.state, redact=redact, dry=bool(self._dry))


async def run_workflow(
    workflow: Workflow,
    inputs: Mapping[str, Json] | None = None,
    *,
    dispatch: Dispatch,
    run: str | None = None,
    now: Now = wall_clock,
    emit: Emit = nobody,
    ask: Ask | None = None,
    secrets: Mapping[str, str] | None = None,
    redact: Redact = as_it_is,
    parallel: int = PARALLEL,
    dry: Dry = "",
    journal: Journal | None = None,
) -> Report:
    """Run a workflow to its end in memory.

    `ask` answers approvals and servers' questions in place; without it they fail as unanswered. `secrets` holds the
    values of secret inputs by name. Raises `WorkflowError` when the inputs do not fit; what comes later is reported.
    """
    return await Run(
        workflow,
        inputs,
        dispatch=dispatch,
        run=run,
        now=now,
        emit=emit,
        ask=ask,
        secrets=secrets,
        redact=redact,
        parallel=parallel,
        dry=dry,
        journal=journal,
    ).drive()


def new_run_id() -> str:
    """A fresh run id: short enough to type, random enough to be the only one."""
    return uuid.uuid4().hex[:12]


def new_nonce(workflow: Workflow) -> str:
    """What makes this run's references to secrets unforgeable; empty when it has none."""
    return uuid.uuid4().hex if any(declared.secret for declared in workflow.inputs.values()) else ""


def check_inputs(workflow: Workflow, given: Mapping[str, Json]) -> None:
    """Raises `WorkflowError` naming every input that is missing, unknown, or not what its schema says."""
    bound = bind_inputs(workflow, given)
    problems: list[str] = []
    for name, declared in workflow.inputs.items():
        if name not in given:
            continue
        try:
            jsonschema_rs.validate(dict(declared.schema), bound[name])
        except jsonschema_rs.ValidationError as error:
            problems.append(f"input `{name}`: {error.message}")
    if problems:
        raise WorkflowError(f"{workflow.name}: {'; '.join(problems)}", problems=tuple(problems))
