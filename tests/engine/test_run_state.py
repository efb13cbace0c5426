"""`RunState` as a machine: random graphs with random outcomes, replay, and its cost on large workflows."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engine_kit import flow
from motet.errors import RunError
from motet.workflow.entries import (
    Answered,
    Began,
    Cancelled,
    Ended,
    Entry,
    ErrorInfo,
    Expired,
    Finished,
    Recovered,
    Result,
    Resumed,
    Started,
    Verdict,
    Waiting,
    Woke,
    decode,
    encode,
)
from motet.workflow.model import Workflow
from motet.workflow.runstate import RunState
from motet.workflow.scopes import Act, Request
from motet.workflow.standing import SETTLED, Unit

ERROR = ErrorInfo(kind="tool_error", message="no", server="s", sent="yes")
LOST = ErrorInfo(kind="connection_lost", message="cut", server="s", sent="unknown", transient=True)
DOWN = ErrorInfo(kind="unavailable", message="down", server="s", transient=True)
OUTCOMES = ("done", "done", "done", "failed", "unknown", "down")
BEGAN = Began(at=0.0, run="r", workflow="test", inputs={})


@dataclass
class Player:
    """Drives a state by chance, and remembers every entry."""

    state: RunState
    chance: random.Random
    outcomes: tuple[str, ...] = OUTCOMES
    entries: list[Entry] = field(default_factory=list[Entry])
    at: float = 0.0
    finished: list[str] = field(default_factory=list[str])
    started: list[str] = field(default_factory=list[str])
    cancel_at: int | None = None
    expected_undo: list[str] | None = None

    def note(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.state.apply(entry)
        root = self.state.root
        if self.expected_undo is None and root.stage == "undoing":
            units = [unit for node in root.nodes.values() for unit in node.units if unit.undo == "pending"]
            self.expected_undo = [unit.key for unit in sorted(units, key=lambda unit: -unit.seq)]

    def play(self) -> None:
        for turn in range(5000):
            if self.state.ended:
                self.note(Ended(at=self.at, status=self.state.status))
                return
            self.at += 1.0
            if turn == self.cancel_at:
                self.note(Cancelled(at=self.at, who="x"))
                continue
            self.step()
        raise AssertionError("the run does not end")

    def step(self) -> None:
        ready, flying = self.state.ready(), list(self.state.in_flight.values())
        if ready and (not flying or self.chance.random() < 0.6):
            self.begin(self.chance.choice(ready))
        elif flying:
            act, started = self.chance.choice(flying)
            if started.repeatable and self.chance.random() < 0.05:
                self.note(Recovered(at=self.at, key=act.key))
            else:
                self.finish(act)
        else:
            self.wake()

    def wake(self) -> None:
        waiting = self.state.waiting
        assert waiting, "nothing is ready, in flight or waiting"
        unit = self.chance.choice(waiting)
        assert unit.waiting is not None
        match unit.waiting.reason:
            case "approval":
                verdict = self.chance.choice(("approve", "reject"))
                self.note(Answered(at=self.at, key=unit.key, verdict=verdict, who="x"))
            case "resolve":
                verdict = self.chance.choice(("done", "failed", "retry"))
                self.note(Answered(at=self.at, key=unit.key, verdict=verdict, data={"v": 1}))
            case "question" if self.chance.random() < 0.5:
                verdict = self.chance.choice(("answer", "decline"))
                self.note(Answered(at=self.at, key=unit.key, verdict=verdict, data={}))
            case _:
                over = unit.waiting.again is None or self.chance.random() < 0.5
                self.note(Woke(at=self.at, key=unit.key, over=over))

    def begin(self, act: Act) -> None:
        request = self.state.request(act, self.at)
        if isinstance(request, Result):
            self.note(Finished(at=self.at, key=act.key, result=request))
        elif act.kind in ("approval", "wait"):
            reason = "approval" if act.kind == "approval" else "timer"
            self.note(Waiting(at=self.at, key=act.key, reason=reason, shown=request.shown, until=self.at + 5))
        else:
            self.started.append(act.key)
            repeatable = self.chance.random() < 0.3
            self.note(Started(at=self.at, key=act.key, kind=act.kind, server="s", name="t", repeatable=repeatable))

    def finish(self, act: Act) -> None:
        outcome = self.chance.choice(self.outcomes)
        if act.kind == "reconcile":
            outcome = self.chance.choice(("done", "down"))
        data = {"v": act.key, "found": self.chance.random() < 0.5}
        result = {
            "done": Result(status="done", data=data, attempts=1),
            "failed": Result(status="failed", error=ERROR, reason="no", attempts=1),
            "unknown": Result(status="unknown", error=LOST, reason="cut", attempts=1),
            "down": Result(status="failed", error=DOWN, reason="down", attempts=1),
        }[outcome]
        self.finished.append(act.key)
        self.note(Finished(at=self.at, key=act.key, result=result))


@dataclass
class Restless(Player):
    """Also gives verdicts nobody waits for, lets calls ask, and lets time run out."""

    def step(self) -> None:
        acts = [act for act, _ in self.state.in_flight.values() if act.kind in ("call", "prompt")]
        unknown = [unit.key for unit in units(self.state) if unit.status == "unknown"]
        due, luck = self.state.due(self.at), self.chance.random()
        if due is not None:
            self.note(due)
        elif unknown and luck < 0.1:
            verdict = self.chance.choice(("done", "failed", "retry"))
            self.note(Answered(at=self.at, key=self.chance.choice(unknown), verdict=verdict, data={"v": 1}))
        elif acts and luck > 0.9:
            act = self.chance.choice(acts)
            self.note(Waiting(at=self.at, key=act.key, reason="question", round_state="x", until=self.at + 4))
        else:
            super().step()


def units(state: RunState) -> list[Unit]:
    return [unit for frame in state.frames() for node in frame.all_nodes for unit in node.units]


def nest(chance: random.Random, size: int) -> Workflow:
    """A random workflow that runs another random workflow, here and there."""
    text = graph(chance, size, kinds=("call", "set", "approval", "wait", "run"), weights=(8, 2, 1, 1, 5))
    if chance.random() < 0.5:
        text = text.replace("run: inner.yaml\n", "run: inner.yaml\n    foreach: '${{ [1, 2] }}'\n")
    return flow(text, inner=graph(chance, max(1, size // 2)))


def graph(
    chance: random.Random,
    size: int,
    *,
    kinds: tuple[str, ...] = ("call", "set", "approval", "wait"),
    weights: tuple[int, ...] = (12, 2, 1, 1),
) -> str:
    """A random workflow as YAML."""
    lines = ["steps:"]
    for at in range(size):
        before = [f"s{i}" for i in range(at) if chance.random() < 2.5 / max(at, 1)]
        read = [name for name in before if chance.random() < 0.5]
        needs = [name for name in before if name not in read]
        kind = chance.choices(kinds, weights)[0]
        lines.append(f"  s{at}:")
        lines.append(
            {
                "call": "    call: s.t",
                "set": "    set: {v: 1}",
                "approval": "    approval: {message: go}",
                "wait": "    wait: 5s",
                "run": "    run: inner.yaml\n    on_error: " + chance.choice(("fail", "continue", "{value: 1}")),
            }[kind]
        )
        if needs:
            lines.append(f"    needs: [{', '.join(needs)}]")
        if kind != "call":
            continue
        each = chance.random() < 0.2
        if each:
            lines.append(f"    foreach: '${{{{ [1, 2, 3] }}}}'\n    concurrency: {chance.randint(1, 3)}")
        if read:
            args = ", ".join(f"a{i}: '${{{{ {name} }}}}'" for i, name in enumerate(read))
            lines.append(f"    with: {{{args}}}")
        if chance.random() < 0.5:
            lines.append("    undo: {call: s.undo, when: " + chance.choice(("maybe", "done")) + "}")
        if chance.random() < 0.2:
            lines.append("    reconcile: {call: s.find, happened: result.found}")
        if chance.random() < 0.2:
            lines.append("    on_unavailable: {defer: 1m}")
        mode = chance.choice(("fail", "continue", "continue", "{value: 1}", "{call: s.other}"))
        lines.append(f"    on_error: {mode}")
    if chance.random() < 0.3:
        lines.append("finally: {end: {call: s.end}, after: {call: s.end, needs: [end]}}")
    return "\n".join(lines) + "\n"


def picture(state: RunState) -> Any:
    """Everything a state says, for comparing two."""
    return (
        state.status,
        state.root.output,
        state.root.missing,
        [
            (node.key, node.record(), node.data, [(u.key, u.record(), u.began, u.settled) for u in node.units])
            for frame in state.frames()
            for node in frame.all_nodes
        ],
        [act.key for act in state.ready()],
        list(state.in_flight),
    )


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 14), st.booleans(), st.integers(0, 60))
def test_every_run_ends_undoes_exactly_and_replays_to_the_same_state(
    seed: int, size: int, durable: bool, cancel: int
) -> None:
    chance = random.Random(seed)
    workflow = flow(graph(chance, size))
    player = Player(
        RunState(workflow, BEGAN, durable=durable), chance, cancel_at=cancel if chance.random() < 0.3 else None
    )
    player.play()
    check_order(workflow, player)
    check_undo(player)
    again = RunState(workflow, BEGAN, durable=durable)
    for entry in player.entries:
        again.apply(decode(encode(entry)))
    assert picture(again) == picture(player.state)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8), st.booleans(), st.integers(0, 80))
def test_nested_runs_end_and_replay_to_the_same_state(seed: int, size: int, durable: bool, cancel: int) -> None:
    chance = random.Random(seed)
    workflow = nest(chance, size)
    player = Player(
        RunState(workflow, BEGAN, durable=durable), chance, cancel_at=cancel if chance.random() < 0.3 else None
    )
    player.play()
    again = RunState(workflow, BEGAN, durable=durable)
    for entry in player.entries:
        again.apply(decode(encode(entry)))
    assert picture(again) == picture(player.state)
    state = player.state
    frames = list(state.frames())
    assert all(frame.stage == "ended" for frame in frames)
    if state.gaps():
        player.note(Resumed(at=player.at))
        player.play()
    elif state.status == "failed":
        units = [unit for frame in frames for node in frame.nodes.values() for unit in node.units]
        assert [unit.key for unit in units if unit.undo == "pending"] == []


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 10), st.booleans(), st.integers(0, 80))
def test_whatever_is_said_and_whenever_nothing_is_left_open_at_the_end(
    seed: int, size: int, durable: bool, cancel: int
) -> None:
    chance = random.Random(seed)
    workflow = nest(chance, size) if chance.random() < 0.5 else flow(timed(chance, graph(chance, size)))
    cancel_at = cancel if chance.random() < 0.3 else None
    player = Restless(RunState(workflow, BEGAN, durable=durable), chance, cancel_at=cancel_at)
    for _ in range(3):
        player.play()
        state = player.state
        assert (state.ready(), list(state.in_flight), state.waiting) == ([], [], [])
        for frame in state.frames():
            assert (frame.stage, frame.open, frame.active, len(frame.backlog), frame.running) == ("ended", 0, 0, 0, {})
            assert [
                node.key for node in frame.all_nodes if node.status not in SETTLED or node.open or node.active
            ] == []
        assert [unit.key for unit in units(state) if unit.status not in SETTLED] == []
        if not state.gaps():
            break
        player.note(Resumed(at=player.at))
    again = RunState(workflow, BEGAN, durable=durable)
    for entry in player.entries:
        again.apply(decode(encode(entry)))
    assert picture(again) == picture(player.state)


def timed(chance: random.Random, text: str) -> str:
    bounded = f"timeout: {chance.randint(5, 60)}s\n" if chance.random() < 0.3 else ""
    narrow = "concurrency: 2\n" if chance.random() < 0.3 else ""
    return bounded + narrow + text


def check_order(workflow: Workflow, player: Player) -> None:
    settled = {node.key: node.seq for node in player.state.root.nodes.values()}
    for name, step in workflow.steps.items():
        began = [entry.at for entry in player.entries if isinstance(entry, Started) and entry.key.split("[")[0] == name]
        for before in step.after:
            node = player.state.root.nodes[before]
            assert node.settled is not None
            assert all(node.settled <= at for at in began), (before, name)
            assert settled[before] > 0


def check_undo(player: Player) -> None:
    state = player.state
    undone = [key.removeprefix("undo ") for key in player.started if key.startswith("undo ")]
    only_finally_failed = state.root.broken_finally and player.expected_undo is None
    if state.status in ("complete", "partial") or only_finally_failed:
        assert undone == []
        return
    done = {
        unit.key: unit
        for node in state.root.nodes.values()
        if node.step.undo is not None
        for unit in node.units
        if unit.status == "done" and unit.via in ("call", "resolve", "reconcile")
    }
    if not any(isinstance(entry, Cancelled) for entry in player.entries):
        assert all(unit.undo in ("done", "failed", "unknown") for unit in done.values())
    order = [key for key in player.expected_undo or [] if key in undone]
    assert list(dict.fromkeys(undone)) == order


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_a_resumed_partial_run_tries_only_gaps_and_ends(seed: int, size: int) -> None:
    chance = random.Random(seed)
    text = graph(chance, size).replace("on_error: fail", "on_error: continue")
    player = Player(RunState(flow(text), BEGAN), chance)
    player.play()
    if not player.state.gaps() or player.state.status != "partial":
        return
    done = {node.key for node in player.state.root.nodes.values() if node.status == "done"}
    unknown = {unit.key for node in player.state.root.nodes.values() for unit in node.units if unit.status == "unknown"}
    player.started.clear()
    player.outcomes = ("done",)
    player.note(Resumed(at=player.at))
    player.play()
    assert done.isdisjoint(player.started)
    assert unknown.isdisjoint(player.started)
    assert player.state.status in ("complete", "partial", "failed")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_outcomes_in_any_order_the_graph_allows_give_the_same_data(seed: int) -> None:
    text = graph(random.Random(seed), 10).replace("approval: {message: go}", "wait: 1s")
    pictures: list[Any] = []
    for turn in range(3):
        player = Player(RunState(flow(text), BEGAN), random.Random(seed + turn), outcomes=("done",))
        player.play()
        assert player.state.status == "complete"
        pictures.append([(node.key, node.status) for node in player.state.root.nodes.values()])
    assert pictures[0] == pictures[1] == pictures[2]


def test_entries_that_do_not_fit_are_refused() -> None:
    state = RunState(flow("steps: {s: {call: a.x}}"), BEGAN)
    with pytest.raises(RunError, match="cannot be done now"):
        state.apply(Started(at=1, key="t", kind="call"))
    with pytest.raises(RunError, match="began twice"):
        state.apply(BEGAN)
    with pytest.raises(RunError, match="was not in flight"):
        state.apply(Recovered(at=1, key="s"))
    with pytest.raises(RunError, match="no step `s`"):
        RunState(flow("steps: {t: {set: 1}}"), BEGAN).apply(Answered(at=1, key="s", verdict="approve"))
    with pytest.raises(RunError, match="nothing is left"):
        RunState(flow("steps: {t: {set: 1}}"), BEGAN).apply(Resumed(at=1))
    with pytest.raises(RunError, match="its steps say running"):
        state.apply(Ended(at=1, status="complete"))


def test_the_fourth_recovery_of_one_act_waits_for_a_person() -> None:
    state = RunState(flow("steps: {s: {call: a.x}}"), BEGAN, durable=True)
    for _ in range(4):
        state.apply(Started(at=1, key="s", kind="call", repeatable=True))
        state.apply(Recovered(at=1, key="s"))
    assert (state.status, [unit.waiting and unit.waiting.reason for unit in state.waiting]) == ("waiting", ["resolve"])


def test_a_durable_run_waits_for_a_verdict_on_an_unknown_outcome() -> None:
    workflow = flow("steps: {s: {call: a.x}, t: {call: a.x, needs: [s]}}")
    verdicts: tuple[tuple[Verdict, str], ...] = (("done", "done"), ("failed", "failed"), ("retry", "ready"))
    for verdict, status in verdicts:
        state = RunState(workflow, BEGAN, durable=True)
        state.apply(Started(at=1, key="s", kind="call"))
        state.apply(Finished(at=1, key="s", result=Result(status="unknown", error=LOST)))
        assert state.status == "waiting"
        state.apply(Answered(at=2, key="s", verdict=verdict, data={"v": 1}))
        assert state.find("s").status == status
        with pytest.raises(RunError):
            state.apply(Answered(at=2, key="s", verdict="approve"))


def test_a_verdict_on_an_unknown_outcome_that_the_run_went_past_changes_the_record_and_starts_nothing() -> None:
    state = RunState(flow("steps: {s: {call: a.x, on_error: continue}}\noutput: {v: '${{ s.v }}'}"), BEGAN)
    state.apply(Started(at=1, key="s", kind="call"))
    state.apply(Finished(at=1, key="s", result=Result(status="unknown", error=LOST)))
    assert (state.status, state.root.output, state.gaps()) == ("partial", {"v": None}, False)
    state.apply(Answered(at=2, key="s", verdict="done", data={"v": 3}))
    assert (state.status, state.root.output) == ("complete", {"v": 3})


def test_a_verdict_on_one_item_while_others_go_on_ends_nothing() -> None:
    text = "steps: {s: {call: a.x, foreach: '${{ [1, 2] }}', concurrency: 1, on_error: continue}}"
    state = RunState(flow(text), BEGAN)
    state.apply(Started(at=1, key="s[0]", kind="call"))
    state.apply(Finished(at=1, key="s[0]", result=Result(status="unknown", error=LOST)))
    state.apply(Answered(at=2, key="s[0]", verdict="done", data=1))
    assert (state.status, [act.key for act in state.ready()]) == ("running", ["s[1]"])
    state.apply(Started(at=3, key="s[1]", kind="call"))
    state.apply(Finished(at=3, key="s[1]", result=Result(status="done", data=2)))
    assert (state.status, state.root.nodes["s"].data) == ("complete", [1, 2])


def test_what_was_approved_is_what_is_done_or_it_is_not_done() -> None:
    text = """steps:
  s: {call: a.x, on_error: continue}
  ok: {approval: {message: go}, needs: [s]}
  t: {call: a.y, with: {was: "${{ steps.s.status }}"}, needs: [ok]}
"""
    state = RunState(flow(text), BEGAN, durable=True)
    state.apply(Started(at=1, key="s", kind="call"))
    state.apply(Finished(at=1, key="s", result=Result(status="unknown", error=LOST)))
    asked = state.request(state.ready()[0], 2)
    assert isinstance(asked, Request)
    assert asked.shown == {"message": "go", "then": {"t": {"was": "unknown"}}}
    state.apply(Waiting(at=2, key="ok", reason="approval", shown=asked.shown, digest=asked.digest))
    state.apply(Answered(at=3, key="s", verdict="done", data={}))
    state.apply(Answered(at=4, key="ok", verdict="approve", who="ann"))
    refused = state.request(state.ready()[0], 5)
    assert isinstance(refused, Result)
    assert (refused.status, refused.reason) == ("failed", "the arguments are not those that were approved")


def test_a_look_before_an_undo_leaves_the_step_what_it_was() -> None:
    text = """steps:
  s:
    call: a.x
    on_error: {value: 7}
    reconcile: {call: a.find, happened: result.found}
    undo: {call: a.undo, when: maybe}
  t: {call: a.x, needs: [s]}
"""
    state = RunState(flow(text), BEGAN)
    for key, result in (
        ("s", Result(status="unknown", error=LOST)),
        ("reconcile s", Result(status="failed", error=DOWN)),
        ("t", Result(status="failed", error=ERROR)),
    ):
        state.apply(Started(at=1, key=key, kind="reconcile" if " " in key else "call"))
        state.apply(Finished(at=1, key=key, result=result))
    state.apply(Started(at=2, key="reconcile s", kind="reconcile"))
    assert (state.find("s").status, state.find("s").has_data) == ("unknown", True)
    state.apply(Finished(at=2, key="reconcile s", result=Result(status="done", data={"found": False})))
    unit = state.find("s")
    assert (state.status, unit.status, unit.via, unit.data, unit.undo) == ("failed", "done", "value", 7, "none")


def test_a_resumed_step_that_is_not_begun_again_keeps_what_it_had_and_is_undone() -> None:
    inner = "steps: {a: {call: a.x, undo: {call: a.back}}, b: {call: a.x, on_error: continue}}\noutput: {a: '${{ a }}'}"
    text = "steps: {t: {call: a.x, on_error: continue}, n: {run: inner.yaml, needs: [t]}, u: {call: a.x, needs: [n]}}"
    state = RunState(flow(text, inner=inner), BEGAN)
    failed, done = Result(status="failed", error=ERROR, reason="no"), Result(status="done", data=1)
    ends = {"t": failed, "n/a": done, "n/b": failed, "u": done}
    for key, result in ends.items():
        state.apply(Started(at=1, key=key, kind="call"))
        state.apply(Finished(at=1, key=key, result=result))
    assert (state.status, state.find("n").status, state.find("n").data) == ("partial", "partial", {"a": 1})
    state.apply(Resumed(at=2))
    state.apply(Cancelled(at=3))
    assert (state.find("n").status, state.find("n").data, state.find("t").reason) == ("partial", {"a": 1}, "stopped")
    assert [act.key for act in state.ready()] == ["undo n/a"]


def test_a_workflows_time_counts_from_its_begin() -> None:
    state = RunState(flow("timeout: 10s\nsteps: {s: {wait: 1s}}"), BEGAN)
    assert (state.wakes_at(), state.due(9.0)) == (10.0, None)
    assert state.due(10.0) == Expired(at=10.0)
    state.apply(Expired(at=10.0))
    assert (state.status, state.wakes_at()) == ("failed", None)


@pytest.mark.parametrize("size", [1000, 10_000])
def test_a_chain_and_a_fan_of_many_steps_end(size: int) -> None:
    base = flow("steps: {s: {call: a.x}}").steps["s"]
    for linked in (True, False):
        steps = {
            f"s{at}": replace(
                base,
                name=f"s{at}",
                needs=(f"s{at - 1}",) if linked and at else (),
                after=frozenset({f"s{at - 1}"} if linked and at else ()),
            )
            for at in range(size)
        }
        state = RunState(Workflow("big", steps), BEGAN)
        turns = 0
        while acts := state.ready(64):
            for act in acts:
                state.apply(Started(at=0, key=act.key, kind="call"))
            for act in acts:
                state.apply(Finished(at=0, key=act.key, result=Result(status="done", data=1)))
            state.changes.clear()
            turns += 1
        assert (state.status, turns) == ("complete", size if linked else -(-size // 64))


def test_a_chain_of_many_values_does_not_recurse() -> None:
    base = flow("steps: {s: {set: 1}}").steps["s"]
    steps = {
        f"s{at}": replace(base, name=f"s{at}", after=frozenset({f"s{at - 1}"} if at else ())) for at in range(10_000)
    }
    assert RunState(Workflow("big", steps), BEGAN).status == "complete"
