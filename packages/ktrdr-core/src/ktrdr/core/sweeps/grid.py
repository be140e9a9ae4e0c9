"""Many backtests of one model that differ in `decisions` and `risk`: prepared once, then a few milliseconds each.

The pieces here are what every way of running a sweep is made of: in this process
(:mod:`~ktrdr.core.workflows.run_sweep`), or in chunks on the workers of a cluster.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.backtesting.account import trade
from ktrdr.core.backtesting.benchmark import buy_and_hold
from ktrdr.core.backtesting.metrics import METRICS, account_metrics
from ktrdr.core.backtesting.prepare import Prepared, prepare_backtest
from ktrdr.core.backtesting.simulation import Costs
from ktrdr.core.backtesting.summary import account_curve, trading_metrics
from ktrdr.core.backtesting.tables import time_text
from ktrdr.core.backtesting.trades import trade_table
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.loading import fingerprint
from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import MOST_TRIALS, BacktestSettings, SweepSettings
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.parameters import did_you_mean
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.document import Scalar
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.sweeps.candidates import CandidateStrategies
from ktrdr.core.work.steps import Steps

__all__ = ["PreparedSweep", "SweepResult", "check_sweep", "prepare_sweep", "run_trial", "sweep_result", "trials_of"]

_METRICS = {
    info.name: info
    for info in METRICS
    if info.name
    in {
        "total_return", "annual_return", "volatility", "sharpe", "sharpe_low", "probabilistic_sharpe",
        "deflated_sharpe", "trials", "sortino", "calmar", "max_drawdown", "exposure", "trades", "win_rate",
        "profit_factor", "expectancy", "turnover", "costs", "net_profit", "final_equity",
    }
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class PreparedSweep:
    """What all trials of a sweep have in common.

    Attributes:
        settings: of each backtest; its ``trials`` are all those of the sweep, and the versions of the model before.
        candidates: strategies of the trials.
        prepared: model, bars, predictions.
        buy_and_hold_returns: float64 ``(n,)``, returns of buy and hold.
        facts: what the result says of model and data.
    """

    settings: BacktestSettings
    candidates: CandidateStrategies
    prepared: Prepared
    buy_and_hold_returns: np.ndarray
    facts: Mapping[str, Any]


def trials_of(asked: SweepSettings) -> list[dict[str, Scalar]]:
    """Return every combination of the settings' values, the last setting changing fastest.

    Raises:
        BadInputError: there are too many, or a setting has a value twice.
    """
    total = 1
    for name, values in asked.settings.items():
        if len({(type(value), value) for value in values}) < len(values):
            raise BadInputError(f"`{name}` has the same value twice")
        total *= len(values)
    if total > MOST_TRIALS:
        raise BadInputError(f"these are {total:,} combinations, and a sweep may have {MOST_TRIALS:,}; try fewer values")
    return [dict(zip(asked.settings, values, strict=True)) for values in itertools.product(*asked.settings.values())]


def check_sweep(asked: SweepSettings, bundle: Bundle) -> list[Strategy]:
    """Return the strategy of each trial, so that a mistake in the last is found before the first runs.

    Raises:
        BadInputError: a setting or the metric is not one that can be swept or ordered by.
    """
    if asked.metric not in _METRICS or not _METRICS[asked.metric].better:
        names = [name for name, info in _METRICS.items() if info.better]
        hint = did_you_mean(asked.metric, names) or f"; known: {', '.join(names)}"
        raise BadInputError(f"a sweep cannot be ordered by `{asked.metric}`{hint}")
    candidates = CandidateStrategies(bundle.manifest.strategy, bundle.strategy_text)
    return [candidates.strategy(changes) for changes in trials_of(asked)]


def prepare_sweep(
    asked: SweepSettings, bundle: Bundle, *, bar_store: BarStore, plugins: PluginManager, steps: Steps
) -> PreparedSweep:
    """Load and predict; see :func:`~ktrdr.core.backtesting.prepare.prepare_backtest`, whose errors this raises."""
    manifest = bundle.manifest
    # Every version is a strategy that was tried, and the last of them is tried once per trial here.
    settings = asked.backtest(trials=manifest.version - 1 + len(trials_of(asked)))
    prepared = prepare_backtest(bundle, bar_store=bar_store, plugins=plugins, settings=settings, steps=steps)
    candidates = CandidateStrategies(manifest.strategy, bundle.strategy_text)
    traded = [symbol.traded for symbol in prepared.inputs]
    account = trade(manifest.strategy, prepared.inputs, prepared.outputs, settings)
    costs = Costs(settings.commission, settings.slippage)
    time = account.simulation.time
    curve = account_curve(account, settings)
    equity = buy_and_hold(traded, time, settings.capital, costs)
    buy_and_hold_returns = type(curve)(time, equity, curve.capital, curve.periods_per_year).returns
    facts = {
        "model": manifest.ref,
        "symbols": [bars.symbol for bars in traded],
        "timeframe": manifest.strategy.training_data.base_timeframe,
        "start": time_text(time[:1])[0],
        "end": time_text(time[-1:])[0],
        "period": prepared.period.statement,
        "bars": sum(len(bars) for bars in traded),
        "data_fingerprint": fingerprint(traded),
        "weights_hash": manifest.weights_hash,
    }
    return PreparedSweep(settings, candidates, prepared, buy_and_hold_returns, facts)


def run_trial(sweep: PreparedSweep, changes: Mapping[str, Scalar]) -> dict[str, Any]:
    """Return the metrics of one trial: those that a backtest of the changed strategy comes to."""
    strategy, prepared, settings = sweep.candidates.strategy(changes), sweep.prepared, sweep.settings
    account = trade(strategy, prepared.inputs, prepared.outputs, settings)
    table = trade_table(account.simulation.trades, [symbol.traded for symbol in prepared.inputs])
    curve = account_curve(account, settings)
    metrics = account_metrics(
        curve, benchmark=sweep.buy_and_hold_returns, trials=settings.trials or 1, seed=settings.seed
    )
    metrics |= trading_metrics(table, curve, account)
    return {name: metrics[name] for name in _METRICS}


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep comes to.

    Attributes:
        facts: of the model and the bars; see :class:`PreparedSweep`.
        metric: the rows are ordered by.
        rows: one per trial, the best first: its number as ``trial``, its ``settings`` and its ``metrics``.
    """

    facts: Mapping[str, Any]
    metric: str
    rows: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready map."""
        return {**self.facts, "metric": self.metric, "trials": len(self.rows), "rows": [dict(row) for row in self.rows]}


def sweep_result(asked: SweepSettings, facts: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> SweepResult:
    """Return the table of a sweep, the best by ``asked.metric`` first; where that is not defined, last.

    Args:
        asked: what was carried out.
        facts: of :class:`PreparedSweep`.
        metrics: of each trial, in the order of :func:`trials_of`.
    """
    sign = -1 if _METRICS[asked.metric].better == "higher" else 1
    rows = [
        {"trial": number, "settings": changes, "metrics": dict(own)}
        for number, (changes, own) in enumerate(zip(trials_of(asked), metrics, strict=True), start=1)
    ]

    def place(row: Mapping[str, Any]) -> tuple[bool, float]:
        value = row["metrics"][asked.metric]
        return value is None, 0.0 if value is None else sign * value

    return SweepResult(facts, asked.metric, tuple(sorted(rows, key=place)))
