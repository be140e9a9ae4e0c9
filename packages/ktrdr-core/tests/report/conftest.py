"""A backtest of a real small model on real bars, and a reader of pages."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ktrdr.core.backtesting.results import BacktestResult
from ktrdr.core.backtesting.run import run_backtest
from ktrdr.core.cache.array_cache import NO_CACHE
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.sample import install_sample
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.report import write_report
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.workflows.run_training import train as train_strategy

_EXAMPLE = Path(__file__).parents[4] / "examples" / "ktrdr-ml-example" / "src"

TEXT = """
name: waves
description: Two oscillators, read through fuzzy sets
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: multi_timeframe, list: [1h, 4h], base_timeframe: 1h}
  date_range: {start: 2017-01-01, end: 2017-08-31}
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
  - {fuzzy_set: rsi, timeframes: all}
  - {raw_indicator: roc_5, timeframes: [1h]}
model: {type: softmax_regression}
decisions: {confidence_threshold: 0.35, allow_short_from_flat: true}
training:
  labels: {source: direction, horizon: 4, threshold: 0.0005}
  epochs: 6
  batch_size: 64
  learning_rate: 0.5
  seed: 3
risk:
  sizing: {type: fixed_fraction, fraction: 0.95}
  stop_loss: {atr: 3}
"""


@dataclass
class Read(HTMLParser):
    """What a browser would make of a page: elements in order, text, scripts and styles."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    _inside: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
            getattr(self, f"{tag}s").append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            getattr(self, f"{self._inside}s")[-1] += data
        elif data.strip():
            self.text.append(data.strip())

    @property
    def figures(self) -> dict[str, Any]:
        return json.loads(self.scripts[0])["figures"]

    @property
    def timeline(self) -> list[str]:
        return json.loads(self.scripts[0])["timeline"]

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture(scope="session")
def read_page() -> Callable[[str], Read]:
    def read(html: str) -> Read:
        page = Read()
        page.feed(html)
        page.close()
        return page

    return read


@pytest.fixture(scope="session")
def result(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BacktestResult]:
    """EURUSD from September 2017, by a model trained on the months before."""
    site = tmp_path_factory.mktemp("site")
    info = site / "ktrdr_ml_example-1.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ktrdr-ml-example\nVersion: 1.0.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[ktrdr.plugins]\nexample = ktrdr_ml_example.hooks\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(_EXAMPLE)
        patch.syspath_prepend(site)
        plugins = PluginManager(path=[str(site)], environ={})
        store = BarStore(tmp_path_factory.mktemp("bars"))
        install_sample(store)
        loaded = load_strategy_text(TEXT, plugins=plugins)
        models = ModelStore(tmp_path_factory.mktemp("home") / "models")
        ledger = TrialLedger(SQLiteDatabase(models.root.parent / "trials.sqlite"))
        places = {"bar_store": store, "plugins": plugins, "trials": ledger}
        bundle = train_strategy(loaded, model_store=models, cache=NO_CACHE, **places).bundle
        yield run_backtest(bundle, **places, settings=BacktestSettings(commission=0.0001, slippage=0.0001))
    for name in [name for name in sys.modules if name.split(".")[0] == "ktrdr_ml_example"]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def html(result: BacktestResult, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert write_report(result, path) == path
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def page(html: str, read_page: Callable[[str], Read]) -> Read:
    return read_page(html)
