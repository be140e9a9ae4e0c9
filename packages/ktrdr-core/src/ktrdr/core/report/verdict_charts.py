"""Figures of the report of a verdict: one for each piece of evidence, as plotly.js specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ktrdr.core.report.evaluation_charts import MOST_LINES, PURPLE
from ktrdr.core.report.figures import BLUE, GREEN, GREY, ORANGE, RED, Figure, layout, line_trace, numbers, plain
from ktrdr.core.report.timeline import Timeline
from ktrdr.core.verdicts.verdict_result import BreakEven, Deflation, PermutedEntries

__all__ = [
    "WorldRow",
    "beside_figure",
    "break_even_figure",
    "deflation_figure",
    "permuted_figure",
    "worlds_equity_figure",
    "worlds_figure",
]

_MOST_BINS = 36
_ROW = 165
_SHARPE = "annual Sharpe ratio after costs"


@dataclass(frozen=True, slots=True)
class WorldRow:
    """One family of worlds.

    Attributes:
        title: what stands above its row.
        observed: Sharpe ratio on the real bars.
        values: those on the worlds; at least one.
        mark: what the real one has to exceed; ``None`` if nothing decides here.
    """

    title: str
    observed: float
    values: Sequence[float]
    mark: float | None = None


def worlds_figure(rows: Sequence[WorldRow]) -> Figure:
    """Return a histogram of each family, one above the other on one scale, with the mark of the real bars.

    Args:
        rows: the families, the first on top.
    """
    edges = _edges([value for row in rows for value in row.values])
    marks = [mark for row in rows for mark in (row.observed, row.mark) if mark is not None]
    across = _across(*edges[[0, -1]].tolist(), *marks)
    data: list[dict[str, Any]] = []
    made = layout(
        height=64 + _ROW * len(rows),
        hovermode="closest",
        margin={"l": 44, "r": 14, "t": 30, "b": 44},
        bargap=0.06,
        annotations=[],
        legend={"orientation": "h", "y": 1.0, "yanchor": "top", "x": 0, "yref": "container"},
    )
    share = 1 / len(rows)
    for number, row in enumerate(rows):
        suffix = "" if number == 0 else str(number + 1)
        axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
        counts = np.histogram(row.values, edges)[0]
        top = float(counts.max()) * 1.12
        first = number == 0
        data.append(_bars(edges, counts.astype(np.float64), "worlds", " worlds", showlegend=first, **axes))
        if row.mark is not None:
            data.append(_upright(row.mark, top, "needed", ORANGE, dash="dot", width=2, showlegend=first, **axes))
        data.append(_upright(row.observed, top, "real bars", BLUE, width=4, showlegend=first, **axes))
        high = 1 - number * share
        made[f"yaxis{suffix}"] = {
            "domain": [
                round(high - share + (0.2 if number + 1 < len(rows) else 0) * share, 4),
                round(high - 0.16 * share, 4),
            ],
            "range": [0, top],
            "nticks": 4,
            "fixedrange": True,
            "anchor": f"x{suffix}",
        }
        made[f"xaxis{suffix}"] = {
            "anchor": f"y{suffix}",
            "range": across,
            "tickformat": "~g",
            "nticks": 9,
            "tickangle": 0,
            "fixedrange": True,
            "showgrid": False,
            "zeroline": True,
            **({"title": {"text": _SHARPE, "standoff": 6}} if number + 1 == len(rows) else {}),
        }
        made["annotations"].append(_heading(plain(row.title), high))
    return {"data": data, "layout": made}


def _heading(text: str, y: float) -> dict[str, Any]:
    return {
        "text": f"<b>{text}</b>",
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": round(y, 4),
        "yref": "paper",
        "yanchor": "top",
        "showarrow": False,
    }


def _edges(values: Sequence[float]) -> np.ndarray:
    """Return the bounds of the bins, float64: as many as the values fill."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    bins = int(np.clip(2 * np.sqrt(len(values)), 9, _MOST_BINS))
    return np.linspace(low, high, bins + 1)


def _across(*inside: float) -> list[float | None]:
    """Return the ends of an axis that has all of these values inside, with room beside them."""
    low, high = min(inside), max(inside)
    room = 0.04 * (high - low) or 0.5
    return numbers(np.array([low - room, high + room]))


def _bars(edges: np.ndarray, heights: np.ndarray, name: str, unit: str, **more: Any) -> dict[str, Any]:
    centers, width = (edges[:-1] + edges[1:]) / 2, float(edges[1] - edges[0])
    shown = np.where(heights > 0, heights, np.nan)
    return {
        "type": "bar",
        "name": name,
        "x": numbers(centers),
        "y": numbers(shown),
        "width": float(f"{width * 0.94:.7g}"),
        "marker": {"color": GREY, "opacity": 0.65},
        "text": [f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges.tolist())],
        "textposition": "none",
        "hovertemplate": f"%{{text}}: %{{y}}{unit}<extra></extra>",
        **more,
    }


def _upright(
    x: float, top: float, name: str, colour: str, *, dash: str = "solid", width: float = 2, **more: Any
) -> dict[str, Any]:
    """Return an upright line from 0 to ``top`` as a trace, so that the legend names it."""
    at = float(f"{x:.7g}")
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [at, at],
        "y": numbers(np.array([0.0, top])),
        "line": {"color": colour, "width": width, "dash": dash},
        "hovertemplate": f"{name}: %{{x:.2f}}<extra></extra>",
        **more,
    }


def worlds_equity_figure(
    timeline: Timeline, observed: np.ndarray, worlds: Mapping[str, np.ndarray], buy_and_hold: np.ndarray
) -> Figure:
    """Return the accounts on the real bars above those on the null worlds, as multiples of the capital.

    Args:
        timeline: time axis of the page.
        observed: float64 ``(seeds, n)``.
        worlds: float64 ``(worlds, n)`` by the name that the legend shows; at most
            :data:`~ktrdr.core.report.evaluation_charts.MOST_LINES` of each are drawn.
        buy_and_hold: float64 ``(n,)``.
    """
    data = [
        _many(timeline, equity[:MOST_LINES], name, colour, width=1, opacity=0.5)
        for (name, equity), colour in zip(worlds.items(), (GREY, PURPLE), strict=False)
    ]
    return {
        "data": [
            *data,
            line_trace(timeline, buy_and_hold, "buy and hold", ORANGE, line={"dash": "dash"}),
            _many(timeline, observed, "real bars", BLUE, width=2.4, opacity=0.95),
        ],
        "layout": layout(height=400, yaxis={"title": {"text": "equity, times the capital"}, "hoverformat": ".3f"}),
    }


def _many(
    timeline: Timeline, equity: np.ndarray, name: str, colour: str, *, width: float, opacity: float
) -> dict[str, Any]:
    # All lines are one trace, separated by gaps (null): one entry of the legend shows and hides them.
    x: list[int | None] = []
    y: list[float | None] = []
    for line in equity:
        drawn = timeline.thin(line)
        x += [*(drawn // timeline.width).tolist(), None]
        y += [*numbers(line[drawn]), None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": colour, "width": width},
        "opacity": opacity,
        "hoverinfo": "skip",
    }


def deflation_figure(found: Deflation, worthwhile: float) -> Figure:
    """Return the Sharpe ratio with its interval beside what the number of trials explains.

    Args:
        found: the ratio.
        worthwhile: the ratio below which nothing is worth trading.
    """
    data = [
        _marker(
            found.expected_best, "best of the trials", f"expected best of {found.trials:,} without an edge", ORANGE
        ),
        _marker(worthwhile, "worth trading", "worth trading", GREEN),
        {
            "type": "scatter",
            "mode": "markers",
            "name": "median account, 90% interval",
            "x": [float(f"{found.sharpe:.7g}")],
            "y": [0],
            "marker": {"color": BLUE, "size": 13},
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": numbers(np.array([found.high - found.sharpe])),
                "arrayminus": numbers(np.array([found.sharpe - found.low])),
                "color": BLUE,
                "thickness": 3,
                "width": 9,
            },
            "hovertemplate": f"Sharpe ratio %{{x:.2f}}, {found.low:.2f} to {found.high:.2f}<extra></extra>",
        },
    ]
    return {
        "data": data,
        "layout": layout(
            height=190,
            hovermode="closest",
            margin={"l": 14, "r": 14, "t": 46, "b": 44},
            xaxis={
                "title": {"text": _SHARPE, "standoff": 6},
                "range": _across(0.0, worthwhile, found.expected_best, found.low, found.high),
                "fixedrange": True,
                "zeroline": True,
                "nticks": 9,
                "tickangle": 0,
            },
            yaxis={"range": [-1, 1], "showticklabels": False, "showgrid": False, "zeroline": False, "fixedrange": True},
        ),
    }


def _marker(x: float, name: str, told: str, colour: str) -> dict[str, Any]:
    trace = _upright(x, 1.0, name, colour, dash="dot", width=2)
    return {**trace, "y": [-1, 1], "hovertemplate": f"{told}: %{{x:.2f}}<extra></extra>"}


def break_even_figure(found: BreakEven) -> Figure:
    """Return the Sharpe ratio by cost, with the paid cost and the one at which nothing is left.

    Args:
        found: the curve.
    """
    known = [(cost, ratio) for cost, ratio in zip(found.costs, found.sharpe, strict=True) if ratio is not None]
    ratios = [0.0, *(ratio for _, ratio in known)]
    room = 0.08 * (max(ratios) - min(ratios)) or 1.0
    low, high = min(ratios) - room, max(ratios) + room
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "median account",
            "x": [float(f"{cost:.7g}") for cost, _ in known],
            "y": [float(f"{ratio:.7g}") for _, ratio in known],
            "line": {"color": BLUE, "width": 2.2},
            "marker": {"color": BLUE, "size": 5},
            "hovertemplate": "%{x:.3%} per side: %{y:.2f}<extra></extra>",
        }
    ]
    for cost, name, colour in ((found.paid, "paid here", ORANGE), (found.cost, "nothing is left", RED)):
        if cost is not None:
            line = _upright(cost, 1.0, name, colour, dash="dot", width=2)
            told = f"{name}: %{{x:.3%}} per side<extra></extra>"
            data.append({**line, "y": numbers(np.array([low, high])), "hovertemplate": told})
    return {
        "data": data,
        "layout": layout(
            height=300,
            hovermode="closest",
            margin={"l": 56, "r": 16, "t": 12, "b": 44},
            xaxis={
                "title": {"text": "commission and slippage per side", "standoff": 6},
                "tickformat": ".2~%",
                "nticks": 5,
                "tickangle": 0,
                "fixedrange": True,
            },
            yaxis={
                "title": {"text": "Sharpe ratio"},
                "range": numbers(np.array([low, high])),
                "zeroline": True,
                "fixedrange": True,
            },
        ),
    }


def permuted_figure(found: PermutedEntries) -> Figure:
    """Return the distribution of the random orders, with the mark of the trades at their times.

    Args:
        found: quantiles of the random orders.
    """
    known = np.array(found.quantiles)
    # A finer histogram than the quantiles can tell would show noise.
    edges = _edges(known.tolist())
    edges = np.linspace(edges[0], edges[-1], 17)
    below = np.interp(edges, known, np.linspace(0.0, 1.0, len(known)))
    # Where several quantiles are equal, interpolation may start or end too late.
    below[0], below[-1] = 0.0, 1.0
    shares = np.diff(below)
    top = float(shares.max()) * 1.12
    bars = _bars(edges, shares, "random orders", "")
    return {
        "data": [
            {**bars, "hovertemplate": "%{text}: %{y:.1%} of the orders<extra></extra>"},
            _upright(found.observed, top, "as traded", BLUE, width=4),
        ],
        "layout": layout(
            height=250,
            hovermode="closest",
            margin={"l": 56, "r": 16, "t": 12, "b": 44},
            bargap=0.06,
            xaxis={
                "title": {"text": _SHARPE, "standoff": 6},
                "range": _across(*edges[[0, -1]].tolist(), found.observed),
                "nticks": 9,
                "tickangle": 0,
                "fixedrange": True,
            },
            yaxis={"range": [0, float(f"{top:.7g}")], "tickformat": ".0%", "nticks": 5, "fixedrange": True},
        ),
    }


def beside_figure(ratios: Mapping[str, float]) -> Figure:
    """Return Sharpe ratios as bars, the first on top.

    Args:
        ratios: annual Sharpe ratios by name; the first is the account that is judged.
    """
    names = list(ratios)[::-1]
    values = np.array([ratios[name] for name in names])
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "y": [f"{plain(name)} {value:.2f}" for name, value in zip(names, values.tolist(), strict=True)],
                "x": numbers(values),
                "marker": {"color": [BLUE if name == names[-1] else GREY for name in names]},
                "hovertemplate": "%{y}<extra></extra>",
            }
        ],
        "layout": layout(
            height=74 + 38 * len(names),
            hovermode="closest",
            margin={"l": 20, "r": 16, "t": 8, "b": 44},
            showlegend=False,
            xaxis={
                "title": {"text": _SHARPE, "standoff": 6},
                "nticks": 7,
                "tickangle": 0,
                "fixedrange": True,
                "zeroline": True,
            },
            yaxis={"automargin": True, "fixedrange": True},
        ),
    }
