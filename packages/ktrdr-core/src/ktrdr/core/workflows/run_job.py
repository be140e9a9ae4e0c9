"""Workflow that runs a job of any kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ktrdr.core.jobs.job_settings import (
    BacktestSettings,
    EvaluationSettings,
    SweepSettings,
    TrainingSettings,
    VerdictSettings,
)
from ktrdr.core.jobs.kinds import BacktestJob, EvaluationJob, SweepJob, TrainingJob, VerdictJob, parse_job
from ktrdr.core.trials.look import LOOKS, Look
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from ktrdr.core.cache.array_cache import ArrayCache

__all__ = ["run_job"]

T_co = TypeVar("T_co", covariant=True)


class _Resumable(Protocol[T_co]):
    def __call__(self, *, resume: bool) -> T_co: ...


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Parameters of an attempt at a job, besides the job itself."""

    resume: bool
    operation: str | None
    cache: ArrayCache | None
    progress: Progress
    cancellation: Cancellation


def run_job(
    kind: str,
    data: Mapping[str, Any],
    *,
    resume: bool = False,
    operation: str | None = None,
    cache: ArrayCache | None = None,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> dict[str, Any]:
    """Run a job with the stores below ``KTRDR_HOME``.

    Args:
        kind: kind of the job.
        data: the job as a JSON-ready map.
        resume: let a training, an evaluation or a verdict resume from what an earlier attempt left, or start if it left
            nothing.
        operation: id of the operation that this run is an attempt of; all its attempts store one result.
        cache: cache of features and indicator values; by default ``$KTRDR_HOME/cache``.
        progress: receives events of each step.
        cancellation: stops the job.

    Returns:
        The result as a JSON-ready map, with its trials under :data:`LOOKS`. The result of a backtest has the name of
        the ``run``, that of an evaluation its name as ``evaluation``, that of a verdict its name as ``verdict``, as
        commands accept them; all three have the ``directory`` of their files. A verdict has also the ``exit_status``
        that the command would end with.

    Raises:
        BadInputError: the job is not valid, or the model, the data or a setting is not suitable.
        CancelledError: the job was cancelled.
    """
    cancellation = cancellation if cancellation is not None else Cancellation()
    attempt = _Attempt(resume, operation, cache, progress, cancellation)
    job = parse_job(kind, data)
    return _RUNNERS[type(job)](job, attempt)


# Imports are inside the functions, so that a job imports only what its kind needs.


def _train(job: TrainingJob, attempt: _Attempt) -> dict[str, Any]:
    from ktrdr.core.strategy.loader import load_strategy_text
    from ktrdr.core.training.result import TrainingResult
    from ktrdr.core.workflows.places import plugins_or_all
    from ktrdr.core.workflows.run_training import train

    plugins = plugins_or_all(None)
    loaded = None if job.evaluation is not None else load_strategy_text(job.strategy, plugins=plugins)

    def run(*, resume: bool) -> TrainingResult:
        return train(
            loaded,
            job.to(TrainingSettings),
            resume=resume,
            operation=attempt.operation,
            plugins=plugins,
            cache=attempt.cache,
            progress=attempt.progress,
            cancellation=attempt.cancellation,
        )

    result = _resumed(run, attempt)
    return {**result.to_json(), LOOKS: _looks_to_json(result.look)}


def _evaluate(job: EvaluationJob, attempt: _Attempt) -> dict[str, Any]:
    from ktrdr.core.strategy.loader import load_strategy_text
    from ktrdr.core.validation.evaluation_parts import Evaluation
    from ktrdr.core.validation.stored_evaluation import evaluation_directory, store_evaluation
    from ktrdr.core.workflows.places import plugins_or_all
    from ktrdr.core.workflows.run_evaluation import evaluate

    plugins = plugins_or_all(None)
    loaded = load_strategy_text(job.strategy, plugins=plugins)

    def run(*, resume: bool) -> Evaluation:
        return evaluate(
            loaded,
            job.to(EvaluationSettings),
            resume=resume,
            operation=attempt.operation,
            plugins=plugins,
            cache=attempt.cache,
            progress=attempt.progress,
            cancellation=attempt.cancellation,
        )

    result = _resumed(run, attempt)
    facts = store_evaluation(result, operation=attempt.operation).facts
    return {
        **facts.model_dump(mode="json"),
        "directory": str(evaluation_directory(facts.evaluation)),
        LOOKS: [look.to_json() for look in result.looks],
    }


def _judge(job: VerdictJob, attempt: _Attempt) -> dict[str, Any]:
    from ktrdr.core.strategy.loader import load_strategy_text
    from ktrdr.core.verdicts.stored_verdict import store_verdict, verdict_directory
    from ktrdr.core.verdicts.verdict_parts import Verdict
    from ktrdr.core.verdicts.verdict_result import EXIT_STATUS
    from ktrdr.core.workflows.places import plugins_or_all
    from ktrdr.core.workflows.run_verdict import judge

    plugins = plugins_or_all(None)
    loaded = load_strategy_text(job.strategy, plugins=plugins)

    def run(*, resume: bool) -> Verdict:
        return judge(
            loaded,
            job.to(VerdictSettings),
            resume=resume,
            operation=attempt.operation,
            plugins=plugins,
            cache=attempt.cache,
            progress=attempt.progress,
            cancellation=attempt.cancellation,
        )

    result = _resumed(run, attempt)
    facts = store_verdict(result, operation=attempt.operation).facts
    return {
        **facts.model_dump(mode="json"),
        "exit_status": EXIT_STATUS[facts.word],
        "directory": str(verdict_directory(facts.verdict)),
        LOOKS: [look.to_json() for look in result.looks],
    }


def _resumed(run: _Resumable[T_co], attempt: _Attempt) -> T_co:
    """Run an attempt from what an earlier one left, or from the start if it left nothing."""
    from ktrdr.core.training.run_checkpoint import NothingToResumeError

    try:
        return run(resume=attempt.resume)
    except NothingToResumeError:
        # The earlier attempt ended before its first checkpoint, so there is nothing to resume from.
        return run(resume=False)


def _backtest(job: BacktestJob, attempt: _Attempt) -> dict[str, Any]:
    from ktrdr.core.runs.run_store import run_name, store_run
    from ktrdr.core.workflows.run_backtest import backtest

    settings = job.to(BacktestSettings)
    result = backtest(
        job.model,
        settings,
        operation=attempt.operation,
        cache=attempt.cache,
        progress=attempt.progress,
        cancellation=attempt.cancellation,
    )
    directory = store_run(result)
    return {
        **result.to_json(),
        "run": run_name(directory),
        "directory": str(directory),
        LOOKS: _looks_to_json(result.look),
    }


def _sweep(job: SweepJob, attempt: _Attempt) -> dict[str, Any]:
    from ktrdr.core.workflows.run_sweep import sweep

    return sweep(
        job.model,
        job.to(SweepSettings),
        operation=attempt.operation,
        cache=attempt.cache,
        progress=attempt.progress,
        cancellation=attempt.cancellation,
    ).to_json()


def _looks_to_json(look: Look | None) -> list[dict[str, Any]]:
    return [] if look is None else [look.to_json()]


_RUNNERS: Mapping[type, Callable[[Any, _Attempt], dict[str, Any]]] = {
    TrainingJob: _train,
    BacktestJob: _backtest,
    SweepJob: _sweep,
    EvaluationJob: _evaluate,
    VerdictJob: _judge,
}
