"""A real backend for tests of core (the example one, which needs numpy alone), a ledger of trials, a home, and results
that are made up: evaluations and verdicts."""

from __future__ import annotations

import datetime as dt
import importlib
import math
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.backtesting.metrics import AccountCurve, account_metrics
from ktrdr.core.backtesting.metrics.sharpe import (
    deflated_probability,
    evidence_of,
    expected_maximum,
    sharpe_interval,
)
from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.sample import install_sample
from ktrdr.core.indicators.registry import default_registry
from ktrdr.core.limits import NULL_WORLDS, QUICK_WORLDS
from ktrdr.core.plugins import manager
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.choice import choice_hash
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
from ktrdr.core.verdicts.evidence import evidence_from
from ktrdr.core.verdicts.rule import rule
from ktrdr.core.verdicts.verdict_parts import MOST_POINTS, Verdict, VerdictCurves
from ktrdr.core.verdicts.verdict_result import (
    BreakEven,
    Deflation,
    Delay,
    LinearWorlds,
    NullWorlds,
    PermutedEntries,
    SuperiorAbility,
    ValidityFinding,
    VerdictFacts,
    Word,
)

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


_OWN_INDICATOR = """
from ktrdr.core.indicators.types import IndicatorType

def formula(columns, parameters):
    return ((columns["high"] - columns["low"]) / columns["close"] * {code},)

OWN = IndicatorType("own_share", "Range of the bar.", "own", ("share",), formula, lambda p: 0, ("high", "low", "close"))
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
def own_indicator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return ``own_indicator(code="1", version="1.2")``: installs ``own_share``, as a new process would find it.

    Its formula is the range of the bar relative to its close, times ``code``; other code replaces it.
    """
    site = tmp_path / "own"
    info = site / "own_indicators-1.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text("[ktrdr.indicators]\nown_share = own_indicators:OWN\n", encoding="utf-8")
    monkeypatch.syspath_prepend(site)
    # Two versions of a file within a second have the same compiled file.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def forget() -> None:
        sys.modules.pop("own_indicators", None)
        importlib.invalidate_caches()
        default_registry.cache_clear()

    def install(code: str = "1", version: str = "1.2") -> None:
        metadata = f"Metadata-Version: 2.1\nName: own-indicators\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        (site / "own_indicators.py").write_text(_OWN_INDICATOR.format(code=code), encoding="utf-8")
        forget()

    yield install
    forget()


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

    Six groups, of which two are tested; ``facts`` replace those of the evaluation. ``drift`` is the mean return of the
    accounts per hour.
    """
    text = _STRATEGY.format(name="made_up", threshold=0.34, stop=3)
    loaded = load_strategy_text(text, plugins=example_plugins)
    return partial(_made_up, loaded)


def _made_up(
    loaded: LoadedStrategy,
    *,
    seeds: int = 2,
    output: str = "classification",
    hours: int = 3000,
    drift: float = 2e-5,
    **facts: Any,
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
    moves = random.normal(drift, 1e-3, (len(plan.paths) * seeds, hours))
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


@pytest.fixture
def made_verdict(make_evaluation: Callable[..., Evaluation]) -> Callable[..., Verdict]:
    """Return ``made_verdict(word="EDGE", quick=False, **facts)``: a verdict on made-up accounts of two years of hours.

    The figures are computed from the accounts, and the rule decides: it says ``word``. INVALID has no evaluation.
    ``facts`` replace those of the verdict, such as ``linear=()``.
    """
    return partial(_made_verdict, make_evaluation)


_DRIFT: dict[Word, float] = {"EDGE": 3.5e-5, "NOT PROVEN": 1.1e-5, "NONE": -1e-5}
"""Mean return per hour of the accounts of a verdict."""


def _made_verdict(
    make_evaluation: Callable[..., Evaluation], word: Word = "EDGE", *, quick: bool = False, **facts: Any
) -> Verdict:
    count = QUICK_WORLDS if quick else NULL_WORLDS
    evaluation = make_evaluation(seeds=1 if quick else 2, hours=17_532, drift=_DRIFT.get(word, 0.0))
    judged = evaluation.facts
    findings = _findings(clean=word != "INVALID")
    given: dict[str, Any] = {
        "made": dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC),
        "hash": "12" * 32,
        "evidence_hash": "34" * 32,
        "strategy": judged.strategy,
        "choice": choice_hash(evaluation.strategy),
        "seeds": evaluation.facts.seeds,
        "quick": quick,
        "worlds": count,
        "symbols": judged.symbols,
        "timeframe": judged.timeframe,
        "data_fingerprint": judged.data_fingerprint,
        "account": judged.account,
        "validity": findings,
        "questions": (
            "Do the symbols include those that are no longer traded?",
            "Were these rules chosen after looking at a chart of these bars?",
            "Are the costs what your broker charges at the times of the trades?",
            "Could you have traded this size at these prices?",
            "How many strategies did you try elsewhere before this one?",
        ),
        "seconds": {"validity": 1.2, "worlds": 96.0, "evaluation": 24.5, "evidence": 3.4},
    }
    if word == "INVALID":
        ruling = rule(evidence_from(findings))
        evidence, curves = {}, None
    else:
        evidence, curves = _evidence(evaluation, count, quick)
        ruling = rule(evidence_from(findings, judged, evidence["nulls"], evidence["deflation"]))
        given["evaluation"] = judged
    given |= {name: getattr(ruling, name) for name in ("word", "sentence", "conditions", "reasons")}
    assert ruling.word == word
    return Verdict(
        facts=VerdictFacts.model_validate({**given, **evidence, **facts}),
        text=evaluation.text,
        curves=curves,
        strategy=evaluation.strategy,
        evaluation=None if word == "INVALID" else evaluation,
    )


def _findings(*, clean: bool) -> tuple[ValidityFinding, ...]:
    names = {
        "look_ahead": ("look-ahead", "At 12 cuts no feature and no label of EURUSD changed when later bars changed"),
        "one_bar_shift": ("inputs one bar later", "No input of EURUSD loses its correlation one bar later"),
        "splits": ("unadjusted splits", "EURUSD has no jump that looks like a split"),
        "missing_bars": ("missing bars", "EURUSD has 99.8% of the bars of its calendar"),
    }
    found = {
        name: ValidityFinding(check=name, title=own[0], clean=True, sentence=own[1]) for name, own in names.items()
    }
    if not clean:
        sentence = (
            "The input `rsi` of EURUSD at 2017-02-03 10:00 changes when later bars change; compute it from the past"
        )
        found["look_ahead"] = found["look_ahead"].model_copy(update={"clean": False, "sentence": sentence})
    return tuple(found.values())


def _evidence(evaluation: Evaluation, count: int, quick: bool) -> tuple[dict[str, Any], VerdictCurves]:
    random = np.random.default_rng(8)
    judged = evaluation.facts
    place = next(place for place, own in enumerate(judged.paths) if (own.path, own.seed) == judged.median_path)
    curve = AccountCurve(evaluation.curves.time, evaluation.curves.equity[place], 10_000.0, 8766.0)
    sharpe = judged.paths[place].metrics["sharpe"] or 0.0
    deviation = 1 / math.sqrt(len(curve.equity) / 8766)
    kinds = {"sign_flips": -0.2, "garch": -0.3, "random_phases": 0.5, "block_bootstrap": 0.4}
    ratios = {kind: tuple(random.normal(mean, deviation, count).tolist()) for kind, mean in kinds.items()}
    nulls = tuple(
        NullWorlds(
            family=kind,
            observed=sharpe,
            values=ratios[kind],
            p=(1 + sum(value >= sharpe for value in ratios[kind])) / (1 + count),
        )
        for kind in ("sign_flips", "garch")
    )
    linear = tuple(
        LinearWorlds(kind=kind, observed=sharpe, values=ratios[kind]) for kind in ("random_phases", "block_bootstrap")
    )
    shown = np.linspace(0, len(curve.equity) - 1, MOST_POINTS).astype(int)
    times = curve.time[shown]
    worlds = {
        kind: np.array([_equity(random, ratio, shown) for ratio in ratios[kind]])
        for kind in ratios
        if not quick or kind in ("sign_flips", "garch")
    }
    orders = random.normal(-0.4, deviation, 1000)
    costs = (0.0, 0.0001, 0.0002, 0.0004, 0.0008)
    evidence = {
        "nulls": nulls,
        "linear": () if quick else linear,
        "deflation": _deflation(curve),
        "superior_ability": SuperiorAbility(trials=3, days=731, lower=0.02, consistent=0.031, upper=0.04),
        "overfitting": None,
        "permuted_entries": PermutedEntries(
            observed=sharpe,
            permutations=1000,
            p=(1 + int((orders >= sharpe).sum())) / 1001,
            quantiles=tuple(np.quantile(orders, np.linspace(0, 1, 101)).tolist()),
        ),
        "break_even": BreakEven(
            paid=0.0002,
            cost=0.0002 + sharpe / 1e4 if sharpe > -1 else None,
            costs=costs,
            sharpe=tuple(sharpe - 5000 * (cost - 0.0002) for cost in costs),
        ),
        "delay": Delay(observed=sharpe, later=sharpe - 0.4),
        "notes": ("Overfitting is told from 4 trials on, and 3 are at hand.",),
    }
    return evidence, VerdictCurves(
        time=times,
        accounts=evaluation.curves.equity[:, shown] / 10_000,
        buy_and_hold=evaluation.curves.buy_and_hold[shown] / 10_000,
        observed=evaluation.curves.equity[: len(judged.seeds), shown] / 10_000,
        worlds=worlds,
    )


def _equity(random: np.random.Generator, sharpe: float, shown: np.ndarray) -> np.ndarray:
    """Return the equity of an account with about this annual Sharpe ratio, as a multiple of the capital."""
    years = np.diff(shown, prepend=0) / 8766
    moves = random.normal(0, 0.1, len(shown)) * np.sqrt(years)
    moves -= moves.mean()
    return np.exp(np.cumsum(moves + 0.1 * sharpe * years))


def _deflation(curve: AccountCurve, trials: int = 3) -> Deflation:
    found, bounds = evidence_of(curve.returns), sharpe_interval(curve.returns, 0, 0.9)
    assert found is not None
    assert bounds is not None
    best, years, root = found.deviation * expected_maximum(trials), len(curve.equity) / 8766, math.sqrt(8766)
    enough = (expected_maximum(trials) + 1.645) * found.deviation
    return Deflation(
        sharpe=found.ratio * root,
        low=bounds[0] * root,
        high=bounds[1] * root,
        years=years,
        trials=trials,
        other_trials=trials - 1,
        expected_best=best * root,
        probability=deflated_probability(found.ratio, found.deviation, trials, None),
        needed_years=years * (enough / found.ratio) ** 2 if found.ratio > 0 else None,
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
