"""Verdicts by a real backend that needs only numpy, on synthetic markets whose edge is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.cache.array_cache import NO_CACHE
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.jobs.job_settings import VerdictSettings
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import LoadedStrategy, load_strategy_text
from ktrdr.core.synthetic.market import market_bars, synthetic_market
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.verdicts.verdict_parts import Verdict
from ktrdr.core.verdicts.verdict_setup import VerdictSetup, set_up_verdict
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS
from ktrdr.core.work.steps import Steps
from ktrdr.core.workflows.run_verdict import judge

TEXT = """
name: waves
training_data:
  symbols: {mode: single, symbol: MEAN}
  timeframes: {mode: single, timeframe: 1h}
indicators:
  rsi_14: {type: rsi, period: 14}
fuzzy_sets:
  rsi:
    indicator: rsi_14
    low: [0, 25, 45]
    middle: [30, 50, 70]
    high: [55, 75, 100]
nn_inputs:
  - {fuzzy_set: rsi, timeframes: all, lags: [1]}
model: {type: softmax_regression}
decisions: {confidence_threshold: 0.52}
training:
  labels: {source: direction, horizon: 4}
  epochs: 3
  batch_size: 256
  learning_rate: 0.5
  seed: 3
risk:
  sizing: {type: fixed_fraction, fraction: 0.95}
  max_holding_period: 8
validation: {type: cpcv, groups: 4, test_groups: 2}
"""

MARKETS = {"MEAN": "mean_reversion", "WALK": "walk"}
START = np.datetime64("2017-01-02", "ns")


@pytest.fixture(scope="session")
def markets(tmp_path_factory: pytest.TempPathFactory) -> BarStore:
    """Holds 1,500 hours of two synthetic markets: MEAN has an edge, WALK has none. Not to be written to."""
    store = BarStore(tmp_path_factory.mktemp("markets"))
    for symbol, process in MARKETS.items():
        store.write(market_bars(synthetic_market(process, 5), symbol, Timeframe("1h"), START, 1500))
    return store


@pytest.fixture
def load(example_plugins: PluginManager) -> Callable[..., LoadedStrategy]:
    """Return ``load(old, new, ...)``: the strategy, with replacements in its text."""

    def make(*replacements: str) -> LoadedStrategy:
        text = TEXT
        for old, new in zip(replacements[::2], replacements[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        return load_strategy_text(text, plugins=example_plugins)

    return make


@pytest.fixture
def set_up(markets: BarStore, example_plugins: PluginManager) -> Callable[..., VerdictSetup]:
    """Return ``set_up(loaded, bar_store=None, **settings)``: what a verdict is asked."""

    def make(loaded: LoadedStrategy, bar_store: BarStore | None = None, **settings: Any) -> VerdictSetup:
        return set_up_verdict(
            loaded.strategy,
            VerdictSettings(**{"commission": 0.00001, **settings}),
            bar_store=markets if bar_store is None else bar_store,
            plugins=example_plugins,
            steps=Steps(NO_PROGRESS, Cancellation()),
        )

    return make


@pytest.fixture
def run(
    markets: BarStore, example_plugins: PluginManager, ledger: TrialLedger, tmp_path: Path
) -> Callable[..., Verdict]:
    """Return ``run(loaded, **arguments)``: those of a verdict, or of its settings; quick and with costs by default."""

    def start(loaded: LoadedStrategy, **arguments: Any) -> Verdict:
        asked = {name: arguments.pop(name) for name in VerdictSettings.model_fields if name in arguments}
        places = {
            "bar_store": markets,
            "plugins": example_plugins,
            "trials": ledger,
            "checkpoint_root": tmp_path / "checkpoints",
            "cache": NO_CACHE,
        }
        settings = VerdictSettings(**{"quick": True, "commission": 0.00001, **asked})
        return judge(loaded, settings, **{**places, **arguments})

    return start
