"""A real backend for tests of core (the example one, which needs numpy alone), a ledger of trials, and a home."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.backtesting.metrics import AccountCurve, account_metrics
from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.sample import install_sample
from ktrdr.core.plugins import manager
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import LoadedStrategy, load_strategy_text
from ktrdr.core.strategy.model import CpcvValidation
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.validation.evaluation_parts import Curves, Evaluation, OutOfSample
from ktrdr.core.validation.evaluation_result import (
    EvaluationFacts,
    FoldResult,
    Interval,
    PathResult,
    RegimeRow,
    SeedResult,
)
from ktrdr.core.validation.folds import plan_folds
from ktrdr.core.validation.judgement import part_times
from ktrdr.core.validation.spread import spread_over

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


@pytest.fixture
def make_evaluation(example_plugins: PluginManager) -> Callable[..., Evaluation]:
    """Return ``make_evaluation(seeds=2, output="classification", **facts)``: made-up accounts of hours of a walk.

    Six groups, of which two are tested; ``facts`` replace those of the evaluation.
    """
    text = _STRATEGY.format(name="made_up", threshold=0.34, stop=3)
    loaded = load_strategy_text(text, plugins=example_plugins)
    return partial(_made_up, loaded)


def _made_up(
    loaded: LoadedStrategy, *, seeds: int = 2, output: str = "classification", hours: int = 3000, **facts: Any
) -> Evaluation:
    random = np.random.default_rng(5)
    hour = np.timedelta64(1, "h")
    time = np.datetime64("2020-01-06", "ns") + np.arange(hours) * hour
    plan = plan_folds(CpcvValidation(), {"EURUSD": time}, look_ahead=8, embargo=0.01, bar=hour)
    scores = _scores(output)
    folds = tuple(
        FoldResult(
            fold=fold.number,
            **{
                part: tuple(part_times(time, each, hour) for each in getattr(fold, part))
                for part in ("train", "validation", "test")
            },
            samples={"train": 2000, "validation": 300, "test": 990},
            metrics=scores,
            seeds=tuple(SeedResult(seed=seed, best_epoch=3 + seed, metrics={"accuracy": 0.4}) for seed in range(seeds)),
            baselines=_BASELINE_SCORES[output],
        )
        for fold in plan.folds
    )
    close = 1.1 * np.exp(np.cumsum(random.normal(0, 1e-3, hours)))
    moves = random.normal(2e-5, 1e-3, (len(plan.paths) * seeds, hours))
    equity = 10_000 * np.cumprod(1 + moves, axis=1)
    held = 10_000 * close / close[0]
    members = [(path, seed) for path in range(1, len(plan.paths) + 1) for seed in range(seeds)]
    accounts = tuple(
        PathResult(path=path, seed=seed, metrics=_account_metrics(time, own) | {"trades": 40 + seed, "exposure": 0.6})
        for (path, seed), own in zip(members, equity, strict=True)
    )
    spread = {
        name: spread_over(own.metrics[name] for own in accounts) for name in ("sharpe", "annual_return", "trades")
    }
    ranked = sorted(accounts, key=lambda own: own.metrics["sharpe"])
    median = ranked[(len(ranked) - 1) // 2]
    whole = part_times(time, (0, hours), hour)
    given = {
        "strategy": "made_up",
        "model": "softmax_regression",
        "plugin": "example 1.0.0",
        "device": "cpu",
        "output": output,
        "validation": CpcvValidation(),
        "default_validation": True,
        "look_ahead": 8,
        "embargo": plan.embargo,
        "symbols": ("EURUSD",),
        "timeframe": "1h",
        "period": whole,
        "tested": whole,
        "bars": {"EURUSD": hours},
        "data_fingerprint": "ab" * 32,
        "seeds": tuple(range(seeds)),
        "account": {"capital": 10_000.0, "commission": 0.0002, "slippage": 0.0},
        "folds": folds,
        "metrics": scores,
        "baselines": _BASELINE_SCORES[output],
        "paths": accounts,
        "spread": {name: own for name, own in spread.items() if own is not None},
        "median_path": (median.path, median.seed),
        "buy_and_hold": _account_metrics(time, held),
        "regimes": (
            RegimeRow(
                regime="low volatility, rising",
                bars=1800,
                share=0.6,
                accuracy=0.41,
                majority=None if output == "regression" else 0.37,
                annual_return=0.05,
                sharpe=0.8,
                buy_and_hold=0.02,
            ),
        ),
        "best_epoch": 3,
        "trial_count": TrialCount(known=3, ledger="0123456789ab").to_json(),
        "warnings": ("the median account trades rarely",),
    }
    return Evaluation(
        facts=EvaluationFacts.model_validate({**given, **facts}),
        strategy=loaded.strategy,
        text=loaded.text,
        curves=Curves(time, equity, held, close),
        out_of_sample={"EURUSD": OutOfSample(time, random.dirichlet(np.ones(3), hours))},
    )


def _account_metrics(time: np.ndarray, equity: np.ndarray) -> dict[str, Any]:
    return account_metrics(AccountCurve(time, equity, 10_000.0, 8766.0), brief=True)


def _scores(output: str) -> dict[str, Interval]:
    shown = {
        "classification": {
            "accuracy": (0.412, 0.391, 0.434),
            "balanced_accuracy": (0.38, 0.36, 0.4),
            "macro_f1": (0.37, 0.35, 0.39),
            "mcc": (0.061, 0.024, 0.098),
            "log_loss": (1.071, 1.064, 1.079),
        },
        "regression": {
            "rmse": (0.00123, 0.00119, 0.00128),
            "mae": (0.00101, 0.00098, 0.00105),
            "r2": (0.004, -0.011, 0.019),
            "directional_accuracy": (0.517, 0.493, 0.54),
            "information_coefficient": (0.033, -0.021, 0.087),
        },
    }[output]
    return {name: Interval(value=value, low=low, high=high) for name, (value, low, high) in shown.items()}


_BASELINE_SCORES: dict[str, dict[str, dict[str, Any]]] = {
    "classification": {
        "majority": {
            "samples": 990,
            "accuracy": 0.372,
            "balanced_accuracy": 1 / 3,
            "macro_f1": 0.18,
            "mcc": 0.0,
            "log_loss": 1.093,
        },
        "last_value": {
            "samples": 990,
            "accuracy": 0.35,
            "balanced_accuracy": 0.34,
            "macro_f1": 0.34,
            "mcc": 0.01,
            "log_loss": 1.097,
        },
    },
    "regression": {
        "mean": {
            "samples": 990,
            "rmse": 0.00124,
            "mae": 0.00102,
            "r2": -0.001,
            "directional_accuracy": 0.5,
            "information_coefficient": 0.0,
        },
        "last_value": {
            "samples": 990,
            "rmse": 0.0017,
            "mae": 0.0014,
            "r2": -0.9,
            "directional_accuracy": 0.49,
            "information_coefficient": -0.01,
        },
    },
}
