"""Training: the backend learns from the samples."""

from __future__ import annotations

from ktrdr.core.plugins.contract import CheckpointWriter, ModelTrainer, TrainedModel, TrainingData, TrainingTask
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import Progress, ProgressEvent

__all__ = ["fit_model"]


def fit_model(
    trainer: ModelTrainer,
    task: TrainingTask,
    data: TrainingData,
    *,
    progress: Progress,
    cancellation: Cancellation,
    checkpoint: CheckpointWriter,
) -> TrainedModel:
    """Return the model of the best epoch, going on from ``checkpoint`` if it holds one.

    Raises:
        CancelledError: on request; the backend has left a checkpoint.
        BadInputError: the samples cannot be learned from, or the checkpoint is damaged.
    """
    epochs = task.settings["epochs"]
    message = "" if checkpoint.latest() is None else "going on from the checkpoint"
    progress(ProgressEvent("training", 0, epochs, "epochs", 0.0, message))
    return trainer.train(task, data, progress=progress, cancellation=cancellation, checkpoint=checkpoint)
