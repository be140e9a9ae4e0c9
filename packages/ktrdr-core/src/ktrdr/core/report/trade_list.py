"""The report's table of trades: orders, results, and the model's inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ktrdr.core.backtesting.results import BacktestResult
from ktrdr.core.backtesting.tables import rows_of
from ktrdr.core.report.page import Cell, Column

__all__ = ["MOST_ROWS", "shown_trades", "trade_columns", "trade_rows"]

MOST_ROWS = 1000
"""Most rows of the table; more rows make the page slow on a phone. The result's files have all trades."""

_MOST_CAUSES = 3


def shown_trades(count: int) -> Sequence[int]:
    """Return the positions of the trades to show: all, or equally many of the first and of the last."""
    if count <= MOST_ROWS:
        return range(count)
    return [*range(MOST_ROWS // 2), *range(count - MOST_ROWS // 2, count)]


def trade_columns(several_symbols: bool) -> list[Column]:
    """Return the columns of the rows of :func:`trade_rows`."""
    return [
        Column("#", number=True),
        *([Column("symbol")] if several_symbols else []),
        Column("side"),
        Column("entry, UTC"),
        Column("exit, UTC"),
        Column("bars", number=True),
        Column("units", number=True),
        Column("net", number=True),
        Column("costs", number=True),
        Column("MAE", number=True),
        Column("MFE", number=True),
        Column("exit reason"),
        Column("entry reason"),
    ]


def trade_rows(result: BacktestResult, several_symbols: bool) -> list[list[Cell]]:
    """Return the cells of the shown trades; prices are those of the fills."""
    shown = list(shown_trades(len(result.trades["number"])))
    rows = rows_of({name: column[shown] for name, column in result.trades.items()})
    return [_row(result, row, position, several_symbols) for position, row in zip(shown, rows, strict=True)]


def _row(result: BacktestResult, row: Mapping[str, Any], position: int, several_symbols: bool) -> list[Cell]:
    tone = "n good" if row["net"] > 0 else "n bad" if row["net"] < 0 else "n"
    costs = row["commission"] + row["slippage"]
    buying = row["side"] == "long"
    return [
        Cell(f"{row['number']}", "n", row["number"]),
        *([Cell(row["symbol"])] if several_symbols else []),
        Cell(row["side"], row["side"]),
        Cell(_minute(row["entry_time"]), note=f"at {_price(row['entry_price'])}"),
        Cell(_minute(row["exit_time"]), note=f"at {_price(row['exit_price'])}"),
        Cell(f"{row['bars']:,}", "n", row["bars"]),
        Cell(f"{row['units']:,.6g}", "n", row["units"]),
        Cell(f"{row['net']:+,.2f}", tone, row["net"], f"{row['return']:+.2%}"),
        Cell(f"{costs:,.2f}", "n", costs),
        *(_excursion(row, name) for name in ("mae", "mfe")),
        Cell(row["exit_reason"].replace("_", " "), note=_said(result.reasons.of(position, "exit"), not buying)),
        Cell(*_because(result.reasons.of(position, "entry"), buying)),
    ]


def _excursion(row: Mapping[str, Any], name: str) -> Cell:
    """Return an excursion as a share of the entry price and in cash; ``-`` for old trades without it."""
    share = row.get(name)
    if share is None:
        return Cell("-", "n")
    return Cell(f"{share:.2%}", "n", share, f"{share * row['notional']:,.2f}")


def _because(because: Mapping[str, Mapping[str, float]] | None, buying: bool) -> tuple[str, str, None, str]:
    """Return the arguments of a cell: the model's output, and its inputs with the largest contributions.

    For a model without contributions these are the inputs with the largest values.
    """
    if because is None:
        return "", "text", None, ""
    seen = because.get("features", {})
    shares = because.get("contributions")
    if shares:
        largest = sorted(shares, key=lambda name: -abs(shares[name]))[:_MOST_CAUSES]
        causes = [f"{name} {seen[name]:.2f} ({shares[name]:+.3f})" for name in largest]
    else:
        largest = sorted(seen, key=lambda name: -abs(seen[name]))[:_MOST_CAUSES]
        causes = [f"{name} {seen[name]:.2f}" for name in largest]
    return _said(because, buying), "text", None, ", ".join(causes)


def _said(because: Mapping[str, Mapping[str, float]] | None, buying: bool) -> str:
    outputs = (because or {}).get("outputs", {})
    name = "BUY" if buying else "SELL"
    if name in outputs:
        return f"{name} {outputs[name]:.0%}"
    return f"predicted {outputs['value']:+.4g}" if "value" in outputs else ""


def _minute(text: str) -> str:
    return text[:16].replace("T", " ")


def _price(value: float) -> str:
    return f"{value:,.6g}"
