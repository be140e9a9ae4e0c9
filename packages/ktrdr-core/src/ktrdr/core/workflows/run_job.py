"""Carry out a job of any kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ktrdr.core.jobs.kinds import BacktestJob, SweepJob, TrainingJob, parse_job
from ktrdr.core.work import NO_PROGRESS, Cancellation, Progress

__all__ = ["run_job"]


def run_job(
    kind: str,
    data: Mapping[str, Any],
    *,
    resume: bool = False,
    operation: str | None = None,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> dict[str, Any]:
    """Carry out a job against ``KTRDR_HOME`` and return its result as a JSON-ready map.

    ``operation`` is the id of the operation this is an attempt at: all its attempts leave one result. With ``resume`` a
    training goes on from its last checkpoint, if there is one. Raises what the work raises:
    :class:`~ktrdr.core.errors.KtrdrError` for what a person can mend.
    """
    job = parse_job(kind, data)
    cancellation = cancellation if cancellation is not None else Cancellation()
    if isinstance(job, TrainingJob):
        from ktrdr.core.workflows.run_training import run_training_job

        return run_training_job(job, resume=resume, operation=operation, progress=progress, cancellation=cancellation)
    if isinstance(job, SweepJob):
        from ktrdr.core.workflows.run_sweep import run_sweep_job

        return run_sweep_job(job, progress=progress, cancellation=cancellation)
    assert isinstance(job, BacktestJob)
    from ktrdr.core.workflows.run_backtest import run_backtest_job

    return run_backtest_job(job, progress=progress, cancellation=cancellation)
