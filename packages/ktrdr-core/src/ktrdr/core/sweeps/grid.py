"""Steps of a sweep: many backtests of one model that differ in `decisions` and `risk`.

Bars and predictions are prepared once; each backtest then takes a millisecond or two. Each cell is a trial. Metrics
that depend on the number of trials are computed when all trials are recorded. The interval of the Sharpe ratio needs
resampling, and is computed for the shown rows only.

A sweep runs these steps in one process (:mod:`~ktrdr.core.workflows.run_sweep`) or in chunks on the workers of a
cluster.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.backtesting.account import trade
from ktrdr.core.backtesting.account_facts import account_facts
from ktrdr.core.backtesting.backtest_look import KEPT_METRICS, backtest_look
from ktrdr.core.backtesting.metrics import METRICS, account_metrics, deflate, format_metric
from ktrdr.core.backtesting.metrics.sharpe import sharpe_interval
from ktrdr.core.backtesting.prepare import Prepared, prepare_backtest
from ktrdr.core.backtesting.summary import account_curve, trading_metrics
from ktrdr.core.backtesting.tables import time_text
from ktrdr.core.backtesting.trades import trade_table
from ktrdr.core.cache.array_cache import NO_CACHE, ArrayCache
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import MOST_TRIALS, BacktestSettings, SweepSettings
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.parameters import did_you_mean
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.short_texts import counted, first_words, object_repr
from ktrdr.core.strategy.choice import choice_of, hash_choice
from ktrdr.core.strategy.document import Scalar
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.strategy.read_risk import DISTANCES, warning_of_percent
from ktrdr.core.sweeps.candidates import CandidateStrategies
from ktrdr.core.trials.daily_returns import daily_returns, day_ends
from ktrdr.core.trials.look import Look
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.work.steps import Steps

__all__ = [
    "Cell",
    "PreparedSweep",
    "SweepResult",
    "check_sweep",
    "pack_cells",
    "prepare_sweep",
    "rank",
    "resample_trial",
    "run_trial",
    "sweep_result",
    "trials_of",
    "unpack_cells",
]

_METRICS = {
    info.name: info
    for info in METRICS
    if info.name
    in {
        "total_return", "annual_return", "volatility", "sharpe", "sharpe_low", "sharpe_high", "sharpe_error",
        "probabilistic_sharpe", "deflated_sharpe", "trials", "sortino", "calmar", "max_drawdown", "exposure", "trades",
        "win_rate", "profit_factor", "expectancy", "turnover", "costs", "net_profit", "final_equity",
    }
}  # fmt: skip
_RESAMPLED = ("sharpe_low", "sharpe_high")
_CELL_FIELDS = ("strategy", "changes", "metrics", "returns")


@dataclass(frozen=True, slots=True, eq=False)
class PreparedSweep:
    """Data that all cells of a sweep share.

    Attributes:
        settings: settings of each backtest.
        candidates: makes the strategy of each cell.
        prepared: model, bars and predictions.
        look: trial of the unchanged model; each cell replaces the fields in which it differs.
        choice: choices of the model's strategy; see :func:`~ktrdr.core.strategy.choice.choice_of`.
        cells: changed values of each cell: :func:`trials_of` the settings.
        day_ends: see :func:`~ktrdr.core.trials.daily_returns.day_ends`.
        facts: description of model and data for the result.
    """

    settings: BacktestSettings
    candidates: CandidateStrategies
    prepared: Prepared
    look: Look
    choice: Mapping[str, Any]
    cells: Sequence[Mapping[str, Scalar]]
    day_ends: tuple[np.ndarray, np.ndarray]
    facts: Mapping[str, Any]

    def __repr__(self) -> str:
        return object_repr(self, *_market(self.facts), counted(len(self.cells), "combination"))


@dataclass(frozen=True, slots=True)
class Cell:
    """One backtest of a sweep: its metrics, as those of a single trial, and its record for the ledger of trials."""

    metrics: Mapping[str, Any]
    look: Look

    def __repr__(self) -> str:
        return object_repr(self, *account_facts(self.metrics))


def trials_of(asked: SweepSettings) -> list[dict[str, Scalar]]:
    """Return every combination of the settings' values; the last setting changes fastest.

    Raises:
        BadInputError: there are too many combinations, or a setting has a value twice.
    """
    total = 1
    for name, values in asked.settings.items():
        if len({(type(value), value) for value in values}) < len(values):
            raise BadInputError(f"`{name}` has the same value twice; remove one of them")
        total *= len(values)
    if total > MOST_TRIALS:
        raise BadInputError(f"these are {total:,} combinations, and the limit is {MOST_TRIALS:,}; try fewer values")
    return [dict(zip(asked.settings, values, strict=True)) for values in itertools.product(*asked.settings.values())]


def check_sweep(asked: SweepSettings, bundle: Bundle) -> list[Strategy]:
    """Return the strategy of each trial, to find a mistake in any of them before the first one runs.

    Raises:
        BadInputError: a setting cannot be swept, or the sweep cannot be ordered by the metric.
    """
    if asked.metric in _RESAMPLED:
        raise BadInputError(
            f"a sweep cannot be ordered by `{asked.metric}`, which is resampled only for the rows that are shown; order"
            " it by sharpe"
        )
    if asked.metric not in _METRICS or not _METRICS[asked.metric].better:
        names = [name for name, info in _METRICS.items() if info.better and name not in _RESAMPLED]
        hint = did_you_mean(asked.metric, names) or f"; known: {', '.join(names)}"
        raise BadInputError(f"a sweep cannot be ordered by `{asked.metric}`{hint}")
    candidates = CandidateStrategies(bundle.manifest.strategy, bundle.strategy_text)
    return [candidates.strategy(changes) for changes in trials_of(asked)]


def prepare_sweep(
    asked: SweepSettings,
    bundle: Bundle,
    *,
    bar_store: BarStore,
    plugins: PluginManager,
    steps: Steps,
    cache: ArrayCache = NO_CACHE,
    operation: str | None = None,
) -> PreparedSweep:
    """Load bars and predict; raises as :func:`~ktrdr.core.backtesting.prepare.prepare_backtest`."""
    manifest = bundle.manifest
    settings = asked.backtest()
    prepared = prepare_backtest(
        bundle, bar_store=bar_store, plugins=plugins, settings=settings, cache=cache, steps=steps, sweep=True
    )
    # Column-major: every cell compares the columns.
    evidence = (dataclasses.replace(own, outputs=np.asfortranarray(own.outputs)) for own in prepared.evidence)
    prepared = dataclasses.replace(prepared, evidence=tuple(evidence))
    candidates = CandidateStrategies(manifest.strategy, bundle.strategy_text)
    traded = [symbol.traded for symbol in prepared.inputs]
    account = trade(manifest.strategy, prepared.inputs, prepared.outputs, settings)
    time = account.simulation.time
    curve = account_curve(account, settings)
    metrics = account_metrics(curve, brief=True)
    metrics |= trading_metrics(trade_table(account.simulation.trades, traded), curve, account)
    look = backtest_look(bundle, settings, prepared.inputs, account, metrics, operation)
    facts = {
        "model": manifest.ref,
        "symbols": [bars.symbol for bars in traded],
        "world": traded[0].world,
        "timeframe": manifest.strategy.training_data.base_timeframe,
        "start": time_text(time[:1])[0],
        # The close of the last bar, as in a backtest.
        "end": time_text(np.array([max(bars.end for bars in traded)]))[0],
        "period": prepared.period.statement,
        "inference": prepared.inference,
        "warnings": [*prepared.warnings, *_warnings(asked.settings)],
        "bars": sum(len(bars) for bars in traded),
        "data_fingerprint": look.data,
        "weights_hash": manifest.weights_hash,
    }
    return PreparedSweep(
        settings,
        candidates,
        prepared,
        dataclasses.replace(look, kind="sweep", parent=look.strategy),
        choice_of(manifest.strategy),
        trials_of(asked),
        day_ends(time),
        facts,
    )


def _market(facts: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return model, symbols with timeframe, and bars of a sweep as text."""
    return facts["model"], f"{first_words(facts['symbols'], 2)} {facts['timeframe']}", counted(facts["bars"], "bar")


def _warnings(settings: Mapping[str, Sequence[Scalar]]) -> list[str]:
    """Return the warnings that a strategy file with these values would get."""
    distances = {f"risk.{key}.percent" for key in DISTANCES}
    found = ((name, warning_of_percent(value)) for name in settings if name in distances for value in settings[name])
    return [f"{name}: {warning}" for name, warning in found if warning]


def run_trial(sweep: PreparedSweep, changes: Mapping[str, Scalar]) -> Cell:
    """Return one cell: the metrics of a backtest of the changed strategy, without resampled ones."""
    strategy, prepared, settings = sweep.candidates.strategy(changes), sweep.prepared, sweep.settings
    account = trade(strategy, prepared.inputs, prepared.outputs, settings)
    table = trade_table(account.simulation.trades, [symbol.traded for symbol in prepared.inputs])
    curve = account_curve(account, settings)
    metrics = account_metrics(curve, brief=True) | trading_metrics(table, curve, account)
    look = dataclasses.replace(
        sweep.look,
        strategy=hash_choice({**sweep.choice, **choice_of(strategy, only=("decisions", "risk"))}),
        changes=dict(changes),
        metrics={name: metrics[name] for name in KEPT_METRICS},
        returns=daily_returns(account.simulation.equity, settings.capital, sweep.day_ends),
        chosen_among=len(sweep.cells),
    )
    return Cell({name: metrics[name] for name in _METRICS}, look)


def resample_trial(sweep: PreparedSweep, changes: Mapping[str, Scalar]) -> dict[str, Any]:
    """Return the resampled metrics of one cell."""
    strategy, prepared, settings = sweep.candidates.strategy(changes), sweep.prepared, sweep.settings
    curve = account_curve(trade(strategy, prepared.inputs, prepared.outputs, settings), settings)
    interval = sharpe_interval(curve.returns, settings.seed)
    root = math.sqrt(curve.periods_per_year)
    return dict(
        zip(_RESAMPLED, (None, None) if interval is None else (bound * root for bound in interval), strict=True)
    )


def pack_cells(sweep: PreparedSweep, cells: Sequence[Cell]) -> dict[str, Any]:
    """Return cells of one sweep as a JSON-ready map, with their shared fields once."""
    return {
        "metrics": [dict(cell.metrics) for cell in cells],
        "look": dataclasses.replace(sweep.look, chosen_among=len(sweep.cells), returns=None).to_json(),
        "looks": [{name: whole[name] for name in _CELL_FIELDS} for whole in (cell.look.to_json() for cell in cells)],
    }


def unpack_cells(packed: Mapping[str, Any]) -> list[Cell]:
    """Return the cells that :func:`pack_cells` packed.

    Raises:
        BadInputError: ``packed`` is not from :func:`pack_cells`.
    """
    try:
        return [
            Cell(metrics, Look.from_json({**packed["look"], **own}))
            for metrics, own in zip(packed["metrics"], packed["looks"], strict=True)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(
            f"a worker sent the cells of a sweep in an unknown form ({error}); update the older of API and worker"
        ) from None


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Result of a sweep.

    Attributes:
        facts: description of the model and the bars; see :class:`PreparedSweep`.
        metric: metric that the rows are ordered by.
        resampled: number of leading rows that have an interval of the Sharpe ratio.
        trial_count: number of trials on these bars, including all cells.
        rows: one row per cell, the best first, with its number as ``trial``, its ``settings`` and its ``metrics``.
    """

    facts: Mapping[str, Any]
    metric: str
    resampled: int
    trial_count: TrialCount
    rows: tuple[Mapping[str, Any], ...]

    def __repr__(self) -> str:
        best = self.rows[0]["metrics"].get(self.metric) if self.rows else None
        shown = f"best {self.metric} {format_metric(self.metric, best)}"
        return object_repr(self, *_market(self.facts), counted(len(self.rows), "combination"), shown)

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON-ready map."""
        return {
            **self.facts,
            "metric": self.metric,
            "resampled": self.resampled,
            "trials": len(self.rows),
            "trial_count": self.trial_count.to_json(),
            "rows": [dict(row) for row in self.rows],
        }


def rank(asked: SweepSettings, metrics: Sequence[Mapping[str, Any]], count: TrialCount) -> list[dict[str, Any]]:
    """Return the rows of a sweep, the best by ``asked.metric`` first and rows without this metric last.

    Args:
        asked: settings of the sweep.
        metrics: metrics of each cell, in the order of :func:`trials_of`.
        count: number of trials, with all cells recorded.
    """
    sign = -1 if _METRICS[asked.metric].better == "higher" else 1
    rows = [
        {"trial": number, "settings": changes, "metrics": deflate(own, count.number, count.spread)}
        for number, (changes, own) in enumerate(zip(trials_of(asked), metrics, strict=True), start=1)
    ]

    def sort_key(row: Mapping[str, Any]) -> tuple[bool, float]:
        value = row["metrics"][asked.metric]
        return value is None, 0.0 if value is None else sign * value

    return sorted(rows, key=sort_key)


def sweep_result(
    asked: SweepSettings,
    facts: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    intervals: Sequence[Mapping[str, Any]],
    count: TrialCount,
) -> SweepResult:
    """Return the table of a sweep.

    Args:
        asked: settings of the sweep.
        facts: facts of :class:`PreparedSweep`.
        rows: rows of :func:`rank`.
        intervals: results of :func:`resample_trial` for the first rows.
        count: number of trials, with all cells recorded.
    """
    shown = [{**row, "metrics": {**row["metrics"], **interval}} for row, interval in zip(rows, intervals, strict=False)]
    return SweepResult(facts, asked.metric, len(shown), count, (*shown, *rows[len(shown) :]))
