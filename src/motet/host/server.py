"""One server as the host holds it: supervisor, layers, policy and remembered definitions, put together.

Nothing here is shared between servers: what happens to one leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from motet.calls import Call, Json
from motet.catalog.boundary import configured_boundary
from motet.catalog.catalog import ServerCatalog
from motet.catalog.model import Boundary
from motet.config.model import ServerConfig
from motet.errors import InvalidArguments, PolicyRefused, ServerUnavailable, ToolChanged
from motet.events import Emit, State
from motet.host.memory import Definition, Difference, Remembered, accepted, shown
from motet.host.policy import idempotent, key_argument, matches, read_only, refusal
from motet.resilience.breaker import BreakerState
from motet.resilience.pipeline import Chance, Clock, Pipeline, Settings
from motet.upstream.supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class Rules:
    """What our policy says of one tool; worked out once per listing."""

    refusal: str | None
    approve: bool
    key_argument: str | None
    read_only: bool
    repeatable: bool
    """Whatever the arguments; an idempotency key among them makes any call repeatable."""


class HostedServer:
    """One configured server, live. What it shows is the present truth, never a fresh probe."""

    def __init__(
        self,
        config: ServerConfig,
        *,
        supervise: Callable[[HostedServer, ServerCatalog], Supervisor],
        recall: Callable[[], Remembered | None],
        emit: Emit,
        clock: Clock,
        chance: Chance,
        on_listed: Callable[[HostedServer], None],
    ) -> None:
        """`recall` reads what is remembered of it now, by whichever process wrote it last."""
        remembered = recall()
        self.config = config
        self.name = config.name
        self._recall = recall
        self.accepted: dict[str, Definition] = {} if remembered is None else dict(remembered.accepted)
        """Tool -> the definition that later ones are held against."""
        self.changed: frozenset[str] = frozenset()
        """Tools whose definition is not the accepted one; calls to them are refused."""
        self._rules: dict[str, Rules] = {}
        self._on_listed = on_listed
        self.supervisor = supervise(self, _first_part(config, remembered))
        retry = config.retry
        self.pipeline = Pipeline(
            self.supervisor.send,
            settings(config),
            clock=clock,
            chance=chance,
            emit=emit,
            may_pass=lambda tool: matches(tool, retry.on_tool_error),
            on_breaker=self._breaker_moved,
        )

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self.supervisor.state

    @property
    def reason(self) -> str:
        """Why it is in this state; empty when there is nothing to say."""
        return self.supervisor.reason

    @property
    def next_try(self) -> float | None:
        """Loop time of the next start, when one is planned."""
        return self.supervisor.next_try

    @property
    def catalog(self) -> ServerCatalog:
        """What it offers."""
        return self.supervisor.part

    @property
    def boundary(self) -> Boundary | None:
        """What it is for, as declared by it or by the configuration."""
        return self.supervisor.part.boundary

    @property
    def details(self) -> Mapping[str, Json]:
        """For people: pid, transport, reap mode in force, protocol revision, last stderr lines."""
        return self.supervisor.details

    # -- told by the supervisor (its `Owner`) -------------------------------------------------------------------------

    def listed(self, part: ServerCatalog) -> None:
        """It offers something else now."""
        self._rules.clear()
        if part.known and part.stale is None:
            self._compare(part)
        self._on_listed(self)

    def up(self) -> None:
        """A fresh connection: what the breaker held against the last one is over."""
        self.pipeline.breaker.renew()

    def review(self, call: Call) -> None:
        """The definition is not the one the call was prepared with. Raises ToolChanged or InvalidArguments."""
        tool = self.catalog.tools.get(call.name)
        if tool is None:
            raise ToolChanged(f"`{call.name}` is no longer offered", server=self.name)
        self.refuse_changed(call.name)
        found = tool.problems(call.arguments)
        if found and call.definition is not None:
            raise ToolChanged(f"`{call.name}` has changed: {'; '.join(found)}", server=self.name)
        if found:
            raise invalid(self.name, call.name, found)
        call.definition = tool

    def _breaker_moved(self, state: BreakerState) -> None:
        self.supervisor.degraded("" if state == "closed" else "it failed too often just now")

    # -- definitions --------------------------------------------------------------------------------------------------

    def _compare(self, part: ServerCatalog) -> None:
        """Accept what is new; hold what is known against what was accepted (trust on first use)."""
        changed: set[str] = set()
        for name, tool in part.tools.items():
            known = self.accepted.get(name)
            if known is None or (self.config.trusted and known.digest != tool.digest):
                self.accepted[name] = accepted(tool)
            elif known.digest != tool.digest:
                changed.add(name)
        self.changed = frozenset(changed)

    def refuse_changed(self, tool: str) -> None:
        """Raises ToolChanged when this tool's definition is not the accepted one."""
        if tool in self.changed:
            self._adopt()
        if tool in self.changed:
            raise ToolChanged(
                f"the definition of `{tool}` has changed since it was accepted",
                server=self.name,
                hint=f"look at it and accept it: motet trust {self.name}",
            )

    def _adopt(self) -> None:
        """Take over what another process (`motet trust`) has accepted since."""
        remembered = self._recall()
        if remembered is None:
            return
        for name in self.changed:
            tool, known = self.catalog.tools.get(name), remembered.accepted.get(name)
            if tool is not None and known is not None and known.digest == tool.digest:
                self.accepted[name] = known
                self.changed -= {name}

    def differences(self) -> list[Difference]:
        """What `trust` would accept."""
        tools = self.catalog.tools
        found = [Difference(name, self.accepted[name].shown, shown(tools[name])) for name in sorted(self.changed)]
        if self.catalog.known and self.catalog.stale is None:
            gone = sorted(set(self.accepted) - set(tools))
            found += [Difference(name, self.accepted[name].shown, None) for name in gone]
        return found

    def trust(self) -> None:
        """Accept every definition as it is listed now."""
        self.accepted = {name: accepted(tool) for name, tool in self.catalog.tools.items()}
        self.changed = frozenset()
        self._on_listed(self)

    def remembered(self) -> Remembered | None:
        """What is worth keeping of it; None while it is away."""
        part = self.catalog
        if self.changed:
            self._adopt()  # what was accepted elsewhere is not to be written over
        return Remembered(part, dict(self.accepted)) if part.known and part.stale is None else None

    # -- policy -------------------------------------------------------------------------------------------------------

    def rules(self, name: str) -> Rules:
        """What our policy says of this tool, as it is listed now."""
        known = self._rules.get(name)
        if known is None:
            policy, tool = self.config.policy, self.catalog.tools.get(name)
            reads = read_only(self.config, tool, name)
            known = Rules(
                refusal=refusal(policy, name),
                approve=matches(name, policy.approve),
                key_argument=key_argument(tool, name, self.config.retry),
                read_only=reads,
                repeatable=reads or idempotent(self.config, tool, name),
            )
            if len(self._rules) < 10_000:
                self._rules[name] = known
        return known

    def allowed(self, name: str) -> Rules:
        """The same, or PolicyRefused."""
        rules = self.rules(name)
        if rules.refusal is not None:
            raise PolicyRefused(rules.refusal, server=self.name)
        return rules

    @property
    def coming(self) -> bool:
        """May it be listed soon, though it never was?"""
        return self.state in ("connecting", "idle")

    def never_listed(self) -> ServerUnavailable:
        """The error for a call to a server whose tools nobody knows."""
        why = self.supervisor.error
        reason = why.reason if isinstance(why, ServerUnavailable) else self.state
        message = f"it is {self.state}: {self.reason}" if self.reason else f"it is {self.state}"
        kind = type(why) if isinstance(why, ServerUnavailable) else ServerUnavailable
        return kind(message, server=self.name, reason=reason, hint="" if why is None else why.hint)


def invalid(server: str, tool: str, problems: list[str]) -> InvalidArguments:
    """The error for arguments that do not fit."""
    return InvalidArguments(f"`{tool}`: {'; '.join(problems)}", server=server, hint=f"motet tools {server}.{tool}")


def settings(config: ServerConfig) -> Settings:
    """The configuration of one server as its layers read it."""
    return Settings(
        timeout=config.timeout.call,
        timeouts=config.timeout.tools,
        total=config.timeout.total,
        retry=config.retry.policy,
        retries=config.retry.tools,
        budget=config.retry.budget,
        budget_min=config.retry.budget_min,
        breaker=config.breaker,
        concurrency=config.limits.concurrency,
        queue=config.limits.queue,
        tool_concurrency=config.limits.tool_concurrency,
    )


def _first_part(config: ServerConfig, remembered: Remembered | None) -> ServerCatalog:
    """What is known before the first connection: what is remembered, and the boundary of the configuration."""
    reason = "" if config.enabled else "disabled in the configuration"
    if remembered is None:
        part = ServerCatalog(config.name, stale=reason or "it has not been listed yet")
    else:
        part = replace(remembered.part, stale=reason or remembered.part.stale)
    ours = config.boundary
    if ours is None:
        return part
    declared = part.boundary if part.boundary is None or part.boundary.declared_by == "server" else None
    return replace(
        part,
        boundary=configured_boundary(
            declared, domain=ours.domain, description=ours.description, schemes=ours.schemes, uris=ours.uris
        ),
    )
