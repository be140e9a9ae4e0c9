"""Where a fuzzy set says nothing: values to which no membership answers."""

from __future__ import annotations

import numpy as np

from ktrdr.core.fuzzy.membership import membership
from ktrdr.core.strategy.model import FuzzySet

__all__ = ["dead_zone_share"]


def dead_zone_share(fuzzy_set: FuzzySet, values: np.ndarray) -> float:
    """Return the share of ``values`` (float64 ``(n,)``, NaN left out) on which every membership is 0.

    Returns 0.0 if there is no value at all.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return 0.0
    silent = np.ones(len(known), dtype=bool)
    for function in fuzzy_set.memberships.values():
        silent &= membership(function, known) == 0
    return float(silent.mean())
