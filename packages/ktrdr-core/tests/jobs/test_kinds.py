"""Jobs are plain data, and what is wrong with them is one sentence."""

from __future__ import annotations

import json

import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.kinds import JOB_KINDS, parse_job

JOBS = {
    "training": {"strategy": "name: a", "symbols": ["EURUSD"], "start": "2017-01-01", "epochs": 3},
    "backtest": {"model": "a/1", "commission": 0.0001, "end": "2017-06-30"},
    "sweep": {"model": "a/1", "settings": {"risk.stop_loss.atr": [0, 1, 2.5, True, None, "x"]}},
}


def test_there_is_one_of_each_kind_here():
    assert set(JOBS) == set(JOB_KINDS)


@pytest.mark.parametrize("kind", JOBS)
def test_a_job_survives_the_way_through_json(kind):
    job = parse_job(kind, JOBS[kind])
    again = parse_job(kind, json.loads(json.dumps(job.model_dump(mode="json"))))
    assert again == job


def test_values_of_a_sweep_keep_their_kind():
    values = parse_job("sweep", JOBS["sweep"]).settings["risk.stop_loss.atr"]
    assert [(type(value), value) for value in values] == [
        (int, 0), (int, 1), (float, 2.5), (bool, True), (type(None), None), (str, "x"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("sorcery", {}, "no job of kind `sorcery`; known: training, backtest, sweep"),
        ("training", {}, "training job: strategy: "),
        ("training", {"strategy": "x", "epochs": 0}, "training job: epochs: "),
        ("backtest", {"model": "a", "surprise": 1}, "backtest job: surprise: "),
        ("sweep", {"model": "a", "settings": {}}, "sweep job: settings: "),
    ],
)
def test_what_is_wrong_is_one_sentence(kind, data, message):
    with pytest.raises(BadInputError, match=message) as caught:
        parse_job(kind, data)
    assert "\n" not in str(caught.value)
