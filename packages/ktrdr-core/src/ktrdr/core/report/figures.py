"""Figures of the report as plotly.js specifications: plain maps of data and layout.

In a figure over time, ``x`` are points on the page's :class:`~ktrdr.core.report.timeline.Timeline`. The page replaces
them by labels, sets the ticks, and fits the other axis to the visible range.

Text, grid and background get the page's light or dark colours when the page draws them. Only elements with a meaning
(long, short, profit, loss) have a colour here; the colours can be distinguished on both backgrounds and by colour-blind
readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ktrdr.core.backtesting.tables import Table
from ktrdr.core.files.json_values import plain_json
from ktrdr.core.report.timeline import Timeline

__all__ = [
    "MOST_PLACES",
    "MOST_TRADES",
    "Figure",
    "confusion_figure",
    "drawdown_figure",
    "equity_figure",
    "exposure_figure",
    "importance_figure",
    "layout",
    "line_trace",
    "monthly_figure",
    "numbers",
    "plain",
    "price_figure",
    "rolling_figure",
    "training_figure",
]

Figure = dict[str, Any]
"""``{"data": [...], "layout": {...}}``, the arguments of plotly.js."""

BLUE, ORANGE, GREEN, RED, GREY = "#3b82c4", "#d9822b", "#1f9d76", "#cf4a5b", "#8a8f98"
SET_COLOURS = (BLUE, ORANGE, GREEN, "#a569bd", RED, "#2aa5b8", "#8d7b3f", "#7f8ff4")
"""Colours of lines that differ only by colour."""

MOST_PLACES = 2600
"""Most points on the time axis: ten years of daily bars. More points than pixels make the page large and slow."""
MOST_TRADES = 2000
"""Most trades drawn in all price figures together."""


def _text(time: np.ndarray) -> list[str]:
    return [each.replace("T", " ") for each in np.datetime_as_string(time.astype("datetime64[m]"), unit="m").tolist()]


def plain(text: str) -> str:
    """Return ``text`` escaped for plotly, which interprets some HTML tags and links."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def numbers(values: np.ndarray) -> list[float | None]:
    """Return values with seven digits, which is enough for a screen; NaN and infinity are ``None``."""
    plain_values = plain_json(np.asarray(values, dtype=np.float64))
    return [None if value is None else float(f"{value:.7g}") for value in plain_values]


def line_trace(timeline: Timeline, values: np.ndarray, name: str, colour: str, **more: Any) -> dict[str, Any]:
    """Return a line over time, thinned to the places of the timeline; ``more`` are further settings of the trace."""
    keep = timeline.thin(values)
    line = {"color": colour, "width": 1.6, **more.pop("line", {})}
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": (keep // timeline.width).tolist(),
        "y": numbers(values[keep]),
        "line": line,
        **more,
    }


def layout(**more: Any) -> dict[str, Any]:
    """Return a layout with the defaults of all figures, updated by ``more``."""
    made: dict[str, Any] = {
        "margin": {"l": 76, "r": 16, "t": 12, "b": 30},
        "hovermode": "x unified",
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "height": 340,
    }
    made.update(more)
    return made


def price_figure(timeline: Timeline, bars: Table, trades: Table) -> Figure:
    """Return candles with the entries and exits of trades; a line of closes if ``bars`` has no other prices.

    Args:
        timeline: time axis of the page.
        bars: the ``positions`` of a :class:`~ktrdr.core.backtesting.results.SymbolResult`.
        trades: rows of the ``trades`` of a :class:`~ktrdr.core.backtesting.results.BacktestResult`.
    """
    entry, exits = timeline.places(trades["entry_time"]), timeline.places(trades["exit_time"])
    paid, got = numbers(trades["entry_price"]), numbers(trades["exit_price"])
    data = [
        _candles(timeline, bars) if "open" in bars else _closes(timeline, bars),
        {
            # One dotted line per trade, all in one trace, separated by gaps (null).
            "type": "scatter",
            "mode": "lines",
            "name": "positions",
            "x": [place for pair in zip(entry.tolist(), exits.tolist(), strict=True) for place in (*pair, None)],
            "y": [value for pair in zip(paid, got, strict=True) for value in (*pair, None)],
            "line": {"color": GREY, "width": 1, "dash": "dot"},
            "hoverinfo": "skip",
            "showlegend": False,
        },
    ]
    ordinals, entered = trades["number"].tolist(), _text(trades["entry_time"])
    for side, symbol, colour in (("long", "triangle-up", BLUE), ("short", "triangle-down", ORANGE)):
        own = np.flatnonzero(trades["side"] == side).tolist()
        if own:
            told = [f"#{ordinals[row]}, {entered[row]}" for row in own]
            marker = {"symbol": symbol, "size": 10, "color": colour}
            data.append(_markers(f"{side} entry", entry[own], [paid[row] for row in own], told, marker))
    ended, reasons, nets = _text(trades["exit_time"]), trades["exit_reason"].tolist(), trades["net"].tolist()
    for won, colour in ((True, GREEN), (False, RED)):
        own = np.flatnonzero((trades["net"] > 0) == won).tolist()
        if own:
            told = [
                f"#{ordinals[row]}, {ended[row]}, {reasons[row].replace('_', ' ')}, net {nets[row]:+.2f}" for row in own
            ]
            name = "exit in profit" if won else "exit at a loss"
            marker = {"symbol": "x", "size": 7, "color": colour}
            data.append(_markers(name, exits[own], [got[row] for row in own], told, marker))
    return {"data": data, "layout": layout(height=440, yaxis={"title": {"text": "price"}, "hoverformat": ".6~g"})}


def _candles(timeline: Timeline, bars: Table) -> dict[str, Any]:
    places, candles = timeline.candles(bars)
    # Rising candles are hollow and falling ones filled, so that colours are left for the trades.
    return {
        "type": "candlestick",
        "name": "price",
        "x": places.tolist(),
        **{name: numbers(column) for name, column in candles.items()},
        "increasing": {"line": {"color": GREY, "width": 1}, "fillcolor": "rgba(0,0,0,0)"},
        "decreasing": {"line": {"color": GREY, "width": 1}, "fillcolor": GREY},
    }


def _closes(timeline: Timeline, bars: Table) -> dict[str, Any]:
    closes = np.full(len(timeline.time), np.nan)
    closes[np.searchsorted(timeline.time, bars["time"])] = bars["close"]
    return line_trace(timeline, closes, "close", GREY, line={"width": 1.1})


def _markers(
    name: str, x: np.ndarray, y: Sequence[float | None], text: Sequence[str], marker: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": x.tolist(),
        "y": y,
        "text": text,
        "marker": {**marker, "line": {"width": 0}},
        "hovertemplate": "%{y:.6~g} (%{text})",
    }


def equity_figure(timeline: Timeline, equity: np.ndarray, benchmark: np.ndarray) -> Figure:
    """Return the equity in the account's currency, and that of buy and hold."""
    return {
        "data": [
            line_trace(timeline, equity, "strategy", BLUE),
            line_trace(timeline, benchmark, "buy and hold", GREY, line={"dash": "dash"}),
        ],
        "layout": layout(yaxis={"title": {"text": "equity"}, "hoverformat": ",.2f"}),
    }


def drawdown_figure(timeline: Timeline, drawdown: np.ndarray) -> Figure:
    """Return the drawdown from the highest equity so far, as a share (0 to -1)."""
    return {
        "data": [line_trace(timeline, drawdown, "drawdown", RED, fill="tozeroy", line={"width": 1})],
        "layout": layout(
            height=220,
            showlegend=False,
            yaxis={"title": {"text": "drawdown"}, "tickformat": ".1%", "hoverformat": ".2%", "rangemode": "tozero"},
        ),
    }


def exposure_figure(timeline: Timeline, long: np.ndarray, short: np.ndarray) -> Figure:
    """Return the value of long and (below 0) short positions at the closes, as shares of the equity."""
    step = {"width": 1, "shape": "hv"}
    return {
        "data": [
            line_trace(timeline, long, "long", BLUE, fill="tozeroy", line=step),
            line_trace(timeline, short, "short", ORANGE, fill="tozeroy", line=step),
        ],
        "layout": layout(
            height=220,
            yaxis={"title": {"text": "exposure"}, "tickformat": ".0%", "hoverformat": ".1%", "rangemode": "tozero"},
        ),
    }


def rolling_figure(timeline: Timeline, strategy: np.ndarray, benchmark: np.ndarray) -> Figure:
    """Return the Sharpe ratio of the window that ends at each bar, and that of buy and hold."""
    return {
        "data": [
            line_trace(timeline, strategy, "strategy", BLUE),
            line_trace(timeline, benchmark, "buy and hold", GREY, line={"dash": "dash"}),
        ],
        "layout": layout(
            height=240,
            yaxis={"title": {"text": "Sharpe ratio"}, "hoverformat": ".2f", "rangemode": "tozero", "zeroline": True},
        ),
    }


def monthly_figure(monthly: Mapping[str, float]) -> Figure:
    """Return monthly returns, given as ``{"2017-10": 0.012, ...}``, as a table of years and months."""
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    years = sorted({key[:4] for key in monthly})
    z = [[monthly.get(f"{year}-{month:02d}") for month in range(1, 13)] for year in years]
    known = [abs(value) for row in z for value in row if value is not None]
    bound = max([*known, 0.01])
    return {
        "data": [
            {
                "type": "heatmap",
                "x": months,
                "y": years,
                "z": z,
                "zmin": -bound,
                "zmax": bound,
                # Not green and red: a month with a gain may be worse than buy and hold.
                "colorscale": [[0, ORANGE], [0.5, "#e8e6e1"], [1, BLUE]],
                "showscale": False,
                "xgap": 2,
                "ygap": 2,
                "text": [["" if value is None else f"{100 * value:+.1f}" for value in row] for row in z],
                "texttemplate": "%{text}",
                "textfont": {"color": "#1c1e21", "size": 10},
                "hovertemplate": "%{x} %{y}: %{z:+.2%}<extra></extra>",
                "hoverongaps": False,
            }
        ],
        "layout": layout(
            height=64 + 36 * len(years),
            hovermode="closest",
            margin={"l": 40, "r": 8, "t": 8, "b": 28},
            xaxis={"showgrid": False, "fixedrange": True, "tickangle": 0, "tickfont": {"size": 10}},
            yaxis={"type": "category", "autorange": "reversed", "showgrid": False, "fixedrange": True},
        ),
    }


def training_figure(history: Sequence[Mapping[str, Any]], best_epoch: int | None) -> Figure:
    """Return training and validation loss by epoch, accuracy on the right axis, and a mark at the kept epoch."""
    epochs = [record["epoch"] for record in history]
    data = []
    styles = {
        "train_loss": ("training loss", BLUE, "solid", "y"),
        "val_loss": ("validation loss", ORANGE, "solid", "y"),
        "train_accuracy": ("training accuracy", BLUE, "dot", "y2"),
        "val_accuracy": ("validation accuracy", ORANGE, "dot", "y2"),
    }
    for key, (name, colour, dash, axis) in styles.items():
        values = numbers(np.array([record["metrics"].get(key, np.nan) for record in history], dtype=np.float64))
        if all(value is None for value in values):
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": epochs,
                "y": values,
                "yaxis": axis,
                "line": {"color": colour, "dash": dash, "width": 1.6},
            }
        )
    made = layout(
        xaxis={"title": {"text": "epoch"}},
        yaxis={"title": {"text": "loss"}},
        yaxis2={"overlaying": "y", "side": "right", "tickformat": ".0%", "showgrid": False, "tickmode": "auto"},
        margin={"l": 76, "r": 52, "t": 12, "b": 44},
    )
    if best_epoch is not None:
        made["shapes"] = [
            {
                "type": "line",
                "x0": best_epoch,
                "x1": best_epoch,
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "line": {"color": GREEN, "dash": "dash", "width": 1},
            }
        ]
        made["annotations"] = [
            {
                "x": best_epoch,
                "y": 1,
                "yref": "paper",
                "text": f"kept: epoch {best_epoch}",
                "showarrow": False,
                # On the side of the line with more room.
                "xanchor": "left" if best_epoch * 2 < epochs[0] + epochs[-1] else "right",
                "yanchor": "top",
                "font": {"size": 11, "color": GREEN},
            }
        ]
    return {"data": data, "layout": made}


def importance_figure(importance: Mapping[str, float], spread: Mapping[str, float], unit: str) -> Figure:
    """Return permutation importance, the largest on top.

    Args:
        importance: increase of a score by input, as a share of the score.
        spread: standard deviation over the permutations, by input.
        unit: title of the axis.
    """
    names = sorted(importance, key=lambda name: importance[name])
    bars: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "y": [plain(name) for name in names],
        "x": numbers(np.array([importance[name] for name in names])),
        "marker": {"color": [BLUE if importance[name] >= 0 else GREY for name in names]},
        "hovertemplate": "%{y}: %{x:.3p}<extra></extra>",
    }
    bars["error_x"] = {
        "type": "data",
        "array": numbers(np.array([spread[name] for name in names])),
        "thickness": 1,
        "width": 2,
        "color": GREY,
    }
    return {
        "data": [bars],
        "layout": layout(
            height=90 + 22 * len(names),
            hovermode="closest",
            yaxis={"automargin": True},
            xaxis={"title": {"text": unit}, "nticks": 4, "tickangle": 0, "tickformat": "~%"},
        ),
    }


def confusion_figure(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Return a confusion matrix, shaded by share of the row; rows are labels, columns are predictions."""
    shares = []
    for row in matrix:
        total = sum(row)
        shares.append([value / total if total else 0.0 for value in row])
    return {
        "data": [
            {
                "type": "heatmap",
                "x": [plain(name) for name in classes],
                "y": [plain(name) for name in classes],
                "z": shares,
                "zmin": 0,
                "zmax": 1,
                "colorscale": [[0, "#e8e6e1"], [1, BLUE]],
                "showscale": False,
                "xgap": 2,
                "ygap": 2,
                "text": [
                    [f"{count}<br>{share:.0%}" for count, share in zip(row, row_shares, strict=True)]
                    for row, row_shares in zip(matrix, shares, strict=True)
                ],
                "texttemplate": "%{text}",
                "textfont": {"color": "#1c1e21"},
                "hoverinfo": "skip",
            }
        ],
        "layout": layout(
            height=300,
            hovermode="closest",
            margin={"l": 80, "r": 16, "t": 12, "b": 50},
            xaxis={"title": {"text": "predicted"}},
            yaxis={"title": {"text": "label"}, "autorange": "reversed"},
        ),
    }
