"""Labelling of one symbol's bars on the base timeframe."""

from __future__ import annotations

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.errors import BadInputError
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.labels.make import make_labels
from ktrdr.core.strategy.model import Labels

__all__ = ["count_labels", "label_symbol"]


def label_symbol(labels: Labels, bars: Bars) -> LabelSet:
    """Return the labels of ``bars`` of the base timeframe.

    Raises:
        BadInputError: no bar has a label, because there are fewer bars than the labels look ahead.
    """
    made = make_labels(labels, bars)
    if not made.labelled.any():
        raise BadInputError(
            f"no bar of {bars.symbol} {bars.timeframe} has a label: `{labels.source}` looks {made.look_ahead} bars"
            f" ahead, and there are {len(bars)}; use more bars, or a shorter look-ahead in `training.labels`"
        )
    return made


def count_labels(labels: LabelSet) -> dict[str, int]:
    """Return the number of bars with each class, in class order; for a regression, the number with a value."""
    if not labels.classes:
        return {"values": int(np.count_nonzero(labels.labelled))}
    counts = np.bincount(labels.values[labels.labelled].astype(np.int64), minlength=len(labels.classes))
    return dict(zip(labels.classes, counts.tolist(), strict=True))
