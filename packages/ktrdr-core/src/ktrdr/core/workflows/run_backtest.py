"""Carry out a backtest job."""

from __future__ import annotations

from typing import Any

from ktrdr.core.backtesting.run import run_backtest
from ktrdr.core.data.bar_store import default_store
from ktrdr.core.jobs.kinds import BacktestJob
from ktrdr.core.jobs.settings import BacktestSettings
from ktrdr.core.models.model_store import default_model_store
from ktrdr.core.plugins.manager import default_manager
from ktrdr.core.runs.run_store import run_name, store_run
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress

__all__ = ["run_backtest_job"]


def run_backtest_job(
    job: BacktestJob, *, progress: Progress = NO_PROGRESS, cancellation: Cancellation | None = None
) -> dict[str, Any]:
    """Trade a model on the stores below ``KTRDR_HOME``, and keep the result as the next run of the model.

    Returns:
        :meth:`~ktrdr.core.backtesting.results.BacktestResult.to_json`, with the ``run`` as commands take it, and the
        ``directory`` of its files.

    Raises:
        BadInputError: the model, the data or a setting does not allow it.
        CancelledError: on request; nothing is left.
    """
    result = run_backtest(
        default_model_store().get(job.model),
        bar_store=default_store(),
        plugins=default_manager(),
        settings=job.to(BacktestSettings),
        progress=progress,
        cancellation=cancellation,
    )
    directory = store_run(result)
    return {**result.to_json(), "run": run_name(directory), "directory": str(directory)}
