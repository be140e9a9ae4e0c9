"""Carry out a job, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ktrdr.core.jobs.job_settings import BacktestSettings, SweepSettings, TrainingSettings
from ktrdr.core.jobs.kinds import BacktestJob, SweepJob, TrainingJob, parse_job
from ktrdr.core.trials.look import LOOKS, Look
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress

__all__ = ["run_job"]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What an attempt at a job has beside the job."""

    resume: bool
    operation: str | None
    progress: Progress
    cancellation: Cancellation


def run_job(
    kind: str,
    data: Mapping[str, Any],
    *,
    resume: bool = False,
    operation: str | None = None,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> dict[str, Any]:
    """Carry out a job against ``KTRDR_HOME``.

    Args:
        kind: of the job.
        data: the job.
        resume: a training goes on from the last checkpoint of an earlier attempt; where there is none, it begins.
        operation: id of the operation this is an attempt at: all its attempts leave one result.
        progress: receives reports of each step.
        cancellation: stops it.

    Returns:
        The result as a JSON-ready map, the :data:`LOOKS` that were taken among it. That of a backtest has the ``run``
        as commands take it, and the ``directory`` of its files.

    Raises:
        BadInputError: it is no job, or the model, the data or a setting does not allow it.
        CancelledError: on request.
    """
    attempt = _Attempt(resume, operation, progress, cancellation if cancellation is not None else Cancellation())
    job = parse_job(kind, data)
    return _RUNNERS[type(job)](job, attempt)


# What another kind needs is not imported.


def _train(job: TrainingJob, attempt: _Attempt) -> dict[str, Any]:
    from ktrdr.core.strategy.loader import load_strategy_text
    from ktrdr.core.training.result import TrainingResult
    from ktrdr.core.training.run_checkpoint import NothingToResumeError
    from ktrdr.core.workflows.places import plugins_or_all
    from ktrdr.core.workflows.run_training import train

    plugins = plugins_or_all(None)
    loaded = load_strategy_text(job.strategy, plugins=plugins)

    def run(*, resume: bool) -> TrainingResult:
        return train(
            loaded,
            job.to(TrainingSettings),
            resume=resume,
            operation=attempt.operation,
            plugins=plugins,
            progress=attempt.progress,
            cancellation=attempt.cancellation,
        )

    try:
        result = run(resume=attempt.resume)
    except NothingToResumeError:
        # It died before its first checkpoint. That costs no more than what it had done by then.
        result = run(resume=False)
    return {**result.to_json(), LOOKS: _told(result.look)}


def _backtest(job: BacktestJob, attempt: _Attempt) -> dict[str, Any]:
    from ktrdr.core.runs.run_store import run_name, store_run
    from ktrdr.core.workflows.run_backtest import backtest

    settings = job.to(BacktestSettings)
    result = backtest(
        job.model,
        settings,
        operation=attempt.operation,
        progress=attempt.progress,
        cancellation=attempt.cancellation,
    )
    directory = store_run(result)
    return {
        **result.to_json(),
        "run": run_name(directory),
        "directory": str(directory),
        LOOKS: _told(result.look),
    }


def _sweep(job: SweepJob, attempt: _Attempt) -> dict[str, Any]:
    from ktrdr.core.workflows.run_sweep import sweep

    return sweep(
        job.model,
        job.to(SweepSettings),
        operation=attempt.operation,
        progress=attempt.progress,
        cancellation=attempt.cancellation,
    ).to_json()


def _told(look: Look | None) -> list[dict[str, Any]]:
    return [] if look is None else [look.to_json()]


_RUNNERS: Mapping[type, Callable[[Any, _Attempt], dict[str, Any]]] = {
    TrainingJob: _train,
    BacktestJob: _backtest,
    SweepJob: _sweep,
}
