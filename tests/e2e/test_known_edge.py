"""The shipped strategy finds what is there: nothing in EURUSD 2017, the edge of the market that has one."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ktrdr.core.backtesting.prepare import prepare_backtest
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.labels.make import make_labels
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.synthetic.known_edge import KNOWN_EDGE_SYMBOL, install_known_edge
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.core.work.steps import Steps
from ktrdr.core.workflows.run_backtest import backtest

COSTS = {"commission": 0.0001, "slippage": 0.0001}


@pytest.fixture(scope="module")
def market(shared_home):
    """The store of the shared home, with the shipped market."""
    store = BarStore(shared_home / "data")
    install_known_edge(store)
    return store


@pytest.fixture
def traded(market, plugins, tmp_path):
    """Return ``traded(bundle)``: its backtest on all bars after its training, with costs of 0.02 % per side."""

    def run(bundle):
        return backtest(
            bundle,
            BacktestSettings(**COSTS),
            bar_store=market,
            model_store=ModelStore(tmp_path / "models"),
            plugins=plugins,
            trials=TrialLedger(SQLiteDatabase(tmp_path / "trials.sqlite")),
        )

    return run


def accuracy_after(bundle, market, plugins):
    """Accuracy and that of the better constant on all bars after the training."""
    steps = Steps(NO_PROGRESS, Cancellation())
    prepared = prepare_backtest(bundle, bar_store=market, plugins=plugins, settings=BacktestSettings(), steps=steps)
    (symbol,) = prepared.inputs
    labels = make_labels(bundle.manifest.strategy.training.labels, symbol.traded).values
    known = ~np.isnan(labels)
    true = labels[known].astype(int)
    return (prepared.outputs[0].argmax(axis=1)[known] == true).mean(), np.bincount(true).max() / len(true)


def test_the_known_edge_is_found_and_traded_with_profit_out_of_sample(
    train_text, market, traded, main_strategy, tmp_path
):
    bundle = train_text(main_strategy, tmp_path, symbols=(KNOWN_EDGE_SYMBOL,)).bundle
    judged = bundle.manifest.metrics["test"]
    assert judged["accuracy"] > 0.58
    assert judged["mcc"] > 0.18
    result = traded(bundle)
    assert result.world == bundle.manifest.data.world == result.look.span.world == "mean_reversion-7"
    assert result.symbols[0].bars == 10_968
    assert result.metrics["sharpe"] > 5
    assert result.metrics["total_return"] > 0.5
    assert not result.warnings


def test_nothing_is_found_in_real_prices(train_text, market, traded, main_strategy, tmp_path):
    bundle = train_text(main_strategy, tmp_path).bundle
    assert abs(bundle.manifest.metrics["test"]["mcc"]) < 0.1
    result = traded(bundle)
    assert result.world == ""
    assert result.metrics["sharpe"] < 1
    assert any("below its baselines" in warning for warning in result.warnings)


def test_a_week_of_hours_and_five_epochs(train_text, market, plugins, variant, tmp_path):
    """168 bars hold honest parts, and what is learned in five epochs is better than a coin.

    The test part of a week has too few bars to tell, so the same model is also judged on all that follow.
    """
    begun = time.monotonic()
    # Some 80 samples are five batches of 16: with batches of 64 five epochs would be ten steps.
    text = variant(training={"batch_size": 16, "learning_rate": 0.02})
    week = {"start": "2017-01-02", "end": "2017-01-08", "epochs": 5, "symbols": (KNOWN_EDGE_SYMBOL,)}
    result = train_text(text, tmp_path, **week)
    assert time.monotonic() - begun < 120
    samples = {part: own[KNOWN_EDGE_SYMBOL] for part, own in result.samples.items()}
    assert samples["train"] > 70
    assert min(samples["validation"], samples["test"]) >= 10
    metrics, baselines = result.bundle.manifest.metrics["test"], result.bundle.manifest.baselines["majority"]["test"]
    print(f"test part of the week: accuracy {metrics['accuracy']:.3f}, majority {baselines['accuracy']:.3f}, {samples}")
    accuracy, majority = accuracy_after(result.bundle, market, plugins)
    print(f"all bars after it: accuracy {accuracy:.4f}, majority {majority:.4f}")
    assert metrics["accuracy"] > 0.5
    assert accuracy > 0.55 > majority
