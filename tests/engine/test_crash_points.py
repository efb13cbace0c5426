"""Hypothesis over crash points: a run cut off after any entry, recovered, and driven on, sends nothing twice."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engine_kit import flow
from engine.test_run_state import BEGAN, LOST, Player, check_undo, graph, nest, picture
from motet.workflow.entries import Answered, Entry, ErrorInfo, Finished, Recovered, Result, Started
from motet.workflow.runstate import RunState


def recover(player: Player) -> None:
    """What a carrier does with acts it finds in flight."""
    for act, started in list(player.state.in_flight.values()):
        if started.repeatable:
            player.note(Recovered(at=player.at, key=act.key))
        else:
            player.note(Finished(at=player.at, key=act.key, result=Result(status="unknown", error=LOST)))


def allowed(entries: list[Entry]) -> Counter[str]:
    """How often each act may have been begun: once, and again when it is repeatable or proven not to have happened."""
    found: Counter[str] = Counter()
    for entry in entries:
        match entry:
            case Recovered():
                found[entry.key] += 1
            case Answered(verdict="retry"):
                found[entry.key] += 1
                found[f"fallback {entry.key}"] += 1
            case Finished() if entry.key.startswith("reconcile "):
                found[entry.key] += 1
                found[entry.key.removeprefix("reconcile ")] += entry.result.status == "done"
            case Finished(result=Result(error=ErrorInfo(kind="unavailable"))):
                found[entry.key] += 1
            case _:
                pass
    return found


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 10), st.lists(st.integers(0, 60), min_size=1, max_size=3))
def test_a_run_cut_off_anywhere_goes_on_and_sends_nothing_twice(seed: int, size: int, cuts: list[int]) -> None:
    chance = random.Random(seed)
    nested = chance.random() < 0.5
    workflow = nest(chance, size) if nested else flow(graph(chance, size))
    player = Player(RunState(workflow, BEGAN, durable=True), chance)
    for cut in cuts:
        for _ in range(cut):
            if not player.state.ended:
                player.at += 1
                player.step()
        entries = player.entries
        again = RunState(workflow, BEGAN, durable=True)
        for entry in entries:
            again.apply(entry)
        assert picture(again) == picture(player.state)
        player = Player(again, chance, entries=entries, at=player.at, expected_undo=player.expected_undo)
        recover(player)
    player.play()
    begun = Counter(entry.key for entry in player.entries if isinstance(entry, Started))
    may = allowed(player.entries)
    assert {key: count for key, count in begun.items() if count > 1 + may[key]} == {}
    player.started = [entry.key for entry in player.entries if isinstance(entry, Started)]
    if not nested:
        check_undo(player)
