"""Calibration of predicted probabilities: do they agree with the observed frequencies?"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["BINS", "calibration"]

BINS = 10
"""Number of bins of equal width that confidences are sorted into."""


def calibration(confidence: np.ndarray, correct: np.ndarray) -> dict[str, Any]:
    """Compare the confidence of predictions with their accuracy.

    The expected calibration error is the mean, over all samples, of the absolute difference between the mean
    confidence and the accuracy of the sample's bin. Formula: Guo et al., On Calibration of Modern Neural Networks
    (2017), equation 3.

    Args:
        confidence: float64 ``(m,)``, at least one: the probability of the predicted class, 0 to 1.
        correct: bool ``(m,)``: whether the prediction is right.

    Returns:
        ``ece``, the error from 0 (best) to 1, and ``bins``, ascending, without empty ones. Each bin has its bounds
        ``above`` and ``up_to`` (0 itself is in the lowest bin), the number of ``samples``, and their mean
        ``confidence`` and ``accuracy``.
    """
    # As in the paper, a confidence that equals a bound belongs to the lower bin.
    bounds = np.arange(1, BINS) / BINS
    places = np.searchsorted(bounds, confidence, side="left")
    counts = np.bincount(places, minlength=BINS)
    sure = np.bincount(places, weights=confidence, minlength=BINS)
    right = np.bincount(places, weights=correct, minlength=BINS)
    bins = [
        {
            "above": place / BINS,
            "up_to": (place + 1) / BINS,
            "samples": int(counts[place]),
            "confidence": float(sure[place] / counts[place]),
            "accuracy": float(right[place] / counts[place]),
        }
        for place in np.flatnonzero(counts).tolist()
    ]
    return {"ece": float(np.abs(sure - right).sum() / len(confidence)), "bins": bins}
