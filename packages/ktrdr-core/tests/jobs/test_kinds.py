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
    "evaluation": {"strategy": "name: a", "seeds": 3, "reserve": True},
    "verdict": {"strategy": "name: x", "quick": True},
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
        ("training", {}, "training job: strategy is missing"),
        ("training", {"strategy": "x", "epochs": 0}, "training job: epochs must be at least 1, not 0"),
        ("backtest", {"model": "a", "surprise": 1}, "backtest job: surprise is not known"),
        ("backtest", {"model": "a", "comission": 1}, "comission is not known, did you mean `commission`"),
        ("backtest", {"model": "a/0"}, "model must be written like rsi_reversion/1, not 'a/0'"),
        ("backtest", {"model": "a", "start": "2020-01-02", "end": "2020-01-01"}, "is before the start"),
        ("backtest", {"model": "a", "capital": float("inf")}, "capital must be a finite number, not inf"),
        ("backtest", {"model": "a", "seed": 2**40}, "seed must be at most 4,294,967,295, not 1,099,511,627,776"),
        ("training", {"strategy": "a", "seed": 2**40}, "seed must be at most 4,294,967,295"),
        ("training", {"strategy": "a", "symbols": ["A", "B", "A"]}, "symbols: `A` is given twice"),
        ("training", {"strategy": "a", "symbols": ["A", ".."]}, r"symbols\[1\]: '..' cannot be a symbol"),
        ("training", {"strategy": "x" * 131_073}, "strategy: string should have at most 131072 characters"),
        ("training", {"strategy": "a", "device": "GPU 1"}, "device must be written like auto or cpu or cuda:1"),
        ("sweep", {"model": "a", "settings": {"risk.lot_size": [1e999]}}, r"settings\[risk.lot_size\]\[0\]"),
        ("sweep", {"model": "a", "settings": {}}, "sweep job: settings is empty; give at least one"),
    ],
)
def test_what_is_wrong_is_one_sentence(kind, data, message):
    with pytest.raises(BadInputError, match=message) as caught:
        parse_job(kind, data)
    assert "\n" not in str(caught.value)


STORED = {
    "training": {
        "strategy": "name: a", "symbols": ["EURUSD"], "start": "2017-01-01", "end": None, "seed": 5, "epochs": None,
        "device": "auto", "seeds": 3, "ensemble": True, "evaluation": None,
    },
    "backtest": {
        "model": "a/1", "symbols": None, "start": None, "end": "2017-06-30", "capital": 10000.0, "commission": 0.0001,
        "slippage": 0.0, "trials": None, "explain": 100, "device": "cpu", "seed": 0,
        "inference": "portable", "reserve": False,
    },
    "sweep": {
        "model": "a/1", "settings": {"risk.stop_loss.atr": [2, 3.5, None]}, "metric": "sharpe", "symbols": ["A", "B"],
        "start": None, "end": None, "capital": 5.0, "commission": 0.0, "slippage": 0.0, "trials": 5, "device": "auto",
        "top": 3, "inference": "native",
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", STORED)
def test_a_job_that_a_ledger_holds_is_read_as_it_was_written(kind):
    assert parse_job(kind, STORED[kind]).model_dump(mode="json") == STORED[kind]


def test_a_training_from_before_there_were_several_seeds_has_one():
    since = {"seeds": None, "ensemble": False, "evaluation": None}
    then = {name: value for name, value in STORED["training"].items() if name not in since}
    read = parse_job("training", then).model_dump(mode="json")
    assert read == {**STORED["training"], **since}


def test_a_backtest_from_before_there_was_a_reserve_opens_none():
    then = {name: value for name, value in STORED["backtest"].items() if name != "reserve"}
    assert parse_job("backtest", then).reserve is False


OF_EVALUATION = {"strategy": "name: a", "evaluation": "waves/3"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"seed": 0}, "takes strategy, data, seed and epochs from it; leave out `seed`"),
        ({"seeds": 2}, "leave out `seeds`"),
        ({"ensemble": True}, "leave out `ensemble`"),
        ({"epochs": 1}, "leave out `epochs`"),
        ({"symbols": ["A"]}, "leave out `symbols`"),
        ({"start": "2020-01-01"}, "leave out `start`"),
        ({"end": "2020-01-01"}, "leave out `end`"),
        ({"evaluation": "waves/0"}, "evaluation must be written like rsi_reversion/1, not 'waves/0'"),
        ({"evaluation": "../x"}, "evaluation must be written like"),
    ],
)
def test_a_training_from_an_evaluation_has_no_other_settings(more, message):
    assert parse_job("training", {**OF_EVALUATION, "device": "cpu"}).evaluation == "waves/3"
    with pytest.raises(BadInputError, match=message):
        parse_job("training", {**OF_EVALUATION, **more})


def test_a_sweep_from_before_the_ledger_of_trials_is_read_with_what_holds_today():
    then = {name: value for name, value in STORED["sweep"].items() if name not in ("trials", "top", "inference")}
    today = {"trials": None, "top": 20, "inference": "auto"}
    assert parse_job("sweep", then).model_dump(mode="json") == {**STORED["sweep"], **today}
