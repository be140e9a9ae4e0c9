"""Verdicts on synthetic markets, and faults planted in bars, by a real backend that needs only numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.cache.array_cache import NO_CACHE
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.indicators import computation
from ktrdr.core.jobs import job_settings
from ktrdr.core.jobs.job_settings import VerdictSettings
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import LoadedStrategy, load_strategy_text
from ktrdr.core.strategy.model import DateRange
from ktrdr.core.synthetic.market import market_bars, synthetic_market
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.validation.evaluation_setup import EvaluationSetup, set_up
from ktrdr.core.verdicts.validity import check_validity
from ktrdr.core.verdicts.verdict_parts import Verdict
from ktrdr.core.verdicts.verdict_result import ValidityFinding
from ktrdr.core.verdicts.verdict_setup import VerdictSetup, set_up_verdict
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS
from ktrdr.core.work.steps import Steps
from ktrdr.core.workflows.run_verdict import judge

_TEXT = """
name: judged
training_data:
  symbols: {mode: multi_symbol, list: [SYMBOLS]}
  timeframes: {mode: multi_timeframe, list: [TIMEFRAMES], base_timeframe: BASE}
indicators:
  rsi_14: {type: rsi, period: 14}
  roc_5: {type: roc, period: 5}
fuzzy_sets:
  rsi: {indicator: rsi_14, low: [0, 25, 45], middle: [30, 50, 70], high: [55, 75, 100]}
nn_inputs:
  - {fuzzy_set: rsi, timeframes: all, lags: [1]}
  - {raw_indicator: roc_5, timeframes: all}
model: {type: softmax_regression}
decisions: {confidence_threshold: 0.34}
training:
  labels: {source: direction, horizon: 4, threshold: 0.0005}
  epochs: 3
  seed: 3
"""


@pytest.fixture(scope="session")
def market() -> Callable[..., Bars]:
    """Return ``market(process="walk", bars=2000, symbol="EURUSD", timeframe="1h", seed=7)``: bars without a fault."""

    def make(
        process: str = "walk", bars: int = 2000, *, symbol: str = "EURUSD", timeframe: str = "1h", seed: int = 7
    ) -> Bars:
        made = synthetic_market(process, seed)
        start = np.datetime64("2018-01-01", "ns")
        # As a user imports them: without a recipe.
        return replace(market_bars(made, symbol, Timeframe(timeframe), start, bars), world="", calendar="24/7")

    return make


@pytest.fixture
def set_up_on(tmp_path: Path, example_plugins: PluginManager) -> Callable[..., tuple[EvaluationSetup, BarStore]]:
    """Return ``set_up_on(bars, ..., timeframes=("1h",), replacing={...})``: an evaluation of a strategy on stored bars.

    ``replacing`` are replacements in the text of the strategy.
    """

    def make(
        *series: Bars, timeframes: tuple[str, ...] = (), replacing: Mapping[str, str] | None = None
    ) -> tuple[EvaluationSetup, BarStore]:
        store = BarStore(tmp_path / "data")
        for bars in series:
            store.write(bars)
        base = series[0].timeframe.name
        text = _TEXT.replace("SYMBOLS", ", ".join(dict.fromkeys(bars.symbol for bars in series)))
        text = text.replace("TIMEFRAMES", ", ".join(timeframes or (base,))).replace("BASE", base)
        for old, new in (replacing or {}).items():
            assert old in text
            text = text.replace(old, new)
        strategy = load_strategy_text(text, plugins=example_plugins).strategy
        steps = Steps(NO_PROGRESS, Cancellation())
        setup = set_up(strategy, DateRange(), bar_store=store, plugins=example_plugins, device="cpu", steps=steps)
        return setup, store

    return make


@pytest.fixture
def validity_on(
    set_up_on: Callable[..., tuple[EvaluationSetup, BarStore]],
) -> Callable[..., dict[str, ValidityFinding]]:
    """Return ``validity_on(bars, ...)``, with the arguments of ``set_up_on``: the findings by name of the check."""

    def check(*series: Bars, **arguments: Any) -> dict[str, ValidityFinding]:
        setup, store = set_up_on(*series, **arguments)
        return {finding.check: finding for finding in check_validity(setup, bar_store=store)}

    return check


@pytest.fixture
def faults_on(validity_on: Callable[..., dict[str, ValidityFinding]]) -> Callable[..., dict[str, str]]:
    """Return ``faults_on(bars, ...)``: the sentences of the findings that are not clean, by name of the check."""

    def check(*series: Bars, **arguments: Any) -> dict[str, str]:
        found = validity_on(*series, **arguments)
        return {name: finding.sentence for name, finding in found.items() if not finding.clean}

    return check


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return ``plant(function, kind="rsi")``: indicators of this type become those of a user.

    ``function`` gets the bars and the honest values, and returns values.
    """

    def replace_indicator(function: Callable[[Bars, np.ndarray], np.ndarray], kind: str = "rsi") -> None:
        honest = computation.compute_indicator

        def computed(type_name: str, parameters: Mapping[str, Any], bars: Bars) -> dict[str, np.ndarray]:
            values = honest(type_name, parameters, bars)
            if type_name != kind:
                return values
            return {name: function(bars, column) for name, column in values.items()}

        monkeypatch.setattr(computation, "compute_indicator", computed)

    return replace_indicator


TEXT = """
name: waves
training_data:
  symbols: {mode: single, symbol: MEAN}
  timeframes: {mode: single, timeframe: 1h}
indicators:
  rsi_3: {type: rsi, period: 3}
fuzzy_sets:
  rsi:
    indicator: rsi_3
    low: [0, 10, 45]
    middle: [30, 50, 70]
    high: [55, 90, 100]
nn_inputs:
  - {fuzzy_set: rsi, timeframes: all, lags: [1]}
model: {type: softmax_regression}
decisions: {confidence_threshold: 0.51}
training:
  labels: {source: direction, horizon: 2}
  epochs: 8
  batch_size: 64
  learning_rate: 0.5
  seed: 3
risk:
  sizing: {type: fixed_fraction, fraction: 0.95}
  max_holding_period: 4
validation: {type: cpcv, groups: 4, test_groups: 2}
"""

MARKETS = {"MEAN": ("mean_reversion", {"reversion": 0.5, "noise": 0.002}), "WALK": ("walk", {})}
START = np.datetime64("2017-01-02", "ns")


@pytest.fixture(scope="session")
def markets(tmp_path_factory: pytest.TempPathFactory) -> BarStore:
    """Holds 1,500 hours of two synthetic markets: MEAN has an edge, WALK has none. Not to be written to."""
    store = BarStore(tmp_path_factory.mktemp("markets"))
    for symbol, (process, parameters) in MARKETS.items():
        store.write(market_bars(synthetic_market(process, 5, parameters), symbol, Timeframe("1h"), START, 1500))
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
def asked(markets: BarStore, example_plugins: PluginManager) -> Callable[..., VerdictSetup]:
    """Return ``asked(loaded, bar_store=None, **settings)``: what a verdict is asked."""

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
    markets: BarStore,
    example_plugins: PluginManager,
    ledger: TrialLedger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Verdict]:
    """Return ``run(loaded, few=4, **arguments)``: the arguments are those of a verdict, or of its settings.

    By default it is quick, with costs, and has only a ``few`` worlds of each family: too few for an edge.
    """

    def start(loaded: LoadedStrategy, *, few: int = 4, **arguments: Any) -> Verdict:
        monkeypatch.setattr(job_settings, "QUICK_WORLDS", few)
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
