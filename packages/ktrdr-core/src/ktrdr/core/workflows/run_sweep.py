"""Carry out a sweep in this process."""

from __future__ import annotations

import time
from typing import Any

from ktrdr.core.data.bar_store import default_store
from ktrdr.core.jobs.kinds import SweepJob
from ktrdr.core.models.model_store import default_model_store
from ktrdr.core.plugins.manager import default_manager
from ktrdr.core.sweeps.grid import check_sweep, prepare_sweep, run_trial, sweep_result, trials_of
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress, ProgressEvent
from ktrdr.core.work.steps import Steps

__all__ = ["run_sweep_job"]

_SECONDS_BETWEEN_REPORTS = 0.1


def run_sweep_job(
    job: SweepJob, *, progress: Progress = NO_PROGRESS, cancellation: Cancellation | None = None
) -> dict[str, Any]:
    """Run every trial in this process, on the stores below ``KTRDR_HOME``; writes nothing.

    Returns:
        :func:`~ktrdr.core.sweeps.grid.sweep_result`.

    Raises:
        BadInputError: the model, the data or a setting does not allow it; nothing was tried.
        CancelledError: on request.
    """
    cancellation = cancellation if cancellation is not None else Cancellation()
    bundle, steps = default_model_store().get(job.model), Steps(progress, cancellation)
    check_sweep(job, bundle)
    sweep = prepare_sweep(job, bundle, bar_store=default_store(), plugins=default_manager(), steps=steps)
    trials, found, last = trials_of(job), [], 0.0
    for number, changes in enumerate(trials):
        cancellation.raise_if_requested()
        if time.monotonic() - last >= _SECONDS_BETWEEN_REPORTS:
            last = time.monotonic()
            progress(ProgressEvent("backtests", number, len(trials), "backtests", number / len(trials)))
        found.append(run_trial(sweep, changes))
    progress(ProgressEvent("backtests", len(trials), len(trials), "backtests", 1.0))
    return sweep_result(job, sweep.facts, found)
