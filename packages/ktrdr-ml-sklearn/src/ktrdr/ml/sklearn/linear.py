"""Logistic regression, fitted in blocks of iterations for progress and cancellation."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ktrdr.core.plugins import EpochRecord, TrainingTask
from ktrdr.core.work import Cancellation
from ktrdr.ml.sklearn.reporting import Reporter
from ktrdr.ml.sklearn.samples import Samples, accuracy, log_loss
from ktrdr.ml.sklearn.thread_pools import one_blas_thread

__all__ = ["fit_logistic"]

_ITERATIONS_PER_BLOCK = 10


def fit_logistic(
    task: TrainingTask, samples: Samples, reporter: Reporter, cancellation: Cancellation, threads: int | None
) -> tuple[Any, list[EpochRecord], int]:
    """Return the estimator, a record for every ten iterations, and the number of the last record's epoch.

    The objective is convex, so the last iteration is the best one. Stops before ``epochs`` iterations if converged.
    It takes one thread, whatever ``threads`` are given.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    x, x_val = samples.x.astype(np.float64), samples.x_val.astype(np.float64)
    estimator = LogisticRegression(**task.architecture, random_state=task.seed, warm_start=True)
    history: list[EpochRecord] = []
    done, limit, converged = 0, task.settings["epochs"], False
    with one_blas_thread():
        while done < limit and not converged:
            cancellation.raise_if_requested()
            estimator.max_iter = min(_ITERATIONS_PER_BLOCK, limit - done)
            with warnings.catch_warnings():
                # The warning at the end of every block means nothing.
                warnings.simplefilter("ignore", ConvergenceWarning)
                estimator.fit(x, samples.y, sample_weight=samples.w)
            iterations = int(np.max(estimator.n_iter_))
            converged = iterations < estimator.max_iter
            done += iterations
            metrics = {**_scores(estimator, x, samples.y, samples.w, "train")}
            if len(samples.y_val):
                metrics |= _scores(estimator, x_val, samples.y_val, samples.w_val, "val")
            if iterations or not history:
                history.append(EpochRecord(max(done, 1), metrics))
            reporter.report(done, metrics)
    estimator.set_params(max_iter=limit, warm_start=False)
    return estimator, history, history[-1].epoch


def _scores(estimator: Any, x: np.ndarray, y: np.ndarray, w: np.ndarray, part: str) -> dict[str, float]:
    probabilities = estimator.predict_proba(x)
    return {f"{part}_loss": log_loss(y, probabilities, w), f"{part}_accuracy": accuracy(y, probabilities)}
