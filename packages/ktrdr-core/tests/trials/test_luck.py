"""How often luck passes, and how often an edge does: the best of fifty settings on random walks and on planted ones.

The table in docs/explanation/fooling-yourself.md is what `KTRDR_WALKS=200 pytest -s --timeout 0` prints of this file.
"""

from __future__ import annotations

import dataclasses
import math
import os

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binomtest

from ktrdr.core.backtesting.symbol_input import SymbolInput
from ktrdr.core.cache.array_cache import NO_CACHE
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.sample import install_sample
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.jobs.job_settings import SweepSettings
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.sweeps.grid import prepare_sweep, rank, run_trial, trials_of
from ktrdr.core.trials.daily_returns import day_ends
from ktrdr.core.trials.look import Span
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS
from ktrdr.core.work.steps import Steps
from ktrdr.core.workflows.run_training import train

WALKS = int(os.environ.get("KTRDR_WALKS", "40"))
HOURS_PER_YEAR = 8760
YEARS = 3
PASSES = 0.95
PLANTED = 4.0

STRATEGY = """\
name: walker
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: single, timeframe: 1h}
  date_range: {start: 2017-01-01, end: 2017-06-30}
indicators: {rsi_14: {type: rsi, period: 14}}
fuzzy_sets:
  rsi: {indicator: rsi_14, low: [0, 25, 45], middle: [30, 50, 70], high: [55, 75, 100]}
nn_inputs: [{fuzzy_set: rsi, timeframes: all}]
model: {type: softmax_regression}
decisions: {allow_short_from_flat: true, filters: {min_signal_separation: 1}}
training:
  labels: {source: direction, horizon: 4, threshold: 0.0005}
  epochs: 2
"""
FIFTY = SweepSettings(
    settings={
        "decisions.confidence_threshold": (0.35, 0.4, 0.45, 0.5, 0.55),
        "risk.stop_loss.atr": (4, 6, 10, 15, 25),
        "risk.take_profit.atr": (20, 30),
    }
)


@pytest.fixture
def prepared(tmp_path, example_plugins):
    """A sweep of fifty settings of a real model; its bars and what the model said of them are replaced walk by walk."""
    bars, models = BarStore(tmp_path / "data"), ModelStore(tmp_path / "models")
    install_sample(bars)
    trained = train(
        load_strategy_text(STRATEGY, plugins=example_plugins),
        bar_store=bars,
        model_store=models,
        plugins=example_plugins,
        trials=TrialLedger(SQLiteDatabase(tmp_path / "training.sqlite")),
        checkpoint_root=tmp_path / "checkpoints",
        cache=NO_CACHE,
    )
    steps = Steps(NO_PROGRESS, Cancellation())
    assert len(trials_of(FIFTY)) == 50
    return prepare_sweep(FIFTY, trained.bundle, bar_store=bars, plugins=example_plugins, steps=steps)


def walk(seed: int, sharpe: float) -> tuple[Bars, np.ndarray]:
    """Return hourly bars, and outputs of a model that is sure of what it says.

    Whoever held what the model says, one bar after the other, would have a Sharpe ratio of ``sharpe`` in the long run,
    before costs: each return is shifted by that much in the direction of what was said at the close before.
    """
    random = np.random.default_rng(seed)
    n = YEARS * HOURS_PER_YEAR
    said = lfilter([1.0], [1.0, -0.98], random.normal(0, math.sqrt(1 - 0.98**2), n))
    returns = 0.003 * (random.normal(size=n) + sharpe / math.sqrt(HOURS_PER_YEAR) * np.sign(np.roll(said, 1)))
    close = 100 * np.exp(np.cumsum(returns))
    opened = np.concatenate(([100.0], close[:-1]))
    reach = np.abs(random.normal(0, 0.001, (2, n)))
    bars = Bars(
        "BTCUSD",
        Timeframe("1h"),
        np.datetime64("2015-01-01", "ns") + np.arange(n) * np.timedelta64(1, "h"),
        opened,
        np.maximum(opened, close) * (1 + reach[0]),
        np.minimum(opened, close) * (1 - reach[1]),
        close,
        np.ones(n),
    )
    strength = np.exp(np.stack((said, np.full(n, -0.5), -said), axis=1))
    return bars, np.asfortranarray(strength / strength.sum(axis=1, keepdims=True))


def best_rows(prepared, ledger: TrialLedger, sharpe: float) -> list[dict[str, float]]:
    """Return the metrics of the best of the fifty, for each walk; each walk is a world of its own."""
    evidence = prepared.prepared.evidence[0]
    found = []
    for seed in range(WALKS):
        bars, outputs = walk(seed, sharpe)
        end = int(bars.close_time[-1].astype("datetime64[s]").astype(np.int64))
        span = Span(("BTCUSD",), int(bars.time[0].astype("datetime64[s]").astype(np.int64)), end, f"{sharpe} {seed}")
        own = dataclasses.replace(
            prepared,
            prepared=dataclasses.replace(
                prepared.prepared,
                inputs=(SymbolInput({"1h": bars}, 0),),
                evidence=(dataclasses.replace(evidence, outputs=outputs),),
            ),
            look=dataclasses.replace(prepared.look, span=span, data=f"walk {seed}"),
            day_ends=day_ends(bars.time),
        )
        cells = [run_trial(own, changes) for changes in trials_of(FIFTY)]
        count = ledger.judge([cell.look for cell in cells])
        assert count.known == 50
        found.append(rank(FIFTY, [cell.metrics for cell in cells], count)[0]["metrics"])
    return found


def _passing(name: str, rows: list[dict[str, float]]) -> float:
    """Print a line of the table; return the share that passes. Its interval holds 95 % (Clopper and Pearson)."""
    passed = sum(row["deflated_sharpe"] > PASSES for row in rows)
    alone = sum(row["probabilistic_sharpe"] > PASSES for row in rows)
    low, high = binomtest(passed, len(rows)).proportion_ci(0.95, "exact")
    print(
        f"| {name} | {len(rows)} | {np.median([row['sharpe'] for row in rows]):.2f} | {alone / len(rows):.1%} |"
        f" {passed / len(rows):.1%} ({low:.1%} to {high:.1%}) |"
    )
    return passed / len(rows)


@pytest.mark.slow
def test_the_best_of_fifty_on_a_random_walk_does_not_pass(prepared, tmp_path):
    rows = best_rows(prepared, TrialLedger(SQLiteDatabase(tmp_path / "trials.sqlite")), 0.0)
    assert _passing("random walk", rows) <= 0.05
    # It is the count that stops them: each alone would pass more often than it should.
    assert np.mean([row["probabilistic_sharpe"] > PASSES for row in rows]) > 0.05


@pytest.mark.slow
def test_an_edge_passes(prepared, tmp_path):
    rows = best_rows(prepared, TrialLedger(SQLiteDatabase(tmp_path / "trials.sqlite")), PLANTED)
    assert _passing("planted Sharpe ratio of 4", rows) >= 0.8
