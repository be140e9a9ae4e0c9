"""The trainer of the plugin."""

from __future__ import annotations

from ktrdr.core.errors import BadInputError
from ktrdr.core.plugins import CheckpointWriter, TrainingData, TrainingTask
from ktrdr.core.work import Cancellation, Progress
from ktrdr.ml.sklearn.boosting import fit_boosting
from ktrdr.ml.sklearn.forest import fit_forest
from ktrdr.ml.sklearn.linear import fit_logistic
from ktrdr.ml.sklearn.reporting import Reporter
from ktrdr.ml.sklearn.samples import prepare
from ktrdr.ml.sklearn.sklearn_model import SklearnModel, SklearnPredictor

__all__ = ["SklearnTrainer", "require_cpu"]

_FITS = {
    "gradient_boosting": (fit_boosting, "rounds"),
    "random_forest": (fit_forest, "trees"),
    "logistic_regression": (fit_logistic, "iterations"),
}


def require_cpu(device: str) -> None:
    """Refuse a device that scikit-learn does not have."""
    if device not in ("auto", "cpu"):
        raise BadInputError(f"plugin `sklearn` has no device `{device}`: it computes on `cpu`")


class SklearnTrainer:
    """Trains estimators of scikit-learn.

    A training is not resumed but repeated: it takes seconds, and with the same seed the result is the same model.
    Checkpoints are neither written nor read.
    """

    def train(
        self,
        task: TrainingTask,
        data: TrainingData,
        *,
        progress: Progress,
        cancellation: Cancellation,
        checkpoint: CheckpointWriter | None,
    ) -> SklearnModel:
        """Train; see the plugin contract.

        Raises:
            BadInputError: the device does not exist, or there are not enough samples or classes.
            CancelledError: on request; nothing is written.
        """
        require_cpu(task.device)
        cancellation.raise_if_requested()
        fit, unit = _FITS[task.model_type]
        samples = prepare(task, data)
        total = task.architecture["n_estimators"] if unit == "trees" else task.settings["epochs"]
        reporter = Reporter(progress, total, unit)
        estimator, history, best_epoch = fit(task, samples, reporter, cancellation)
        reporter.finish()
        fitted = SklearnPredictor(
            estimator, task.model_type, task.output, len(task.feature_ids), tuple(task.classes), samples.seen
        )
        return SklearnModel(fitted, tuple(history), best_epoch)
