"""Carry out a training job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ktrdr.core.data.bar_store import default_store
from ktrdr.core.jobs.kinds import TrainingJob
from ktrdr.core.jobs.settings import TrainingSettings
from ktrdr.core.models.model_store import default_model_store
from ktrdr.core.plugins.manager import default_manager
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.training.executor import TrainingExecutor
from ktrdr.core.training.result import TrainingResult
from ktrdr.core.training.run_checkpoint import NothingToResumeError
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress

__all__ = ["run_training_job"]


def run_training_job(
    job: TrainingJob,
    *,
    resume: bool = False,
    operation: str | None = None,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
    checkpoint_root: Path | None = None,
) -> dict[str, Any]:
    """Train on the stores below ``KTRDR_HOME``.

    Args:
        job: what to train.
        resume: go on from the checkpoint of an earlier attempt at this job; where it left none, train from the start.
        operation: id of the operation this is an attempt at: all its attempts leave one model.
        progress, cancellation: see :mod:`ktrdr.core.work`.
        checkpoint_root: where attempts keep their checkpoints, by default ``$KTRDR_HOME/checkpoints``.

    Returns:
        :meth:`~ktrdr.core.training.result.TrainingResult.to_json`.

    Raises:
        BadInputError: the strategy, the data or the device does not allow it.
        CancelledError: on request; a checkpoint is left if training had begun.
    """
    plugins = default_manager()
    loaded = load_strategy_text(job.strategy, plugins=plugins)

    def train(resume: bool) -> TrainingResult:
        return TrainingExecutor(
            loaded.strategy,
            text=loaded.text,
            bar_store=default_store(),
            model_store=default_model_store(),
            plugins=plugins,
            settings=job.to(TrainingSettings),
            resume=resume,
            operation=operation,
            checkpoint_root=checkpoint_root,
            progress=progress,
            cancellation=cancellation,
        ).execute()

    if resume:
        try:
            return train(resume=True).to_json()
        except NothingToResumeError:
            # It died before its first checkpoint. That costs no more than what it had done by then.
            pass
    return train(resume=False).to_json()
