"""What a worker tells of is counted by the server's ledger, in the result and in the files of the run."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from pathlib import Path

import pytest

from ktrdr.api.engine.counting import counted, keep_count
from ktrdr.core.backtesting.results import read_result, read_summary
from ktrdr.core.errors import BadInputError
from ktrdr.core.trials.look import LOOKS, Look, digest
from ktrdr.core.trials.trial_database import SQLiteDatabase, TrialStoreError
from ktrdr.core.trials.trial_ledger import TrialLedger


class Listener:
    """An engine's listener, as far as it counts."""

    def __init__(self, ledger):
        self.ledger = ledger

    async def judge(self, looks, model):
        return self.ledger.judge(looks, model=model)


@pytest.fixture
def ledger(tmp_path):
    return TrialLedger(SQLiteDatabase(tmp_path / "server" / "trials.sqlite"))


@pytest.fixture
def told(made_home, tmp_path):
    """The result of a worker that knew of no other trial, with a copy of its files."""
    run = tmp_path / "run"
    shutil.copytree(made_home.run, run)
    return {**made_home.result, "directory": str(run), LOOKS: [made_home.look]}


def count(result, ledger):
    return asyncio.run(counted(Listener(ledger), result))


def others(told, number):
    """Return looks of other strategies at the same bars."""
    own = Look.from_json(told[LOOKS][0])
    return [
        dataclasses.replace(own, strategy=digest(each), metrics={"sharpe": each / 10, "trades": 1})
        for each in range(number)
    ]


def test_it_is_recorded_and_counted_among_all_that_the_server_knows(told, ledger):
    assert told["trial_count"]["number"] == 1
    ledger.record(others(told, 30))
    own = count(told, ledger)
    assert LOOKS not in own
    assert own["trial_count"]["number"] == own["metrics"]["trials"] == 31
    assert own["trial_count"]["ledger"] == ledger.id
    assert own["metrics"]["deflated_sharpe"] < told["metrics"]["deflated_sharpe"]
    assert {name for name, value in own["metrics"].items() if value != told["metrics"][name]} == {
        "trials",
        "deflated_sharpe",
    }
    assert ledger.page(limit=1)[0].row.model == told["model"]
    # The same attempt once more, as after a server that was killed before it had said so.
    assert count(told, ledger) == own
    assert ledger.rows() == 31


def test_the_files_of_the_run_say_the_same(told, ledger):
    ledger.record(others(told, 30))
    own = count(told, ledger)
    keep_count(own)
    summary = read_summary(Path(told["directory"]))
    assert summary["metrics"] == own["metrics"]
    assert summary["trial_count"] == own["trial_count"]
    result = read_result(Path(told["directory"]))
    assert result.trial_count.number == 31
    assert result.trades["net"].sum() == pytest.approx(result.metrics["net_profit"])
    files = sorted(Path(told["directory"]).iterdir())
    before = [path.stat().st_ino for path in files]
    keep_count(own)
    assert [path.stat().st_ino for path in files] == before, "nothing is written where nothing changed"


@pytest.fixture
def evaluated(made_home, tmp_path):
    """The result of a worker that evaluated a strategy, with a copy of its files."""
    directory = tmp_path / "evaluation"
    shutil.copytree(made_home.evaluation, directory)
    return {**made_home.evaluated, "directory": str(directory)}


def test_an_evaluation_is_one_trial_and_counted_among_all_that_the_server_knows(evaluated, ledger):
    from ktrdr.core.validation.stored_evaluation import read_evaluation

    own_look = Look.from_json(evaluated[LOOKS][0])
    ledger.record([dataclasses.replace(own_look, strategy=digest(each)) for each in range(30)])
    assert evaluated["trial_count"]["number"] == 1
    own = count(evaluated, ledger)
    assert LOOKS not in own
    assert (own["trial_count"]["number"], own["trial_count"]["ledger"]) == (31, ledger.id)
    assert {name for name, value in own.items() if value != evaluated[name]} == {"trial_count"}
    assert ledger.page(limit=1)[0].row.kind == "evaluation"
    assert count(evaluated, ledger) == own
    assert ledger.rows() == 31

    keep_count(own)
    stored = read_evaluation(Path(evaluated["directory"])).facts
    assert stored.trial_count == own["trial_count"]
    before = [path.stat().st_ino for path in sorted(Path(evaluated["directory"]).iterdir())]
    keep_count(own)
    assert [path.stat().st_ino for path in sorted(Path(evaluated["directory"]).iterdir())] == before
    # Files on a machine of the worker's own are not here.
    keep_count({**own, "directory": "/nowhere"})


def test_trials_made_elsewhere_stay_counted(evaluated, ledger):
    told = {**evaluated, "trial_count": {**evaluated["trial_count"], "elsewhere": 40}}
    assert count(told, ledger)["trial_count"]["number"] == 41


def test_an_opened_reserve_is_a_trial_of_its_own_whose_openings_are_counted(evaluated, ledger):
    first = Look.from_json(evaluated[LOOKS][0])
    span = dataclasses.replace(first.span, start=first.span.end, end=first.span.end + 86_400)
    reserve = dataclasses.replace(first, span=span, data="1" * 64)
    ledger.record([dataclasses.replace(reserve, strategy=digest(each)) for each in range(2)])
    period = {"start": "2017-06-01T00:00:00Z", "end": "2017-07-01T00:00:00Z"}
    told = {
        **evaluated,
        LOOKS: [*evaluated[LOOKS], reserve.to_json()],
        "reserve": {"period": period, "bars": 10, "opened": 1, "seeds": [], "metrics": {}, "buy_and_hold": {}},
    }
    own = count(told, ledger)
    assert own["trial_count"]["number"] == 1
    assert own["reserve"] == {**told["reserve"], "opened": 3}
    assert ledger.rows() == 4


def test_a_verdict_is_one_trial_and_is_decided_anew_among_all_that_the_server_knows(
    made_home, judged, ledger, tmp_path
):
    from ktrdr.core.validation.stored_evaluation import load_facts
    from ktrdr.core.verdicts.stored_verdict import load_verdict_facts

    for name in ("verdicts", "evaluations"):
        shutil.copytree(made_home.path / name, tmp_path / name)
    told = {**judged, "directory": str(tmp_path / "verdicts" / "waves" / "1")}
    own_look = Look.from_json(told[LOOKS][0])
    others = [dataclasses.replace(own_look, kind="evaluation", strategy=digest(each)) for each in range(30)]
    ledger.record(others)
    own = count(told, ledger)
    assert LOOKS not in own
    assert own["evaluation"]["trial_count"]["number"] == own["deflation"]["trials"] == 31
    assert own["deflation"]["probability"] < told["deflation"]["probability"]
    assert own["conditions"]
    assert own["directory"] == told["directory"]
    assert ledger.page(limit=1)[0].row.kind == "verdict"
    # The evaluation with the same settings is the same trial.
    ledger.record([dataclasses.replace(own_look, kind="evaluation")])
    assert count(told, ledger) == own

    keep_count(own)
    stored = load_verdict_facts("waves/1", tmp_path / "verdicts")
    assert stored.model_dump(mode="json") == {name: own[name] for name in type(stored).model_fields}
    assert load_facts("waves/1", tmp_path / "evaluations").trial_count == own["evaluation"]["trial_count"]
    # Files on a machine of the worker's own are not here.
    keep_count({**own, "directory": "/nowhere/verdicts/waves/1"})


def test_an_invalid_verdict_looked_at_nothing_and_is_not_counted(judged, ledger):
    told = {**judged, "word": "INVALID", "evaluation": None, LOOKS: []}
    own = count(told, ledger)
    assert (own["word"], own["evaluation"]) == ("INVALID", None)
    assert ledger.rows() == 0


def test_a_training_is_recorded_and_its_metrics_stay(told, ledger):
    look = dataclasses.replace(Look.from_json(told[LOOKS][0]), kind="training", account={}, metrics={})
    training = {"model": "waves/1", "metrics": {"test": {"accuracy": 0.5}}, LOOKS: [look.to_json()]}
    own = count(training, ledger)
    assert own["metrics"] == training["metrics"]
    assert own["trial_count"]["number"] == 1
    keep_count({**own, "directory": "/nowhere"})


def test_what_is_not_told_is_not_counted(ledger):
    assert count({"model": "waves/1"}, ledger) == {"model": "waves/1"}
    assert ledger.rows() == 0


@pytest.mark.parametrize(
    "broken",
    [
        lambda look: {},
        lambda look: {**look, "span": None},
        lambda look: {**look, "kind_of": 1},
        lambda look: {**look, "returns": {"first": "2017-01-01", "float32": "AAAA"}},
    ],
)
def test_what_cannot_be_understood_fails_in_words(told, ledger, broken):
    with pytest.raises(BadInputError, match="cannot be read|unknown format"):
        count({**told, LOOKS: [broken(told[LOOKS][0])]}, ledger)
    assert ledger.rows() == 0


def test_nothing_comes_out_where_it_cannot_be_recorded(told, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    ledger = TrialLedger(SQLiteDatabase(tmp_path / "trials.sqlite"))
    ledger._database.path = tmp_path / "file" / "trials.sqlite"
    with pytest.raises(TrialStoreError, match="so the result is not shown"):
        count(told, ledger)
