"""Table of a simulation's trades, with symbols, times and reasons instead of positions and numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ktrdr.core.backtesting.fills import END_OF_DATA, EXIT_REASONS, MAX_HOLDING, SIGNAL, TAKE_PROFIT
from ktrdr.core.backtesting.simulation import Trades
from ktrdr.core.backtesting.tables import Table
from ktrdr.core.data.bars import Bars

__all__ = ["bars_held", "excursions", "trade_table"]

_NO_TIME = np.datetime64("NaT", "ns")


def trade_table(trades: Trades, bars: Sequence[Bars]) -> Table:
    """Return the table of trades; :class:`~ktrdr.core.backtesting.results.BacktestResult` describes its columns.

    Args:
        trades: trades of a simulation.
        bars: traded bars of each market.
    """
    count = len(trades)
    times = {name: np.full(count, _NO_TIME) for name in ("entry_decision", "entry", "exit_decision", "exit")}
    mae, mfe = np.zeros(count), np.zeros(count)
    for number, own_bars in enumerate(bars):
        own = np.flatnonzero(trades.market == number)
        for name in ("entry_decision", "exit_decision"):
            times[name][own] = own_bars.time[getattr(trades, name)[own]]
        times["entry"][own] = own_bars.time[trades.entry_bar[own]]
        times["exit"][own] = own_bars.time[trades.exit_bar[own]]
        mae[own], mfe[own] = excursions(trades, own, own_bars)
    times["exit_decision"][trades.exit_decision < 0] = _NO_TIME
    notional = trades.units * trades.entry_price
    net = trades.net
    return {
        "number": np.arange(1, count + 1),
        "symbol": _words([each.symbol for each in bars], trades.market),
        "side": _words(("short", "", "long"), trades.side + 1),
        "entry_decision_time": times["entry_decision"],
        "entry_time": times["entry"],
        "exit_decision_time": times["exit_decision"],
        "exit_time": times["exit"],
        "bars": bars_held(trades),
        "units": trades.units,
        "entry_reference_price": trades.entry_reference_price,
        "entry_price": trades.entry_price,
        "exit_reference_price": trades.exit_reference_price,
        "exit_price": trades.exit_price,
        "notional": notional,
        "gross": trades.gross,
        "commission": trades.commission,
        "slippage": trades.slippage,
        "net": net,
        "return": net / notional,
        "mae": mae,
        "mfe": mfe,
        "exit_reason": _words(EXIT_REASONS, trades.reason),
    }


def bars_held(trades: Trades) -> np.ndarray:
    """Return the number of bars each trade was open in, int64 ``(k,)``.

    The bar of the exit counts unless the position was closed at its open.
    """
    bars: np.ndarray = trades.exit_bar - trades.entry_bar + ~_closed_at_open(trades)
    return bars


def excursions(trades: Trades, own: np.ndarray, bars: Bars) -> tuple[np.ndarray, np.ndarray]:
    """Return the maximum adverse (MAE) and favourable (MFE) excursion of positions.

    With the price ``p`` of the entry's fill, slippage included, and the lowest low ``l`` and highest high ``h`` while
    the position was open, a long position has the MAE ``(p - l) / p`` and the MFE ``(h - p) / p``; a short position has
    them the other way round. Source: J. Sweeney, "Maximum Adverse Excursion" (1997).

    A bar does not tell the order of its prices, so the worse order is assumed. The bar of the entry counts with all its
    prices, as the position is entered at its open. The bar of the exit counts with the reference price of the exit, and
    with these other prices: none, if the position was closed at the open; all, if it was closed at the last close of
    the data; those against the position, if a target was reached inside the bar, as they may have come before; none, if
    a stop was reached, as prices in favour of the position may have come after.

    Args:
        trades: trades of a simulation.
        own: rows of ``trades``, all of one symbol, in order.
        bars: bars of that symbol.

    Returns:
        MAE and MFE, float64 ``(k,)`` each, as shares of the entry prices, at least 0.
    """
    entry, side, start = trades.entry_bar[own], trades.side[own], trades.entry_price[own]
    last, price, reason = trades.exit_bar[own], trades.exit_reference_price[own], trades.reason[own]
    whole = last + (reason == END_OF_DATA)
    worst = whole + ((reason == TAKE_PROFIT) & (price != bars.open[last]))
    low = np.minimum(_between(bars.low, entry, np.where(side > 0, worst, whole), np.minimum, np.inf), price)
    high = np.maximum(_between(bars.high, entry, np.where(side > 0, whole, worst), np.maximum, -np.inf), price)
    down, up = np.maximum((start - low) / start, 0.0), np.maximum((high - start) / start, 0.0)
    return np.where(side > 0, down, up), np.where(side > 0, up, down)


def _between(values: np.ndarray, begin: np.ndarray, end: np.ndarray, reduce: np.ufunc, empty: float) -> np.ndarray:
    """Return ``reduce`` of ``values[begin:end]`` for intervals that are in order and do not overlap."""
    if not len(begin):
        return np.empty(0)
    bounds = np.stack((begin, end), axis=1).ravel()
    # `reduceat` takes bounds inside the array only, and returns the value at `begin` for an empty interval.
    if bounds[-1] == len(values):
        bounds = bounds[:-1]
    return np.where(begin < end, reduce.reduceat(values, bounds)[::2], empty)


def _closed_at_open(trades: Trades) -> np.ndarray:
    return np.isin(trades.reason, (SIGNAL, MAX_HOLDING))


def _words(names: Sequence[str], numbers: np.ndarray) -> np.ndarray:
    words: np.ndarray = np.array(names, dtype=object)[numbers]
    return words
