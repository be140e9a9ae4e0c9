"""Metrics of trades.

Source of the system quality number: V. K. Tharp, "Trade Your Way to Financial Freedom" (2nd edition, 2007), computed
from the net results of the trades.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ktrdr.core.backtesting.tables import Table

__all__ = ["trade_metrics"]


def trade_metrics(trades: Table) -> dict[str, Any]:
    """Return the metrics of a table of trades.

    Args:
        trades: the table that :class:`~ktrdr.core.backtesting.results.BacktestResult` describes, or rows of it.

    Returns:
        Metrics by name; undefined ones are ``None``.
    """
    net, count = trades["net"], len(trades["net"])
    won, lost = net[net > 0], net[net < 0]
    gains, losses = float(won.sum()), -float(lost.sum())
    deviation = float(net.std(ddof=1)) if count > 1 else 0.0
    notional = trades["units"] @ trades["entry_price"] + trades["units"] @ trades["exit_price"]
    return {
        "trades": count,
        "long_trades": int(np.count_nonzero(trades["side"] == "long")),
        "short_trades": int(np.count_nonzero(trades["side"] == "short")),
        "win_rate": _share(len(won), count),
        "profit_factor": gains / losses if losses > 0 else None,
        "expectancy": _mean(net),
        "average_trade_return": _mean(trades["return"]),
        "sqn": math.sqrt(count) * float(net.mean()) / deviation if deviation > 0 else None,
        "average_win": _mean(won),
        "average_loss": _mean(lost),
        "largest_win": float(won.max()) if len(won) else None,
        "largest_loss": float(lost.min()) if len(lost) else None,
        "average_holding_bars": _mean(trades["bars"]),
        "median_holding_bars": float(np.median(trades["bars"])) if count else None,
        "longest_holding_bars": int(trades["bars"].max()) if count else None,
        "average_mae": _mean(trades["mae"]),
        "worst_mae": float(trades["mae"].max()) if count else None,
        "average_mfe": _mean(trades["mfe"]),
        "best_mfe": float(trades["mfe"].max()) if count else None,
        "gross_profit": float(trades["gross"].sum()),
        "commission": float(trades["commission"].sum()),
        "slippage": float(trades["slippage"].sum()),
        "costs": float(trades["commission"].sum() + trades["slippage"].sum()),
        "traded_value": float(notional),
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
