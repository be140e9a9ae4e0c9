"""From a strategy's ``training.labels`` and one symbol's bars to its labels: the only way there is."""

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
"""What makes the labels of each source of :data:`ktrdr.core.strategy.label_parameters.LABEL_SOURCES`, whose parameters
it takes by name."""


def make_labels(labels: Labels, bars: Bars) -> LabelSet:
    """Label the bars of one symbol, from its own prices alone.

    Args:
        labels: of the strategy, parameters complete.
        bars: of the base timeframe, any number.
    """
    return MAKERS[labels.source](bars, **labels.parameters)
