"""Creation of labels from the section ``training.labels`` of a strategy and the bars of one symbol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ktrdr.core.data.bars import Bars
from ktrdr.core.labels.direction import direction_labels
from ktrdr.core.labels.forward_return import forward_return_labels
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.labels.triple_barrier import triple_barrier_labels
from ktrdr.core.labels.turning_points import turning_points_labels
from ktrdr.core.labels.zigzag import zigzag_labels
from ktrdr.core.strategy.model import Labels

__all__ = ["MAKERS", "LabelSet", "make_labels"]

MAKERS: Mapping[str, Callable[..., LabelSet]] = MappingProxyType(
    {
        "zigzag": zigzag_labels,
        "turning_points": turning_points_labels,
        "forward_return": forward_return_labels,
        "triple_barrier": triple_barrier_labels,
        "direction": direction_labels,
    }
)
"""Function that makes the labels of each source in :data:`ktrdr.core.strategy.label_parameters.LABEL_SOURCES`.

Each takes the parameters of its source by name."""


def make_labels(labels: Labels, bars: Bars) -> LabelSet:
    """Return the labels of one symbol's bars, computed from its own prices only.

    Args:
        labels: section ``training.labels`` of the strategy.
        bars: bars of the base timeframe, any number.
    """
    return MAKERS[labels.source](bars, **labels.parameters)
