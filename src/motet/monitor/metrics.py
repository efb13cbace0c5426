"""Prometheus metrics, made from events. Labels are names of the configuration and words of ours, never data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from motet.events import (
    AttemptFailed,
    CallSettled,
    LegBegan,
    LegEnded,
    RunChanged,
    ServerChanged,
    StepChanged,
)

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
STATES: Final = ("connecting", "ready", "degraded", "needs_auth", "down", "parked", "disabled", "idle")
OPEN: Final = ("running", "waiting")
_SETTLED: Final = frozenset({"done", "partial", "failed", "unknown", "skipped", "cancelled"})
_CALL: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_LEG: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)


class Metrics:
    """Counts what it is told; `text()` is what Prometheus scrapes."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._calls = Counter(
            "motet_calls",
            "Calls that have an outcome. `outcome` is done, asked, or the kind of the error.",
            ("server", "method", "outcome", "sent"),
            registry=registry,
        )
        self._call_seconds = Histogram(
            "motet_call_seconds",
            "How long a call took, all its attempts included.",
            ("server",),
            buckets=_CALL,
            registry=registry,
        )
        self._attempts = Counter(
            "motet_failed_attempts",
            "Attempts that failed. `retried` says whether another one followed.",
            ("server", "kind", "retried"),
            registry=registry,
        )
        self._servers = Gauge(
            "motet_server_state",
            "1 for the state a server is in, 0 for the others.",
            ("server", "state"),
            registry=registry,
        )
        self._steps = Counter("motet_steps", "Steps that settled.", ("workflow", "status"), registry=registry)
        self._runs = Counter(
            "motet_runs", "Runs that came to have this status here.", ("workflow", "status"), registry=registry
        )
        self._legs = Gauge("motet_legs", "Runs that are driven here now.", registry=registry)
        self._ended = Counter(
            "motet_legs_ended",
            "Legs that ended. `how` is the run's status, busy, held, lost (fenced) or failed.",
            ("workflow", "how"),
            registry=registry,
        )
        self._leg_seconds = Histogram("motet_leg_seconds", "How long a leg took.", buckets=_LEG, registry=registry)
        self._takeovers = Counter(
            "motet_takeovers", "Runs taken up whose last owner was lost.", ("workflow",), registry=registry
        )
        self._states: dict[str, str] = {}
        self._workflows: dict[str, str] = {}
        """The workflow of each run that is driven here."""

    def gauge(self, name: str, help_: str, value: Callable[[], float]) -> None:
        """One more value, asked for when somebody looks."""
        Gauge(name, help_, registry=self.registry).set_function(value)

    def tell(self, event: Any) -> None:
        """Take one event."""
        match event:
            case CallSettled(server=server, method=method, kind=kind, sent=sent, took=took):
                self._calls.labels(server, method, kind, sent).inc()
                self._call_seconds.labels(server).observe(took)
            case AttemptFailed(server=server, kind=kind, again_in=again_in):
                self._attempts.labels(server, kind, "no" if again_in is None else "yes").inc()
            case ServerChanged(server=server, state=state):
                self._server(server, state)
            case StepChanged(run=run, status=status, item=None):
                word = status.partition("(")[0]
                if word in _SETTLED:
                    self._steps.labels(self._workflows.get(run, ""), word).inc()
            case RunChanged(workflow=workflow, status=status):
                self._runs.labels(workflow, status).inc()
            case LegBegan(run=run, workflow=workflow, takeover=takeover):
                self._workflows[run] = workflow
                self._legs.inc()
                if takeover:
                    self._takeovers.labels(workflow).inc()
            case LegEnded(run=run, workflow=workflow, how=how, took=took):
                self._workflows.pop(run, None)
                self._legs.dec()
                self._ended.labels(workflow, how).inc()
                self._leg_seconds.observe(took)
            case _:
                pass

    def _server(self, server: str, state: str) -> None:
        for known in STATES:
            self._servers.labels(server, known).set(float(known == state))

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)
