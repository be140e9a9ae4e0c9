"""The distribution of a metric over the accounts of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ktrdr.core.validation.evaluation_result import Spread

__all__ = ["spread_over"]


def spread_over(values: Iterable[float | None]) -> Spread | None:
    """Return the distribution of the values of a metric.

    Args:
        values: value of each account; ``None``, NaN and infinity, where the metric is not defined, are left out.

    Returns:
        The distribution, with the standard deviation of a sample (n - 1; 0 of a single value) and quartiles that are
        interpolated linearly; ``None`` if no value is left.
    """
    known = np.array([value for value in values if value is not None and math.isfinite(value)], dtype=np.float64)
    if not len(known):
        return None
    low, median, high = np.quantile(known, [0.25, 0.5, 0.75]).tolist()
    return Spread(
        number=len(known),
        mean=float(known.mean()),
        sd=float(known.std(ddof=1)) if len(known) > 1 else 0.0,
        min=float(known.min()),
        low=low,
        median=median,
        high=high,
        max=float(known.max()),
    )
