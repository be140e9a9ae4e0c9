"""Evaluations by a real backend that needs only numpy, on a quarter of real hours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from ktrdr.core.cache.array_cache import NO_CACHE
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.sample import install_sample
from ktrdr.core.jobs.job_settings import EvaluationSettings
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import LoadedStrategy, load_strategy_text
from ktrdr.core.strategy.model import ValidationSection
from ktrdr.core.training.population import train_population
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.validation import evaluator
from ktrdr.core.validation.evaluation_parts import Evaluation
from ktrdr.core.workflows.run_evaluation import evaluate

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
decisions: {confidence_threshold: 0.34}
training:
  labels: {source: direction, horizon: 4, threshold: 0.0005}
  epochs: 3
  batch_size: 64
  learning_rate: 0.5
  seed: 3
"""


@pytest.fixture(scope="session")
def bar_store(tmp_path_factory: pytest.TempPathFactory) -> BarStore:
    """Holds the sample; not to be written to."""
    store = BarStore(tmp_path_factory.mktemp("sample"))
    install_sample(store)
    return store


@pytest.fixture
def load(example_plugins: PluginManager) -> Callable[..., LoadedStrategy]:
    """Return ``load(old, new, ..., validation={...})``: the strategy, with replacements in its text."""

    def make(*replacements: str, **validation: Any) -> LoadedStrategy:
        text = TEXT
        for old, new in zip(replacements[::2], replacements[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        loaded = load_strategy_text(text, plugins=example_plugins)
        if not validation:
            return loaded
        section = TypeAdapter(ValidationSection).validate_python(validation)
        return replace(loaded, strategy=loaded.strategy.model_copy(update={"validation": section}))

    return make


@pytest.fixture
def run(
    bar_store: BarStore, example_plugins: PluginManager, ledger: TrialLedger, tmp_path: Path
) -> Callable[..., Evaluation]:
    """Return ``run(loaded, seeds=2, **arguments)``: those of an evaluation, or of its settings."""

    def start(loaded: LoadedStrategy, **arguments: Any) -> Evaluation:
        asked = {name: arguments.pop(name) for name in EvaluationSettings.model_fields if name in arguments}
        places = {
            "bar_store": bar_store,
            "plugins": example_plugins,
            "trials": ledger,
            "checkpoint_root": tmp_path / "checkpoints",
            "cache": NO_CACHE,
        }
        return evaluate(loaded, EvaluationSettings(**{"seeds": 2, **asked}), **{**places, **arguments})

    return start


@pytest.fixture
def members(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list that the members of the next evaluation are put into."""
    found: list[Any] = []

    def capture(trainer: Any, model_type: Any, population: Any, **more: Any) -> Any:
        found.extend(population)
        return train_population(trainer, model_type, population, **more)

    monkeypatch.setattr(evaluator, "train_population", capture)
    return found
