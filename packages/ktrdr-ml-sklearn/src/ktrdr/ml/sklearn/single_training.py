"""The training of one model, in this process."""

from __future__ import annotations

import importlib

from ktrdr.core.errors import BadInputError
from ktrdr.core.plugins import TrainingData, TrainingTask
from ktrdr.core.work import Cancellation, Progress
from ktrdr.ml.sklearn.boosting import fit_boosting
from ktrdr.ml.sklearn.forest import fit_forest
from ktrdr.ml.sklearn.linear import fit_logistic
from ktrdr.ml.sklearn.reporting import SECONDS_BETWEEN, Reporter
from ktrdr.ml.sklearn.samples import prepare
from ktrdr.ml.sklearn.sklearn_model import SklearnModel, SklearnPredictor

__all__ = ["import_estimators", "require_cpu", "train_single"]

_FITS = {
    "gradient_boosting": (fit_boosting, "rounds"),
    "random_forest": (fit_forest, "trees"),
    "logistic_regression": (fit_logistic, "iterations"),
}


def import_estimators(model_type: str) -> None:
    """Import what the training of a model type needs of scikit-learn."""
    importlib.import_module("sklearn.linear_model" if model_type == "logistic_regression" else "sklearn.ensemble")


def require_cpu(device: str) -> None:
    """Refuse a device that scikit-learn does not have."""
    if device not in ("auto", "cpu"):
        raise BadInputError(f"plugin `sklearn` has no device `{device}`: it computes on `cpu`")


def train_single(
    task: TrainingTask,
    data: TrainingData,
    *,
    progress: Progress,
    cancellation: Cancellation,
    threads: int | None = None,
    seconds: float = SECONDS_BETWEEN,
) -> SklearnModel:
    """Train.

    Args:
        task: see the plugin contract.
        data: see the plugin contract.
        progress: receives the reports.
        cancellation: see the plugin contract.
        threads: number of threads to use, all if it is ``None``. It does not change a bit of the model.
        seconds: least time between two reports.

    Raises:
        BadInputError: the device does not exist, or there are not enough samples or classes.
        CancelledError: on request; nothing is written.
    """
    require_cpu(task.device)
    cancellation.raise_if_requested()
    fit, unit = _FITS[task.model_type]
    samples = prepare(task, data)
    total = task.architecture["n_estimators"] if unit == "trees" else task.settings["epochs"]
    reporter = Reporter(progress, total, unit, seconds)
    estimator, history, best_epoch = fit(task, samples, reporter, cancellation, threads)
    reporter.finish()
    fitted = SklearnPredictor(
        estimator, task.model_type, task.output, len(task.feature_ids), tuple(task.classes), samples.seen
    )
    return SklearnModel(fitted, tuple(history), best_epoch)
