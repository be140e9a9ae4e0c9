"""Checks of validity: faults of data and features with which no result means anything."""

from __future__ import annotations

from collections.abc import Mapping

from ktrdr.core.cache.array_cache import NO_CACHE, ArrayCache
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.resample import first_straddling
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.features.inputs import derived_timeframes
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.validation.evaluated_data import EvaluatedData, prepare_data
from ktrdr.core.validation.evaluation_setup import EvaluationSetup
from ktrdr.core.validation.fold_samples import fold_rows
from ktrdr.core.verdicts.bad_ticks import check_bad_ticks
from ktrdr.core.verdicts.foreign_inputs import check_foreign_inputs
from ktrdr.core.verdicts.jumps_and_gaps import check_jumps, check_missing_bars
from ktrdr.core.verdicts.look_ahead_check import check_look_ahead
from ktrdr.core.verdicts.next_bar import check_next_bar
from ktrdr.core.verdicts.shifted_bars import check_clocks, check_longer_bars
from ktrdr.core.verdicts.stale_and_copied import check_copied_bars, check_stale_prices
from ktrdr.core.verdicts.training_rows import check_label_overlap, check_normalizers
from ktrdr.core.verdicts.verdict_result import ValidityFinding
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress
from ktrdr.core.work.steps import Steps

__all__ = ["check_validity"]


def check_validity(
    setup: EvaluationSetup,
    *,
    bar_store: BarStore,
    cache: ArrayCache = NO_CACHE,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> tuple[ValidityFinding, ...]:
    """Check features, labels and bars before the reserve. No result out of sample is looked at.

    Args:
        setup: backend, bars and folds of the evaluation.
        bar_store: store of the bars, to know which timeframes are stored.
        cache: cache of features; look-ahead is checked without it.
        progress: receives an event for each step.
        cancellation: stops between two checks.

    Returns:
        One finding for each check, clean or not, always in the same order.

    Raises:
        BadInputError: a symbol has no features or no labels, or a fold has no samples.
        CancelledError: it was cancelled.
    """
    stop = cancellation if cancellation is not None else Cancellation()
    steps = Steps(progress, stop)
    timeframes = setup.pipeline.timeframes
    base = tuple(own[timeframes[0]] for own in setup.bars.values())
    derived = {symbol: _derived(bar_store, own) for symbol, own in setup.bars.items()}
    training = setup.strategy.training
    ahead = steps.run(
        "look-ahead", lambda: check_look_ahead(setup.pipeline, training.labels, setup.bars, derived, stop)
    )
    caches = {symbol: SymbolCache(cache, own) for symbol, own in setup.bars.items()}
    data = prepare_data(setup.pipeline, training, setup.bars, setup.window, caches, steps)
    horizon = max(own.look_ahead for own in data.labels.values())
    return (
        *ahead,
        steps.run("next bar", lambda: check_next_bar(data.matrices, data.base, horizon)),
        steps.run("foreign inputs", lambda: check_foreign_inputs(setup.strategy, setup.pipeline, setup.bars, stop)),
        steps.run("longer bars", lambda: check_longer_bars(setup.bars)),
        steps.run("clocks", lambda: check_clocks(base)),
        *steps.run("training parts", lambda: _check_parts(setup, data)),
        steps.run("jumps", lambda: check_jumps(base)),
        steps.run("missing bars", lambda: check_missing_bars(base)),
        steps.run("stale prices", lambda: check_stale_prices(base)),
        steps.run("copied bars", lambda: check_copied_bars(base)),
        steps.run("bad ticks", lambda: check_bad_ticks(base)),
    )


def _derived(bar_store: BarStore, bars: Mapping[str, Bars]) -> tuple[str, ...]:
    """Return the timeframes that can be resampled from a part of the base bars, as in live use."""
    base = next(iter(bars.values()))
    names = derived_timeframes(bar_store, base.symbol, tuple(bars))
    return tuple(name for name in names if first_straddling(base, Timeframe(name)) < 0)


def _check_parts(setup: EvaluationSetup, data: EvaluatedData) -> tuple[ValidityFinding, ValidityFinding]:
    plan = setup.plan
    rows = [fold_rows(plan, fold, setup.times, data.usable, setup.window) for fold in plan.folds]
    return (
        check_label_overlap(plan, rows, setup.times, data.labels, setup.window),
        check_normalizers(data, plan, rows),
    )
