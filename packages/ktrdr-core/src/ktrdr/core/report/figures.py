"""The report's pictures as plotly.js specifications: plain maps of data and layout, no colours of a theme.

Text, grid and background take the page's colours, light or dark, when the page draws them; only what carries meaning
(long, short, profit, loss) has a colour here, chosen to be told apart on both grounds and by colour-blind readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ktrdr.core.backtesting.tables import Table
from ktrdr.core.files.json_values import plain_json

__all__ = [
    "MOST_POINTS",
    "MOST_TRADES",
    "Figure",
    "confusion_figure",
    "drawdown_figure",
    "equity_figure",
    "importance_figure",
    "layout",
    "monthly_figure",
    "plain",
    "price_figure",
    "run_length",
    "thin",
    "training_figure",
]

Figure = dict[str, Any]
"""``{"data": [...], "layout": {...}}`` as plotly.js takes it."""

BLUE, ORANGE, GREEN, RED, GREY = "#3b82c4", "#d9822b", "#1f9d76", "#cf4a5b", "#8a8f98"
SET_COLOURS = (BLUE, ORANGE, GREEN, "#a569bd", RED, "#2aa5b8", "#8d7b3f", "#7f8ff4")
"""Of lines that are told apart by colour alone."""

MOST_POINTS = 6000
"""Points of one line; more than a screen has pixels only makes the page slow."""
MOST_TRADES = 2000
"""Trades drawn on one price."""


def _text(time: np.ndarray) -> list[str]:
    return np.datetime_as_string(time.astype("datetime64[s]"), unit="s").tolist()


def plain(text: str) -> str:
    """Return ``text`` so that plotly shows it as it is: it reads a few HTML tags, links among them."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _span(time: np.ndarray) -> list[str]:
    """Return the range of an axis over ``time``, with room for marks at both ends."""
    room = (time[-1] - time[0]) // 100
    return _text(np.array([time[0] - room, time[-1] + room]))


def _numbers(values: np.ndarray) -> list[float | None]:
    numbers = plain_json(np.asarray(values, dtype=np.float64))
    return [None if value is None else float(f"{value:.7g}") for value in numbers]


def thin(values: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """Return the positions to draw: all, or the first, lowest, highest and last of equal runs of bars.

    Keeping each run's extremes keeps every spike visible, which plain striding does not.
    """
    n = len(values)
    if n <= most:
        return np.arange(n)
    width = run_length(n, most)
    runs = -(-n // width)
    padded = np.full(runs * width, np.nan)
    padded[:n] = values
    blocks = padded.reshape(runs, width)
    filled = ~np.isnan(blocks).all(axis=1)
    starts = np.arange(runs)[filled] * width
    low = starts + np.nanargmin(blocks[filled], axis=1)
    high = starts + np.nanargmax(blocks[filled], axis=1)
    ends = np.minimum(starts + width - 1, n - 1)
    return np.unique(np.concatenate([starts, low, high, ends]))


def run_length(bars: int, most: int) -> int:
    """Return how many bars :func:`thin` makes one run of, if there are more than ``most``."""
    return -(-bars // (most // 4))


def _line(
    time: np.ndarray, values: np.ndarray, name: str, colour: str, most: int = MOST_POINTS, **more: Any
) -> dict[str, Any]:
    keep = thin(values, most)
    line = {"color": colour, "width": 1.6, **more.pop("line", {})}
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": _text(time[keep]),
        "y": _numbers(values[keep]),
        "line": line,
        **more,
    }


def layout(**more: Any) -> dict[str, Any]:
    """Return a layout: what all figures have in common, and ``more``."""
    made: dict[str, Any] = {
        "margin": {"l": 76, "r": 16, "t": 12, "b": 36},
        "hovermode": "x unified",
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "height": 340,
    }
    made.update(more)
    return made


def price_figure(time: np.ndarray, close: np.ndarray, trades: Table, most: int = MOST_POINTS) -> Figure:
    """Close prices with the entries and exits of ``trades``, columns as
    :class:`~ktrdr.core.backtesting.results.BacktestResult` has them."""
    entry, left = (
        np.array(_text(trades["entry_time"]), dtype=object),
        np.array(_text(trades["exit_time"]), dtype=object),
    )
    paid, got = trades["entry_price"], trades["exit_price"]
    # One dotted stroke per trade, all in one trace: gaps (null) part them.
    gap = np.full(len(entry), None, dtype=object)
    data = [
        _line(time, close, "close", GREY, most, line={"width": 1.1}, hovertemplate="%{y:.6~g}"),
        {
            "type": "scatter",
            "mode": "lines",
            "name": "held",
            "x": np.stack((entry, left, gap), axis=1).ravel().tolist(),
            "y": [value for pair in zip(_numbers(paid), _numbers(got), strict=True) for value in (*pair, None)],
            "line": {"color": GREY, "width": 1, "dash": "dot"},
            "hoverinfo": "skip",
            "showlegend": False,
        },
    ]
    for side, symbol, colour in (("long", "triangle-up", BLUE), ("short", "triangle-down", ORANGE)):
        own = np.flatnonzero(trades["side"] == side)
        if len(own):
            data.append(
                _markers(
                    f"{side} entry",
                    entry[own],
                    paid[own],
                    [f"#{number}" for number in trades["number"][own].tolist()],
                    {"symbol": symbol, "size": 10, "color": colour},
                )
            )
    for won, colour in ((True, GREEN), (False, RED)):
        own = np.flatnonzero((trades["net"] > 0) == won)
        if len(own):
            columns = (trades[name][own].tolist() for name in ("number", "exit_reason", "net"))
            data.append(
                _markers(
                    "exit in profit" if won else "exit at a loss",
                    left[own],
                    got[own],
                    [
                        f"#{number}, {reason.replace('_', ' ')}, net {net:+.2f}"
                        for number, reason, net in zip(*columns, strict=True)
                    ],
                    {"symbol": "x", "size": 7, "color": colour},
                )
            )
    return {
        "data": data,
        "layout": layout(height=420, xaxis={"range": _span(time)}, yaxis={"title": {"text": "price"}}),
    }


def _markers(name: str, x: np.ndarray, y: np.ndarray, text: Sequence[str], marker: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": x.tolist(),
        "y": _numbers(y),
        "text": text,
        "marker": {**marker, "line": {"width": 0}},
        "hovertemplate": "%{y:.6~g} (%{text})",
    }


def equity_figure(time: np.ndarray, equity: np.ndarray, benchmark: np.ndarray | None) -> Figure:
    """Equity in the account's currency, beside buying at the first bar and holding."""
    data = [_line(time, equity, "strategy", BLUE)]
    if benchmark is not None:
        data.append(_line(time, benchmark, "buy and hold", GREY, line={"dash": "dash"}))
    return {"data": data, "layout": layout(xaxis={"range": _span(time)}, yaxis={"title": {"text": "equity"}})}


def drawdown_figure(time: np.ndarray, drawdown: np.ndarray) -> Figure:
    """Drawdown from the highest equity so far, as a share (0 to -1)."""
    line = _line(time, drawdown, "drawdown", RED, fill="tozeroy", line={"width": 1})
    return {
        "data": [line],
        "layout": layout(
            height=220,
            showlegend=False,
            xaxis={"range": _span(time)},
            yaxis={"title": {"text": "drawdown"}, "tickformat": ".1%"},
        ),
    }


def monthly_figure(monthly: Mapping[str, float]) -> Figure:
    """Monthly returns, ``{"2017-10": 0.012, ...}``, as a table of years and months."""
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
                "colorscale": [[0, RED], [0.5, "#e8e6e1"], [1, GREEN]],
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
    """Loss of training and validation by epoch; accuracy on the right axis; the epoch that was kept is marked."""
    epochs = [record["epoch"] for record in history]
    data = []
    styles = {
        "train_loss": ("training loss", BLUE, "solid", "y"),
        "val_loss": ("validation loss", ORANGE, "solid", "y"),
        "train_accuracy": ("training accuracy", BLUE, "dot", "y2"),
        "val_accuracy": ("validation accuracy", ORANGE, "dot", "y2"),
    }
    for key, (name, colour, dash, axis) in styles.items():
        values = _numbers(np.array([record["metrics"].get(key, np.nan) for record in history], dtype=np.float64))
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
                # Inside the picture on whichever side of the line there is more room.
                "xanchor": "left" if best_epoch * 2 < epochs[0] + epochs[-1] else "right",
                "yanchor": "top",
                "font": {"size": 11, "color": GREEN},
            }
        ]
    return {"data": data, "layout": made}


def importance_figure(importance: Mapping[str, float], spread: Mapping[str, float], unit: str) -> Figure:
    """Permutation importance as shares of a score, largest on top; ``spread`` is the standard deviation over the
    permutations."""
    names = sorted(importance, key=lambda name: importance[name])
    bars: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "y": [plain(name) for name in names],
        "x": _numbers(np.array([importance[name] for name in names])),
        "marker": {"color": [BLUE if importance[name] >= 0 else GREY for name in names]},
        "hovertemplate": "%{y}: %{x:.3p}<extra></extra>",
    }
    bars["error_x"] = {
        "type": "data",
        "array": _numbers(np.array([spread[name] for name in names])),
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
    """Confusion matrix: rows are what was, columns what was predicted; shaded by share of the row."""
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
            yaxis={"title": {"text": "was"}, "autorange": "reversed"},
        ),
    }
