"""An ensemble from Python: its members are a table, and what belongs to one training alone is refused or empty."""

from __future__ import annotations

import pytest

import ktrdr.core as kt
from ktrdr.core.errors import BadInputError

ENSEMBLE = {"type": "ensemble", "of": {"type": "softmax_regression"}, "members": {"seeds": 3}}


@pytest.fixture
def strategy(home, write_strategy):
    return kt.load_strategy(write_strategy("many")).replace({"model": ENSEMBLE})


def test_a_strategy_becomes_an_ensemble_by_replacing_its_model(strategy):
    assert repr(strategy) == "<Strategy many: ensemble of 3 softmax_regression on EURUSD 1h, 3 features>"
    assert strategy["model.members.seeds"] == 3
    more = strategy.replace({"model.members.seeds": 5, "model.vote": "majority"})
    assert more.model.model.words == "ensemble of 5 softmax_regression"
    with pytest.raises(BadInputError, match="`seeds` must be at most 64, not 65"):
        strategy.replace({"model.members.seeds": 65})


def test_its_training_has_a_table_of_members(strategy, home):
    training = kt.train(strategy, progress=False)
    members = training.members
    assert members.index.tolist() == [1, 2, 3]
    assert members["seed"].tolist() == [1, 2, 3]
    assert members.dtypes[["seed", "best_epoch"]].tolist() == ["int64", "int64"]
    manifest = training.bundle.manifest
    assert members["val_loss"].tolist() == [member.monitored for member in manifest.members]
    assert members["test_log_loss"].tolist() == [member.metrics["test"]["log_loss"] for member in manifest.members]
    assert training.best_epoch is None
    assert training.epochs == 3
    assert "<Training many/1: ensemble of 3 softmax_regression with example on cpu, test log loss" in repr(training)
    assert "each with its best epoch of 3" in training._repr_html_()
    assert training.history.empty
    assert len(training.bundle.history(member=2)) == 3
    with pytest.raises(BadInputError, match=r"model many/1 is an ensemble, .* `training.bundle.history\(member=1\)`"):
        training.plot()
    # What a training on a server returns: only the manifest is here.
    there = kt.Training(training._result, (), "http://127.0.0.1:8000")
    with pytest.raises(BadInputError, match="download http://127.0.0.1:8000/api/v1/models/many/1/archive, and") as told:
        there.plot()
    assert "`kt.models.import_file(FILE).history(member=1)` has those of the first" in str(told.value)
    archive = kt.models.export("many/1", home)
    assert kt.models.import_file(archive).history(member=1) == training.bundle.history(member=1)
    assert kt.models.list()["type"].tolist() == ["ensemble of 3 softmax_regression"]
    assert kt.models.verify("many").ref == "many/1"


def test_a_single_training_has_no_members(home, write_strategy):
    training = kt.train(kt.load_strategy(write_strategy("one")), progress=False)
    assert training.members.empty
    assert training.members.columns.tolist() == ["seed", "best_epoch"]
    assert training.members.dtypes.tolist() == ["int64", "int64"]


def test_it_is_backtested_explained_and_swept_as_one_model(strategy):
    training = kt.train(strategy, progress=False)
    backtest = kt.backtest(training, progress=False)
    assert "many/1" in repr(backtest)
    explanation = kt.explain(training)
    assert explanation.decision in ("BUY", "SELL", "HOLD")
    assert explanation.outputs.sum() == pytest.approx(1)
    sweep = kt.sweep(training, {"decisions.confidence_threshold": [0.3, 0.4]}, progress=False)
    assert (sweep.model, len(sweep.table)) == ("many/1", 2)
