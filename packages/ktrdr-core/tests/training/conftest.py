"""Real data in stores of their own, strategies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.sample import install_sample
from ktrdr.core.jobs.job_settings import TrainingSettings
from ktrdr.core.jobs.refusals import read_settings
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import LoadedStrategy, load_strategy_text
from ktrdr.core.training.executor import TrainingExecutor
from ktrdr.core.trials.trial_ledger import TrialLedger

_STOCKS = Path(__file__).parents[1] / "data" / "files" / "US_stocks_1d_2000_2013.csv.gz"

TEXT = """
name: waves
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: single, timeframe: 1h}
  date_range: {start: 2017-01-01, end: 2017-03-31}
indicators:
  rsi_14: {type: rsi, period: 14}
  roc_5: {type: roc, period: 5}
fuzzy_sets:
  rsi:
    indicator: rsi_14
    low: [0, 25, 45]
    middle: [30, 50, 70]
    high: [55, 75, 100]
nn_inputs:
  - {fuzzy_set: rsi, timeframes: all, lags: [1]}
  - {raw_indicator: roc_5, timeframes: all}
model: {type: softmax_regression}
decisions: {confidence_threshold: 0.4}
training:
  labels: {source: direction, horizon: 4, threshold: 0.0005}
  epochs: 6
  batch_size: 64
  learning_rate: 0.5
  seed: 3
"""

STOCKS_TEXT = (
    TEXT.replace("{mode: single, symbol: EURUSD}", "{mode: multi_symbol, list: [AAPL, FB]}")
    .replace("timeframe: 1h", "timeframe: 1d")
    .replace("  date_range: {start: 2017-01-01, end: 2017-03-31}\n", "")
    .replace("threshold: 0.0005", "threshold: 0.01")
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def bar_store(tmp_path_factory: pytest.TempPathFactory) -> BarStore:
    """Holds the sample; not to be written to."""
    store = BarStore(tmp_path_factory.mktemp("sample"))
    install_sample(store)
    return store


@pytest.fixture(scope="session")
def stock_store(tmp_path_factory: pytest.TempPathFactory) -> BarStore:
    """Holds daily bars of AAPL (3,270) and FB (196); not to be written to."""
    frame = pd.read_csv(_STOCKS, index_col="Date", parse_dates=True).rename(columns=str.lower)
    store = BarStore(tmp_path_factory.mktemp("stocks"))
    for symbol in ("AAPL", "FB"):
        store.write(Bars.from_frame(symbol, "1d", frame[frame["ticker"] == symbol].sort_index()))
    return store


@pytest.fixture
def model_store(home: Path) -> ModelStore:
    return ModelStore(home / "models")


@pytest.fixture
def load(example_plugins: PluginManager) -> Callable[..., LoadedStrategy]:
    """Return ``load(old, new, ...)``: the strategy, with replacements in its text."""

    def run(*replacements: str, text: str = TEXT) -> LoadedStrategy:
        for old, new in zip(replacements[::2], replacements[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        return load_strategy_text(text, plugins=example_plugins)

    return run


@pytest.fixture
def load_stocks(load: Callable[..., LoadedStrategy]) -> Callable[..., LoadedStrategy]:
    """As ``load``, of two stocks of different length."""
    return lambda *replacements: load(*replacements, text=STOCKS_TEXT)


@pytest.fixture
def make_executor(
    bar_store: BarStore,
    model_store: ModelStore,
    example_plugins: PluginManager,
    ledger: TrialLedger,
    load: Callable[..., LoadedStrategy],
) -> Callable[..., TrainingExecutor]:
    """Return ``make(loaded, **arguments)``, those of the executor or of its settings, on the sample."""

    def make(loaded: LoadedStrategy | None = None, **arguments: Any) -> TrainingExecutor:
        loaded = loaded if loaded is not None else load()
        places = {"bar_store": bar_store, "model_store": model_store, "plugins": example_plugins, "trials": ledger}
        asked = {name: arguments.pop(name) for name in TrainingSettings.model_fields if name in arguments}
        settings = read_settings(TrainingSettings, asked)
        return TrainingExecutor(loaded.strategy, text=loaded.text, settings=settings, **{**places, **arguments})

    return make
