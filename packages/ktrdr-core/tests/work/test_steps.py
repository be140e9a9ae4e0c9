from __future__ import annotations

import pytest

from ktrdr.core.errors import CancelledError
from ktrdr.core.work import Cancellation
from ktrdr.core.work.steps import Steps


@pytest.fixture
def events():
    return []


def test_a_step_says_when_it_begins_and_what_came_of_it(events):
    steps = Steps(events.append, Cancellation())
    assert steps.run("device", lambda: 7, lambda found: f"number {found}") == 7
    assert [(event.step, event.fraction, event.message) for event in events] == [
        ("device", 0.0, ""),
        ("device", 1.0, "number 7"),
    ]


def test_symbols_are_counted_where_there_are_several(events):
    steps = Steps(events.append, Cancellation())
    assert steps.each("labels", ["A", "B"], str.lower, lambda made: "".join(made.values())) == {"A": "a", "B": "b"}
    assert [(event.done, event.total, event.unit, event.fraction, event.message) for event in events] == [
        (0, 2, "symbols", 0.0, "A"),
        (1, 2, "symbols", 0.5, "B"),
        (2, 2, "symbols", 1.0, "ab"),
    ]
    events.clear()
    steps.each("labels", ["A"], str.lower)
    assert {(event.total, event.unit) for event in events} == {(0, "")}


def test_a_request_to_stop_is_heard_before_a_step_and_between_symbols(events):
    cancellation = Cancellation()
    steps = Steps(events.append, cancellation)
    done = []

    def stop_at(symbol):
        done.append(symbol)
        cancellation.cancel("enough")

    with pytest.raises(CancelledError, match="enough"):
        steps.each("data", ["A", "B", "C"], stop_at)
    assert done == ["A"]
    with pytest.raises(CancelledError):
        steps.run("saving", lambda: done.append("saved"))
    assert done == ["A"]
