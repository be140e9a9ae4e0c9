"""An event of progress travels as JSON from a worker to a client."""

from __future__ import annotations

import json
import math

from ktrdr.core.work.progress import ProgressEvent


def test_an_event_travels_unchanged():
    event = ProgressEvent("training", 3, 10, "epochs", 0.325, "going on", {"loss": 0.5})
    assert ProgressEvent.from_json(json.loads(json.dumps(event.to_json(), allow_nan=False))) == event


def test_numbers_that_json_cannot_hold_are_left_out():
    event = ProgressEvent("training", fraction=1 / 3, metrics={"loss": math.nan, "best": math.inf, "rate": 0.1})
    data = event.to_json()
    assert data["metrics"] == {"rate": 0.1}
    assert data["fraction"] == 0.333333
    assert json.dumps(data, allow_nan=False)


def test_a_server_that_says_less_is_understood():
    assert ProgressEvent.from_json({"step": "bars", "unknown": 1}) == ProgressEvent("bars")
