"""Random forest, fitted in blocks of trees for progress and cancellation."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from ktrdr.core.plugins import EpochRecord, TrainingTask
from ktrdr.core.work import Cancellation
from ktrdr.ml.sklearn.reporting import Reporter
from ktrdr.ml.sklearn.samples import Samples, accuracy, log_loss, mean_squared_error

__all__ = ["fit_forest"]

_SECONDS_PER_BLOCK = 0.2
_SCORED = 20_000


def fit_forest(
    task: TrainingTask, samples: Samples, reporter: Reporter, cancellation: Cancellation, threads: int | None
) -> tuple[Any, list[EpochRecord], int]:
    """Return the estimator, one record for the whole forest, and 1.

    A tree depends only on the seed and its number, so neither the blocks nor the threads change the result.
    A cancellation takes effect after a block of trees, which takes about a fifth of a second.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    architecture = dict(task.architecture)
    wanted = architecture.pop("n_estimators")
    features = architecture.pop("max_features")
    estimator = (RandomForestClassifier if samples.seen else RandomForestRegressor)(
        **architecture,
        n_estimators=0,
        max_features=None if features == "all" else features,
        random_state=task.seed,
        n_jobs=threads or -1,
        warm_start=True,
    )
    block = threads or os.cpu_count() or 1
    while estimator.n_estimators < wanted:
        cancellation.raise_if_requested()
        started = time.monotonic()
        estimator.n_estimators = min(estimator.n_estimators + block, wanted)
        estimator.fit(samples.x, samples.y, sample_weight=samples.w)
        reporter.report(estimator.n_estimators)
        seconds = time.monotonic() - started
        block = max(1, int(block * min(_SECONDS_PER_BLOCK / max(seconds, 1e-3), 4)))
    cancellation.raise_if_requested()
    # With threads the order of the sum over trees would vary. The attributes below are not needed to predict.
    estimator.set_params(n_jobs=None, warm_start=False)
    for name in ("_sample_weight", "_n_samples", "_n_samples_bootstrap", "estimator_"):
        estimator.__dict__.pop(name, None)
    metrics = {**_scores(estimator, samples, "train"), **_scores(estimator, samples, "val")}
    reporter.report(wanted, metrics)
    return estimator, [EpochRecord(1, metrics)], 1


def _scores(estimator: Any, samples: Samples, part: str) -> dict[str, float]:
    x, y, w = (samples.x, samples.y, samples.w) if part == "train" else (samples.x_val, samples.y_val, samples.w_val)
    if not len(y):
        return {}
    # For a large training part evenly spaced samples are sufficient.
    which = np.unique(np.linspace(0, len(y) - 1, min(len(y), _SCORED)).astype(np.int64))
    x, y, w = x[which], y[which], w[which]
    if not samples.seen:
        return {f"{part}_loss": mean_squared_error(y, estimator.predict(x), w)}
    probabilities = estimator.predict_proba(x)
    return {f"{part}_loss": log_loss(y, probabilities, w), f"{part}_accuracy": accuracy(y, probabilities)}
