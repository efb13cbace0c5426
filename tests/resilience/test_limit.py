"""The concurrency limit as a table: tickets are plain numbers here, nobody waits for real."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from motet.resilience.limit import Room


def test_places_are_taken_until_none_is_left() -> None:
    room: Room[int] = Room(2, 10)
    assert [room.enter() for _ in range(3)] == [True, True, False]


def test_a_place_goes_to_who_waits_longest() -> None:
    room: Room[int] = Room(1, 10)
    room.enter()
    assert room.line_up(1)
    assert room.line_up(2)
    assert [room.leave(), room.leave(), room.leave()] == [1, 2, None]
    assert room.free == 1


def test_a_newcomer_does_not_overtake() -> None:
    room: Room[int] = Room(1, 10)
    room.line_up(1)
    assert not room.enter()


def test_a_full_queue_refuses_all_but_the_patient() -> None:
    room: Room[int] = Room(1, 2)
    room.enter()
    assert [room.line_up(ticket) for ticket in (1, 2, 3)] == [True, True, False]
    assert room.line_up(4, patient=True)
    assert room.waiting == 3
    assert [room.leave() for _ in range(3)] == [1, 2, 4]


def test_who_steps_out_gets_no_place() -> None:
    room: Room[int] = Room(1, 10)
    room.enter()
    room.line_up(1)
    room.line_up(2)
    assert room.step_out(1)
    assert room.leave() == 2
    assert not room.step_out(2)  # the place is theirs already
    assert room.leave() is None
    assert room.free == 1


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(0, 4), st.lists(st.sampled_from(["enter", "leave", "give up"]), max_size=60))
def test_no_place_is_lost_or_made(places: int, queue: int, steps: list[str]) -> None:
    room: Room[int] = Room(places, queue)
    inside, waiting = 0, list[int]()
    for number, what in enumerate(steps):
        if what == "enter":
            if room.enter():
                inside += 1
            elif room.line_up(number):
                waiting.append(number)
        elif what == "leave" and inside:
            ticket = room.leave()
            if ticket is None:
                inside -= 1
            else:
                assert ticket == waiting.pop(0)
        elif what == "give up" and waiting:
            assert room.step_out(waiting.pop())
        assert room.free + inside == places
        assert room.waiting == len(waiting)
        assert len(waiting) <= queue
        assert not (waiting and room.free)
