"""Figures of membership functions over a histogram of the values they read, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ktrdr.core.backtesting.results import ValueHistogram
from ktrdr.core.fuzzy.definition import FuzzySet
from ktrdr.core.fuzzy.membership import corners_of, membership
from ktrdr.core.report.figures import GREY, SET_COLOURS, Figure, layout, plain
from ktrdr.core.strategy.model import FuzzyInput, Strategy

__all__ = ["dead_zone_share", "fuzzy_sets_of", "membership_figure"]

_POINTS = 241
_LEFT_OUT = 0.001


def fuzzy_sets_of(strategy: Strategy) -> list[tuple[str, str]]:
    """Return ``(fuzzy set, timeframe)`` of all fuzzy inputs of the model, in their order."""
    return list(
        dict.fromkeys(
            (item.fuzzy_set, timeframe)
            for item in strategy.nn_inputs
            if isinstance(item, FuzzyInput)
            for timeframe in item.timeframes
        )
    )


def membership_figure(fuzzy_set: FuzzySet, histogram: ValueHistogram | None) -> Figure:
    """Return degrees of membership as lines, over a histogram of the values as grey bars without a scale."""
    low, high = _range(fuzzy_set, histogram)
    data: list[dict[str, Any]] = []
    if histogram is not None:
        edges, counts = np.array(histogram.edges), np.array(histogram.counts, dtype=np.float64)
        data.append(
            {
                "type": "bar",
                "name": "share of bars",
                "x": _short((edges[:-1] + edges[1:]) / 2),
                "y": _short(0.95 * counts / max(counts.max(), 1.0)),
                "width": _short(np.diff(edges)),
                "customdata": _short(counts / max(counts.sum(), 1.0)),
                "marker": {"color": GREY, "line": {"width": 0}},
                "opacity": 0.35,
                "hovertemplate": "%{customdata:.2%}",
            }
        )
    inside = [corner for function in fuzzy_set.memberships.values() for corner in corners_of(function)]
    # Every corner is one of the points, so that it is drawn sharp.
    x = np.unique([*np.linspace(low, high, _POINTS), *(corner for corner in inside if low < corner < high)])
    for number, (name, function) in enumerate(fuzzy_set.memberships.items()):
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": plain(name),
                "x": _short(x),
                "y": _short(membership(function, x)),
                "line": {"color": SET_COLOURS[number % len(SET_COLOURS)], "width": 2},
                "hovertemplate": "%{y:.3f}",
            }
        )
    return {
        "data": data,
        "layout": layout(
            height=270,
            bargap=0,
            xaxis={"range": _short(np.array([low, high])), "zeroline": False},
            yaxis={"title": {"text": "membership"}, "range": [0, 1.05], "tickvals": [0, 0.5, 1], "zeroline": False},
        ),
    }


def dead_zone_share(fuzzy_set: FuzzySet, histogram: ValueHistogram) -> float:
    """Return the share of values for which every membership is 0, computed at the middles of the bins."""
    edges, counts = np.array(histogram.edges), np.array(histogram.counts)
    middles = (edges[:-1] + edges[1:]) / 2
    covered = np.zeros(len(middles), dtype=np.bool_)
    for function in fuzzy_set.memberships.values():
        covered |= membership(function, middles) > 0
    return float(counts[~covered].sum() / max(counts.sum(), 1))


def _range(fuzzy_set: FuzzySet, histogram: ValueHistogram | None) -> tuple[float, float]:
    """Return the range of the axis: nearly all values, and the corners that are not far from them."""
    ends = [corner for function in fuzzy_set.memberships.values() for corner in corners_of(function)]
    low, high = min(ends), max(ends)
    if histogram is not None:
        counts = np.cumsum(histogram.counts) / max(sum(histogram.counts), 1)
        least = histogram.edges[int(np.searchsorted(counts, _LEFT_OUT))]
        most = histogram.edges[int(np.searchsorted(counts, 1 - _LEFT_OUT)) + 1]
        low, high = min(least, max(low, 2 * least - most)), max(most, min(high, 2 * most - least))
    margin = 0.02 * (high - low) or 1.0
    return low - margin, high + margin


def _short(values: np.ndarray) -> Sequence[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]
