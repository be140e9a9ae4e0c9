"""Interactive figure of membership functions over a histogram of the values they read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ktrdr.core.fuzzy.definition import FuzzySet
from ktrdr.core.fuzzy.membership import corners_of, dead_zone_share, membership
from ktrdr.core.strategy.model import FuzzyInput, Strategy

__all__ = ["membership_figure"]

# Distinguishable with every common form of color blindness (Okabe and Ito, 2008), darker ones first.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5C4B99", "#8C6D31")
_HISTOGRAM = "#C9CED6"
_INK = "#2B2F36"
_GRID = "#EDEFF2"
_PANEL_HEIGHT = 250
_LETTER_WIDTH = 0.0068  # of a panel's width
_LABEL_HEIGHT = 0.13  # of the axis from 0 to 1
_POINTS = 801
_BINS = 80


def membership_figure(strategy: Strategy, values: Mapping[tuple[str, str], np.ndarray]) -> Any:
    """Draw each fuzzy set that the model reads, once per timeframe.

    Args:
        strategy: the strategy.
        values: float64 ``(n,)`` per ``(timeframe, indicator)``, as returned by
            :meth:`~ktrdr.core.features.pipeline.FeaturePipeline.indicator_values`; NaN are left out. A set without
            values is drawn without a histogram.

    Returns:
        A plotly ``Figure``; one empty panel if the model reads no fuzzy set.
    """
    from plotly.subplots import make_subplots

    panels = [
        (name, timeframe, fuzzy_set, _known(values.get((timeframe, fuzzy_set.indicator))))
        for name, timeframe, fuzzy_set in _panels(strategy)
    ]
    height = _PANEL_HEIGHT * max(len(panels), 1) + 60
    figure = make_subplots(
        rows=max(len(panels), 1),
        cols=1,
        subplot_titles=[_title(*panel) for panel in panels],
        vertical_spacing=min(0.12, 75 / height),
    )
    figure.update_annotations(xref="paper", x=0, xanchor="left", font={"size": 14, "color": _INK}, yshift=4)
    for row, (_, _, fuzzy_set, data) in enumerate(panels, start=1):
        _draw_panel(figure, row, fuzzy_set, data)
    figure.update_layout(
        template="plotly_white",
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12, "color": _INK},
        height=height,
        margin={"l": 62, "r": 24, "t": 64, "b": 40},
        showlegend=False,
        bargap=0,
        hovermode="x unified",
    )
    return figure


def _panels(strategy: Strategy) -> list[tuple[str, str, FuzzySet]]:
    pairs = dict.fromkeys(
        (item.fuzzy_set, timeframe)
        for item in strategy.nn_inputs
        if isinstance(item, FuzzyInput)
        for timeframe in item.timeframes
    )
    return [(name, timeframe, strategy.fuzzy_sets[name]) for name, timeframe in pairs]


def _known(values: np.ndarray | None) -> np.ndarray:
    return np.empty(0) if values is None else values[np.isfinite(values)]


def _title(name: str, timeframe: str, fuzzy_set: FuzzySet, data: np.ndarray) -> str:
    title = f"<b>{name}</b>  reads {fuzzy_set.indicator} on {timeframe}"
    share = dead_zone_share(fuzzy_set, data)
    if share:
        title += f"   <span style='color:#B3261E'>all memberships are 0 on {share:.1%} of bars</span>"
    return title


def _draw_panel(figure: Any, row: int, fuzzy_set: FuzzySet, data: np.ndarray) -> None:
    low, high = _range(fuzzy_set, data)
    if len(data):
        counts, edges = np.histogram(data, bins=_BINS, range=(low, high))
        # Only the shape of the histogram matters, so it has no axis: its tallest bar reaches just below 1.
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=0.95 * counts / max(counts.max(), 1),
            customdata=counts / len(data),
            width=edges[1] - edges[0],
            marker={"color": _HISTOGRAM, "line": {"width": 0}},
            name="share of bars",
            hovertemplate="%{customdata:.2%}",
            row=row,
            col=1,
        )
    x = _grid(fuzzy_set, low, high)
    labels: list[tuple[float, float, str, str]] = []
    for position, (name, function) in enumerate(fuzzy_set.memberships.items()):
        color, degrees = _COLORS[position % len(_COLORS)], membership(function, x)
        figure.add_scatter(
            x=x,
            y=degrees,
            mode="lines",
            line={"color": color, "width": 2},
            fill="tozeroy",
            fillcolor=_translucent(color),
            name=name,
            hovertemplate="%{y:.3f}",
            row=row,
            col=1,
        )
        top = x[degrees >= degrees.max() - 0.01]
        labels.append((float((top[0] + top[-1]) / 2), float(degrees.max()), name, color))
    levels = _write_labels(figure, row, labels, low, high)
    figure.update_xaxes(range=[low, high], gridcolor=_GRID, zeroline=False, ticks="outside", row=row, col=1)
    figure.update_yaxes(
        title_text="membership",
        range=[0, 1.02 + _LABEL_HEIGHT * levels],
        tickvals=[0, 0.5, 1],
        gridcolor=_GRID,
        zeroline=False,
        row=row,
        col=1,
    )


def _write_labels(figure: Any, row: int, labels: list[tuple[float, float, str, str]], low: float, high: float) -> int:
    """Write each membership's name above its peak, where it is readable without color.

    Names that would overlap are placed one above the other. Returns the number of such levels.
    """
    ends: list[float] = []
    for x, y, name, color in sorted(labels):
        width = (len(name) + 2) * _LETTER_WIDTH * (high - low)
        center = min(max(x, low + width / 2), high - width / 2)
        level = next((level for level, end in enumerate(ends) if end <= center - width / 2), len(ends))
        ends[level : level + 1] = [center + width / 2]
        figure.add_annotation(
            x=center,
            y=y + _LABEL_HEIGHT * level,
            text=name,
            showarrow=False,
            yanchor="bottom",
            font={"size": 12, "color": color},
            row=row,
            col=1,
        )
    return len(ends)


def _range(fuzzy_set: FuzzySet, data: np.ndarray) -> tuple[float, float]:
    """Return the range of the axis: nearly all values, and the corners of the functions if they are not far."""
    corners = np.array([corner for function in fuzzy_set.memberships.values() for corner in corners_of(function)])
    low, high = float(corners.min()), float(corners.max())
    if len(data):
        least, most = (float(value) for value in np.quantile(data, (0.001, 0.999)))
        span = max(most - least, 1e-9 * max(abs(most), abs(least), 1.0))
        low = min(least, max(low, least - span))
        high = max(most, min(high, most + span))
    margin = 0.02 * (high - low) or 1.0
    return low - margin, high + margin


def _grid(fuzzy_set: FuzzySet, low: float, high: float) -> np.ndarray:
    """Return evenly spaced values and every corner between them, so that corners are drawn sharp."""
    corners = [corner for function in fuzzy_set.memberships.values() for corner in corners_of(function)]
    return np.unique([*np.linspace(low, high, _POINTS), *(corner for corner in corners if low < corner < high)])


def _translucent(color: str) -> str:
    red, green, blue = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.10)"
