"""Whether probabilities mean what they say."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["BINS", "calibration"]

BINS = 10
"""Bins of equal width that confidences are sorted into."""


def calibration(confidence: np.ndarray, correct: np.ndarray) -> dict[str, Any]:
    """Compare how sure predictions are with how often they are right.

    Expected calibration error: mean over all samples of the difference between confidence and accuracy of the bin they
    fall into. Formula: Guo et al., On Calibration of Modern Neural Networks (2017), equation 3.

    Args:
        confidence: float64 ``(m,)``, at least one: the probability of the predicted class, 0 to 1.
        correct: bool ``(m,)``.

    Returns:
        ``ece``, 0 (best) to 1, and ``bins``: for each that is not empty, ascending, ``above`` and ``up_to`` (its
        bounds; 0 itself is in the lowest bin), ``samples``, and their mean ``confidence`` and ``accuracy``.
    """
    # Bins are open below, as in the paper: a confidence on a bound belongs to the lower bin.
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
