"""A real backend for tests of core (the example one, which needs numpy alone), a ledger of trials, and a home."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.sample import install_sample
from ktrdr.core.plugins import manager
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger

_EXAMPLE = Path(__file__).parents[3] / "examples" / "ktrdr-ml-example" / "src"


_STRATEGY = """
name: {name}
training_data:
  symbols: {{mode: single, symbol: EURUSD}}
  timeframes: {{mode: single, timeframe: 1h}}
  date_range: {{start: 2017-01-01, end: 2017-03-31}}
indicators: {{rsi_14: {{type: rsi, period: 14}}}}
fuzzy_sets:
  rsi: {{indicator: rsi_14, low: [0, 25, 45], middle: [30, 50, 70], high: [55, 75, 100]}}
nn_inputs: [{{fuzzy_set: rsi, timeframes: all}}]
model: {{type: softmax_regression}}
decisions: {{confidence_threshold: {threshold}}}
risk: {{stop_loss: {{atr: {stop}}}}}
training:
  labels: {{source: direction, horizon: 4, threshold: 0.0005}}
  data_split: {{train: 0.7, validation: 0.15, test: 0.15}}
  epochs: 3
  batch_size: 64
  learning_rate: 0.5
  seed: 1
"""


@pytest.fixture
def ledger(tmp_path: Path) -> TrialLedger:
    """A ledger of trials of the test's own: tests that shared one would count each other."""
    return TrialLedger(SQLiteDatabase(tmp_path / "trials.sqlite"))


@pytest.fixture
def example_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginManager]:
    """The example backend, installed as far as discovery can tell."""
    site = tmp_path / "site"
    info = site / "ktrdr_ml_example-1.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ktrdr-ml-example\nVersion: 1.0.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[ktrdr.plugins]\nexample = ktrdr_ml_example.hooks\n", encoding="utf-8")
    monkeypatch.syspath_prepend(_EXAMPLE)
    yield PluginManager(path=[str(site)], environ={})
    for name in [name for name in sys.modules if name.split(".")[0] == "ktrdr_ml_example"]:
        del sys.modules[name]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example_plugins: PluginManager) -> Path:
    """A ``KTRDR_HOME`` with a year of hourly EURUSD."""
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(manager, "default_manager", lambda: example_plugins)
    install_sample(default_store())
    return tmp_path / "home"


@pytest.fixture
def write_strategy(tmp_path: Path) -> Callable[..., Path]:
    """Return ``write_strategy(name, threshold=..., stop=...)``: a file with these settings."""

    def write(name: str, *, threshold: float = 0.34, stop: float = 3.0) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(_STRATEGY.format(name=name, threshold=threshold, stop=stop), encoding="utf-8")
        return path

    return write
