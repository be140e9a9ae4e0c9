"""Checks of validity: faults of data and features with which no result means anything."""

from __future__ import annotations

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.features.inputs import derived_timeframes
from ktrdr.core.validation.evaluation_setup import EvaluationSetup
from ktrdr.core.verdicts.jumps_and_gaps import check_jumps, check_missing_bars
from ktrdr.core.verdicts.look_ahead_check import check_look_ahead
from ktrdr.core.verdicts.verdict_result import ValidityFinding
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress
from ktrdr.core.work.steps import Steps

__all__ = ["check_validity"]


def check_validity(
    setup: EvaluationSetup,
    *,
    bar_store: BarStore,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> tuple[ValidityFinding, ...]:
    """Check features, labels and bars before the reserve. No result out of sample is looked at.

    Args:
        setup: backend, bars and folds of the evaluation.
        bar_store: store of the bars, to know which timeframes are stored.
        progress: receives an event for each step.
        cancellation: stops between two checks.

    Returns:
        One finding for each check, clean or not, always in the same order.

    Raises:
        BadInputError: a symbol has no features.
        CancelledError: it was cancelled.
    """
    stop = cancellation if cancellation is not None else Cancellation()
    steps = Steps(progress, stop)
    timeframes = setup.pipeline.timeframes
    base = tuple(own[timeframes[0]] for own in setup.bars.values())
    derived = {symbol: derived_timeframes(bar_store, symbol, timeframes) for symbol in setup.bars}
    labels = setup.strategy.training.labels
    return (
        *steps.run("look-ahead", lambda: check_look_ahead(setup.pipeline, labels, setup.bars, derived, stop)),
        steps.run("jumps", lambda: check_jumps(base)),
        steps.run("missing bars", lambda: check_missing_bars(base)),
    )
