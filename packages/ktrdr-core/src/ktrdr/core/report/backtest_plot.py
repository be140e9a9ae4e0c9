"""A backtest as one interactive plotly figure: equity, drawdown, prices with trades, and exposure below each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ktrdr.core.backtesting.results import BacktestResult
from ktrdr.core.report.content import PRICES, account_pictures
from ktrdr.core.report.page import Picture

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["backtest_plot"]

_HEIGHTS = {"equity": 260, "drawdown": 130, "exposure": 130}
_PRICE_HEIGHT = 340
_GAP = 46
_TICKS = 6


def backtest_plot(result: BacktestResult) -> Figure:
    """Return the pictures of the report that share its axis of time, as one figure.

    The axis has one place per bar and none for the time a market is closed, as in the report.

    Args:
        result: of a backtest of any number of symbols; the first of those that the report draws has its prices shown.
    """
    from plotly.subplots import make_subplots

    timeline, pictures = account_pictures(result)
    heights = [_HEIGHTS.get(picture.key, _PRICE_HEIGHT) for picture in pictures]
    whole = sum(heights) + _GAP * (len(pictures) - 1)
    figure = make_subplots(
        rows=len(pictures),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=_GAP / whole if len(pictures) > 1 else 0.0,
        row_heights=heights,
    )
    labels = timeline.labels
    for row, picture in enumerate(pictures, start=1):
        for trace in picture.figure["data"]:
            figure.add_trace({**trace, "legend": _legend(row)}, row=row, col=1)
        axis = picture.figure["layout"]["yaxis"]
        if picture.key.startswith("price-"):
            axis = {**axis, "title": {"text": f"price, {picture.title.removeprefix(PRICES)}"}}
        figure.update_yaxes(axis, row=row, col=1)
    step = max(1, len(labels) // _TICKS)
    figure.update_xaxes(
        tickvals=list(range(0, len(labels), step)),
        ticktext=[label[:10] for label in labels[::step]],
        rangeslider={"visible": False},
    )
    figure.update_layout(
        height=whole + 110,
        margin={"l": 76, "r": 16, "t": 64, "b": 36},
        hovermode="x unified",
        template="plotly_white",
        **_legends(pictures, heights, whole),
    )
    return figure


def _legend(row: int) -> str:
    return "legend" if row == 1 else f"legend{row}"


def _legends(pictures: list[Picture], heights: list[int], whole: int) -> dict[str, Any]:
    """Return one legend above the right end of each picture."""
    legends, top = {}, 0.0
    for row, height in enumerate(heights, start=1):
        shown = pictures[row - 1].figure["layout"].get("showlegend", True)
        legends[_legend(row)] = {
            "orientation": "h",
            "x": 1,
            "xanchor": "right",
            "y": 1 - top / whole,
            "yanchor": "bottom",
            "visible": shown,
        }
        top += height + _GAP
    return legends
