"""From a file to a model, a backtest, a sweep, an explanation and a check, with nothing but `KTRDR_HOME` said."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.cache.array_cache import NO_CACHE
from ktrdr.core.data.bar_store import BarStore, default_store
from ktrdr.core.data.sample import install_sample
from ktrdr.core.errors import BadInputError, CancelledError, NotFoundError
from ktrdr.core.jobs.job_settings import BacktestSettings, SweepSettings, TrainingSettings
from ktrdr.core.models.model_store import ModelStore, default_model_store
from ktrdr.core.plugins import manager
from ktrdr.core.work import Cancellation
from ktrdr.core.workflows.run_backtest import backtest
from ktrdr.core.workflows.run_check import check
from ktrdr.core.workflows.run_explanation import explain
from ktrdr.core.workflows.run_sweep import sweep
from ktrdr.core.workflows.run_training import train

TEXT = """
name: waves
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: single, timeframe: 1h}
  date_range: {start: 2017-01-01, end: 2017-06-30}
indicators: {rsi_14: {type: rsi, period: 14}}
fuzzy_sets:
  rsi: {indicator: rsi_14, low: [0, 25, 45], middle: [30, 50, 70], high: [55, 75, 100]}
nn_inputs: [{fuzzy_set: rsi, timeframes: all}]
model: {type: softmax_regression}
decisions: {confidence_threshold: 0.34}
training:
  labels: {source: direction, horizon: 4, threshold: 0.0005}
  epochs: 6
  batch_size: 64
  learning_rate: 0.5
"""


@pytest.fixture
def file(tmp_path, monkeypatch, example_plugins):
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(manager, "default_manager", lambda: example_plugins)
    install_sample(default_store())
    path = tmp_path / "waves.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_from_a_file_to_every_result(file):
    trained = train(file, TrainingSettings(epochs=2, seed=3))
    assert (trained.bundle.ref, trained.epochs) == ("waves/1", 2)
    assert default_model_store().get("waves").manifest.seed == 3

    result = backtest("waves", BacktestSettings(commission=0.0001))
    assert (result.manifest.ref, result.settings.commission) == ("waves/1", 0.0001)
    assert backtest(trained.bundle).metrics["commission"] == 0

    settings = SweepSettings(settings={"risk.max_holding_period": (5, 9)}, metric="calmar")
    swept = sweep("waves/1", settings)
    assert (len(swept.rows), swept.metric, swept.facts["model"]) == (2, "calmar", "waves/1")
    assert swept.to_json()["trials"] == 2

    explained = explain("waves", at=np.datetime64("2017-08-01T12:30", "ns"))
    assert str(explained.time)[:16] == "2017-08-01T12:00"
    assert check(file, cuts=5, last=500).leaking == ()


def test_stores_of_ones_own_take_the_place_of_those_below_home(file, tmp_path, example_plugins):
    bars, models = BarStore(tmp_path / "bars"), ModelStore(tmp_path / "models")
    with pytest.raises(NotFoundError):
        train(file, bar_store=bars, model_store=models)
    install_sample(bars)
    bundle = train(file, bar_store=bars, model_store=models, plugins=example_plugins).bundle
    assert bundle.directory.is_relative_to(tmp_path / "models")
    assert default_model_store().names() == ()
    with pytest.raises(NotFoundError, match="no model `waves`"):
        backtest("waves")
    assert backtest("waves", bar_store=bars, model_store=models).manifest.ref == "waves/1"


def test_a_cancelled_training_says_what_it_can_go_on_from(file):
    def at(step):
        cancellation = Cancellation()

        def stop(event):
            if event.step == step:
                cancellation.cancel()

        with pytest.raises(CancelledError) as stopped:
            train(file, progress=stop, cancellation=cancellation)
        return stopped.value.checkpoint

    assert at("labels") is None
    assert at("training").exists()
    assert train(file, resume=True).resumed


def test_a_file_that_is_not_there(file):
    for workflow in (train, check):
        with pytest.raises(BadInputError, match="there is no file"):
            workflow(file.with_name("absent.yaml"))


def test_every_workflow_can_bypass_the_cache(file, tmp_path):
    settings = SweepSettings(settings={"risk.max_holding_period": (5, 9)})
    trained = train(file, TrainingSettings(epochs=1), cache=NO_CACHE)
    backtest(trained.bundle, cache=NO_CACHE)
    sweep(trained.bundle, settings, cache=NO_CACHE)
    explain(trained.bundle, cache=NO_CACHE)
    check(file, cuts=2)
    place = tmp_path / "home" / "cache"
    assert not place.exists()
    kept = []
    for use in (
        lambda: train(file, TrainingSettings(epochs=1)),
        lambda: backtest(trained.bundle, BacktestSettings(end="2017-10-01")),
        lambda: sweep(trained.bundle, settings),
        lambda: explain(trained.bundle),
    ):
        use()
        kept.append(len(list(place.glob("*.arrays"))))
    # RSI on the bars of each, with the rows and the matrix of the training; an explanation reads what a sweep read.
    assert kept == [3, 4, 5, 5]
