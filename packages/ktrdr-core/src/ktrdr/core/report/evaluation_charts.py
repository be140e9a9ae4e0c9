"""Figures of the report of an evaluation: accounts, folds and spread, as plotly.js specifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ktrdr.core.backtesting.metrics import METRICS
from ktrdr.core.report.figures import BLUE, GREEN, GREY, ORANGE, Figure, layout, line_trace, numbers
from ktrdr.core.report.timeline import Timeline
from ktrdr.core.validation.evaluation_result import EvaluationFacts, PartTimes

__all__ = ["MOST_LINES", "PURPLE", "SPREAD_METRICS", "accounts_figure", "folds_figure", "spread_figure"]

MOST_LINES = 40
"""Most accounts that are drawn: more lines cannot be told apart, and make the page large."""

SPREAD_METRICS = ("sharpe", "annual_return", "max_drawdown")
"""Metrics whose distribution over the accounts is drawn."""

PURPLE = "#a569bd"
"""Colour of the reserve, and of a second family of lines."""
_FAINT = "rgba(138,143,152,0.35)"
_ROW = 17
_TALLEST = 900


def accounts_figure(
    timeline: Timeline, equity: np.ndarray, median: np.ndarray, buy_and_hold: np.ndarray, account: str
) -> Figure:
    """Return the equity of all accounts as thin lines, with the median account and buy and hold above them.

    Args:
        timeline: time axis of the page.
        equity: float64 ``(lines, n)``: the accounts to draw.
        median: float64 ``(n,)``: the median account.
        buy_and_hold: float64 ``(n,)``.
        account: name of the median account.
    """
    # One value per place is enough for a thin line; all lines are one trace, separated by gaps (null).
    n = len(timeline.time)
    last = np.unique(np.append(np.arange(timeline.width - 1, n, timeline.width), n - 1))
    places = (last // timeline.width).tolist()
    x: list[int | None] = []
    y: list[float | None] = []
    for line in equity:
        x += [*places, None]
        y += [*numbers(line[last]), None]
    thin = {
        "type": "scatter",
        "mode": "lines",
        "name": "each path and seed",
        "x": x,
        "y": y,
        "line": {"color": BLUE, "width": 1},
        "opacity": 0.5,
        "hoverinfo": "skip",
    }
    return {
        "data": [
            *([thin] if len(equity) else []),
            line_trace(timeline, median, account, BLUE, line={"width": 2.6}),
            line_trace(timeline, buy_and_hold, "buy and hold", GREY, line={"dash": "dash"}),
        ],
        "layout": layout(height=400, yaxis={"title": {"text": "equity"}, "hoverformat": ",.2f"}),
    }


def folds_figure(facts: EvaluationFacts) -> Figure:
    """Return the parts of each fold as bars on an axis of time, the first fold on top."""
    end = facts.period.end if facts.reserve is None else facts.reserve.period.end
    rows = [(fold.fold, fold) for fold in facts.folds]
    height = min(max(_ROW * len(rows), 60), _TALLEST)
    thick = max(min(height / len(rows) * 0.62, 12), 2)
    whole = (PartTimes(start=facts.period.start, end=end),)
    data = [_parts("left out", _FAINT, max(thick / 4, 1), [(number, whole) for number, _ in rows])]
    for name, colour, parts in (
        ("train", BLUE, [(number, fold.train) for number, fold in rows]),
        ("validation", ORANGE, [(number, fold.validation) for number, fold in rows]),
        ("test", GREEN, [(number, fold.test) for number, fold in rows]),
    ):
        data.append(_parts(name, colour, thick, parts))
    if facts.reserve is not None:
        data.append(_parts("reserve", PURPLE, thick, [(number, (facts.reserve.period,)) for number, _ in rows]))
    step = -(-len(rows) // 20)
    return {
        "data": data,
        "layout": layout(
            height=height + 76,
            hovermode="closest",
            margin={"l": 44, "r": 12, "t": 12, "b": 30},
            xaxis={"type": "date", "fixedrange": True, "nticks": 6, "tickangle": 0, "showgrid": False},
            yaxis={
                "title": {"text": "fold"},
                "range": [len(rows) + 0.7, 0.3],
                "tickmode": "array",
                "tickvals": list(range(1, len(rows) + 1, step)),
                "fixedrange": True,
                "showgrid": False,
                "zeroline": False,
            },
        ),
    }


def _parts(name: str, colour: str, width: float, parts: Sequence[tuple[int, Sequence[PartTimes]]]) -> dict[str, Any]:
    x: list[str | None] = []
    y: list[int | None] = []
    for number, periods in parts:
        for period in periods:
            x += [f"{period.start:%Y-%m-%d %H:%M}", f"{period.end:%Y-%m-%d %H:%M}", None]
            y += [number, number, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": colour, "width": round(width, 1)},
        "hovertemplate": f"fold %{{y}}, {name}: %{{x}}<extra></extra>",
    }


def spread_figure(facts: EvaluationFacts) -> Figure:
    """Return Sharpe ratio, annual return and drawdown of each account as points and a box, beside buy and hold."""
    catalogue = {info.name: info for info in METRICS}
    shown = [catalogue[name] for name in SPREAD_METRICS if name in facts.spread]
    data: list[dict[str, Any]] = []
    made = layout(
        height=40 + 118 * len(shown),
        hovermode="closest",
        margin={"l": 12, "r": 12, "t": 26, "b": 4},
        boxgap=0.3,
    )
    share = 1 / max(len(shown), 1)
    for number, info in enumerate(shown):
        suffix = "" if number == 0 else str(number + 1)
        axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
        percent = info.kind == "percent"
        own = [account for account in facts.paths if account.metrics.get(info.name) is not None]
        values = numbers(np.array([account.metrics[info.name] for account in own], dtype=np.float64))
        data.append(
            {
                "type": "box",
                "name": "paths and seeds",
                "orientation": "h",
                "x": values,
                "y": ["accounts"] * len(values),
                "boxpoints": "all",
                "pointpos": 0,
                "jitter": 0.7,
                "marker": {"color": BLUE, "size": 5, "opacity": 0.6},
                "line": {"color": BLUE, "width": 1.2},
                "fillcolor": "rgba(59,130,196,0.12)",
                "text": [f"path {account.path}, seed {account.seed}" for account in own],
                "hovertemplate": f"%{{text}}: %{{x:{'.2%' if percent else '.2f'}}}<extra></extra>",
                "legendgroup": "accounts",
                "showlegend": number == 0,
                **axes,
            }
        )
        held = facts.buy_and_hold.get(info.name)
        if held is not None:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": "buy and hold",
                    "x": [float(f"{held:.7g}")],
                    "y": ["accounts"],
                    "marker": {"color": ORANGE, "symbol": "diamond", "size": 11},
                    "hovertemplate": f"buy and hold: %{{x:{'.2%' if percent else '.2f'}}}<extra></extra>",
                    "legendgroup": "held",
                    "showlegend": number == 0,
                    **axes,
                }
            )
        top = 1 - number * share
        made[f"yaxis{suffix}"] = {
            "domain": [top - share + 0.44 * share, top],
            "showticklabels": False,
            "fixedrange": True,
            "showgrid": False,
            "anchor": f"x{suffix}",
        }
        made[f"xaxis{suffix}"] = {
            "anchor": f"y{suffix}",
            "title": {"text": info.label, "standoff": 4},
            "tickformat": "~%" if percent else "~g",
            "nticks": 7,
            "tickangle": 0,
            "fixedrange": True,
            "zeroline": True,
        }
    return {"data": data, "layout": made}
