"""The opened reserve: bars that no fold has touched, predicted and traded by trainings on all data before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ktrdr.core.backtesting.symbol_input import SymbolInput
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.validation.evaluated_data import EvaluatedData
from ktrdr.core.validation.evaluation_result import ReserveResult
from ktrdr.core.validation.evaluation_setup import EvaluationSetup
from ktrdr.core.validation.fold_metrics import Judge, outputs_at
from ktrdr.core.validation.fold_trainings import FoldTraining, TrainedFolds
from ktrdr.core.validation.judgement import Predictions, part_times
from ktrdr.core.validation.path_accounts import Traded, TradedPaths, inputs_of, trade_paths
from ktrdr.core.work.cancellation import Cancellation

__all__ = ["closed_reserve", "open_reserve", "reserve_inputs", "reserve_rows"]


def closed_reserve(setup: EvaluationSetup) -> ReserveResult | None:
    """Return the period of the reserve, nothing else is read of it; ``None`` without a reserve."""
    if setup.plan.reserve is None:
        return None
    rows = reserve_rows(setup)
    base = {symbol: next(iter(own.values())) for symbol, own in setup.stored.items()}
    time = np.unique(np.concatenate([base[symbol].time[own] for symbol, own in rows.items()]))
    return ReserveResult(
        period=part_times(time, (0, len(time)), setup.bar), bars=sum(len(own) for own in rows.values())
    )


def reserve_rows(setup: EvaluationSetup) -> dict[str, np.ndarray]:
    """Return the rows of the reserve's base bars, int64, by symbol; none without a reserve."""
    found = {}
    start = np.datetime64("NaT") if setup.plan.reserve is None else setup.plan.reserve
    for symbol, own in setup.stored.items():
        time = next(iter(own.values())).time
        found[symbol] = np.arange(int(np.searchsorted(time, start)), len(time))
    return found


def reserve_inputs(setup: EvaluationSetup) -> tuple[SymbolInput, ...]:
    """Return the bars of the reserve of each symbol, with those before as history.

    Raises:
        BadInputError: a symbol has no bar in the reserve.
    """
    bounds = {
        symbol: (int(own[0]), int(own[-1]) + 1) if len(own) else (0, 0) for symbol, own in reserve_rows(setup).items()
    }
    return inputs_of(setup.stored, bounds, "reserve")


def open_reserve(
    setup: EvaluationSetup,
    whole: EvaluatedData,
    fold: FoldTraining,
    trained: TrainedFolds,
    predictions: Predictions,
    place: int,
    *,
    inputs: tuple[SymbolInput, ...],
    settings: BacktestSettings,
    each: Callable[[str, str, Sequence[tuple[int, int]]], Iterator[tuple[int, int]]],
    cancellation: Cancellation,
) -> tuple[ReserveResult, TradedPaths]:
    """Judge and trade the predictions of the reserve.

    Args:
        setup: bars, task and folds.
        whole: features and labels of all bars, with those of the reserve.
        fold: the training before the reserve.
        trained: models of all folds and seeds.
        predictions: of all folds and seeds.
        place: position of the training before the reserve among the folds.
        inputs: bars of the reserve of each symbol, and those before.
        settings: capital and costs.
        each: yields the accounts, and reports the progress.
        cancellation: stops the simulation on request.

    Returns:
        The result without its number of openings, and the accounts.
    """
    closed = closed_reserve(setup)
    assert closed is not None  # a reserve is opened
    rows = reserve_rows(setup)
    seeds = trained.seeds
    accounts = trade_paths(
        Traded(setup.strategy, inputs, settings),
        each("reserve", "accounts", [(1, seed) for seed in seeds]),
        lambda _, seed: [own.outputs for own in predictions[place, seeds.index(seed)].values()],
        majority=None,
        cancellation=cancellation,
    )
    times = {symbol: bars.time for symbol, bars in whole.base.items()}
    timeline = np.unique(np.concatenate(list(times.values())))
    judge = Judge(setup.task.classes, whole.labels, times, timeline, setup.plan.look_ahead)
    judged = {symbol: own[:0] for symbol, own in rows.items()}
    for symbol, own in rows.items():
        if len(fold.rows.train[symbol]):
            # Of the last bars, only those labels are known that were settled early: the ones of fast moves.
            known = own[own < len(whole.base[symbol]) - setup.plan.look_ahead]
            judged[symbol] = known[whole.usable[symbol][known]]
    metrics = {}
    if any(len(own) for own in judged.values()):
        samples = judge.samples(judged)
        outputs = [outputs_at(judged, predictions[place, seed]) for seed in range(len(seeds))]
        metrics = judge.intervals(samples, outputs)
    return (
        closed.model_copy(
            update={"seeds": accounts.results, "metrics": metrics, "buy_and_hold": dict(accounts.buy_and_hold)}
        ),
        accounts,
    )
