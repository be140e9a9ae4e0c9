"""Gradient boosting with progress, early stopping and cancellation after every round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ktrdr.core.errors import BadInputError
from ktrdr.core.plugins import EpochRecord, TrainingTask
from ktrdr.core.work import Cancellation
from ktrdr.ml.sklearn.reporting import Reporter
from ktrdr.ml.sklearn.samples import Samples, accuracy
from ktrdr.ml.sklearn.thread_pools import openmp_threads

__all__ = ["fit_boosting"]

# With fewer training samples, threads wait for each other longer than they work, most of all on a busy machine.
_SAMPLES_FOR_THREADS = 10_000


def fit_boosting(
    task: TrainingTask, samples: Samples, reporter: Reporter, cancellation: Cancellation, threads: int | None
) -> tuple[Any, list[EpochRecord], int]:
    """Return the estimator truncated to its best round, the metrics of every round, and the number of the best round.

    The best round has the best value of ``early_stopping.monitor``, of ``val_loss`` without early stopping; without
    validation samples it is the last round. A cancellation takes effect within one round.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    plain = HistGradientBoostingClassifier if samples.seen else HistGradientBoostingRegressor
    validated = len(samples.y_val) > 0
    rounds = _Rounds(task, samples, reporter, cancellation)
    parameters: dict[str, Any] = {**task.architecture, "max_iter": task.settings["epochs"], "random_state": task.seed}
    watched = _watched(plain)(
        **parameters,
        # `round_done` decides when to stop; with this patience scikit-learn's own rule never does.
        early_stopping=True,
        n_iter_no_change=task.settings["epochs"] + 1,
        scoring="loss",
        validation_fraction=None,
    )
    watched.round_done = rounds.done
    validation = (
        {"X_val": samples.x_val, "y_val": samples.y_val, "sample_weight_val": samples.w_val} if validated else {}
    )
    with openmp_threads(threads if len(samples.y) >= _SAMPLES_FOR_THREADS else 1):
        watched.fit(samples.x, samples.y, sample_weight=samples.w, **validation)

    best = rounds.best or len(rounds.history)
    estimator = plain(**parameters, early_stopping=False)
    # Only what prediction needs: no scores and no state of random generators.
    for name in _LEARNED:
        if name in watched.__dict__:
            setattr(estimator, name, watched.__dict__[name])
    estimator._predictors = estimator._predictors[:best]
    estimator._bin_mapper.n_threads = 1  # of binning; otherwise the stored bytes depend on the machine
    estimator._bin_mapper.random_state = None
    return estimator, rounds.history, best


_LEARNED = (
    "_baseline_prediction", "_bin_mapper", "_in_fit", "_is_categorical_remapped", "_loss", "_n_features", "_predictors",
    "_preprocessor", "classes_", "is_categorical_", "n_features_in_", "n_trees_per_iteration_",
)  # fmt: skip


def _watched(base: Any) -> Any:
    """Return a subclass of ``base`` that calls ``round_done`` after every round, and stops if it returns True."""

    class Watched(base):
        round_done: Callable[..., bool]

        def _check_early_stopping_loss(self, **state: Any) -> bool:
            super()._check_early_stopping_loss(**state)
            if not self._predictors:
                return False  # scikit-learn calls this once before the first round
            validation_loss = -self.validation_score_[-1] if self._use_validation_data else None
            return self.round_done(-self.train_score_[-1], validation_loss, state)

    return Watched


class _Rounds:
    """The metrics of every round, the best round, and early stopping."""

    def __init__(self, task: TrainingTask, samples: Samples, reporter: Reporter, cancellation: Cancellation) -> None:
        self.history: list[EpochRecord] = []
        self.best = 0
        self._samples = samples
        self._reporter = reporter
        self._cancellation = cancellation
        self._stopping = task.settings["early_stopping"]
        self._monitor = self._stopping["monitor"] if self._stopping else "val_loss"
        self._best_value = np.inf
        self._waited_from = 0
        self._waited_value = np.inf
        if self._stopping and self._monitor.startswith("val_") and not len(samples.y_val):
            raise BadInputError(
                f"early stopping on `{self._monitor}` needs validation samples; give `data_split.validation` a share, "
                "or set `early_stopping.monitor` to `train_loss`"
            )

        if self._monitor.endswith("accuracy") and not samples.seen:
            raise BadInputError(
                f"`training.early_stopping.monitor: {self._monitor}` is for classification; monitor `val_loss` or "
                "`train_loss`"
            )

    def done(self, train_loss: float, validation_loss: float | None, state: dict[str, Any]) -> bool:
        """Record one round; return True to stop."""
        self._cancellation.raise_if_requested()
        metrics = {"train_loss": float(train_loss)}
        if validation_loss is not None:
            metrics["val_loss"] = float(validation_loss)
        if self._samples.seen:
            metrics["train_accuracy"] = _accuracy(self._samples.y, state["raw_predictions"])
            if validation_loss is not None:
                metrics["val_accuracy"] = _accuracy(self._samples.y_val, state["raw_predictions_val"])
        epoch = len(self.history) + 1
        self.history.append(EpochRecord(epoch, metrics))
        self._reporter.report(epoch, metrics)
        return self._judge(epoch, metrics)

    def _judge(self, epoch: int, metrics: dict[str, float]) -> bool:
        if self._monitor not in metrics:
            return False
        value = metrics[self._monitor] * (-1 if self._monitor.endswith("accuracy") else 1)
        if value < self._best_value:
            self.best, self._best_value = epoch, value
        if self._stopping is None:
            return False
        if value < self._waited_value - self._stopping["min_delta"]:
            self._waited_from, self._waited_value = epoch, value
        return epoch - self._waited_from >= self._stopping["patience"]


def _accuracy(y: np.ndarray, raw: np.ndarray) -> float:
    # With two classes there is one column: the log-odds of the second class.
    return accuracy(y, raw if raw.shape[1] > 1 else np.hstack([-raw, raw]))
