"""Small tables of the report: returns by year, worst drawdowns, and results by symbol."""

from __future__ import annotations

from typing import Any

import numpy as np

from ktrdr.core.backtesting.benchmark import buy_and_hold_value
from ktrdr.core.backtesting.metrics import format_metric, trade_metrics
from ktrdr.core.backtesting.metrics.over_time import worst_drawdowns
from ktrdr.core.backtesting.metrics.returns import yearly_returns
from ktrdr.core.backtesting.results import BacktestResult, SymbolResult
from ktrdr.core.backtesting.simulation import Costs
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.report.page import Cell, Column, Table
from ktrdr.core.report.tones import tone_of

__all__ = ["account_tables"]


def account_tables(result: BacktestResult) -> list[Table]:
    """Return the tables that have rows; the table of symbols only if there are several."""
    tables = [_symbols(result), _years(result)] if len(result.symbols) > 1 else [_years(result)]
    return [table for table in (*tables, _drawdowns(result)) if table.rows]


def _years(result: BacktestResult) -> Table:
    time, capital = result.equity["time"], result.settings.capital
    own, benchmark = (yearly_returns(time, result.equity[name], capital) for name in ("equity", "benchmark"))
    rows = []
    for year, gained in own.items():
        other = benchmark.get(year)
        tone = tone_of("total_return", {"total_return": gained}, [{"total_return": other}])
        excess = None if other is None else gained - other
        rows.append([Cell(year), _percent(gained, tone), _percent(other), _percent(excess, _sign(excess))])
    return Table(
        "Returns by year",
        (Column("year"), *(Column(name, number=True) for name in ("strategy", "buy and hold", "excess"))),
        rows,
        "By calendar year (UTC); the first and the last year may be incomplete. The excess is the strategy's return"
        " minus that of buy and hold.",
    )


def _drawdowns(result: BacktestResult) -> Table:
    bar = np.timedelta64(Timeframe(result.timeframe).nanoseconds, "ns")
    worst = worst_drawdowns(result.equity["time"], result.equity["equity"], result.settings.capital, bar)
    return Table(
        "Worst drawdowns",
        (
            Column("depth", number=True),
            *(Column(name) for name in ("high", "trough", "recovered")),
            *(Column(name, number=True) for name in ("days", "days of recovery")),
        ),
        [
            [
                Cell(f"{each.depth:.2%}", "n"),
                Cell(_minute(each.start)),
                Cell(_minute(each.trough)),
                Cell("not yet" if each.end is None else _minute(each.end)),
                Cell(f"{each.days:,.1f}", "n", note=f"{each.bars:,} bars"),
                Cell("-" if each.recovery_days is None else f"{each.recovery_days:,.1f}", "n"),
            ]
            for each in worst
        ],
        "The deepest drawdowns, each from a high of the equity to the bar that reaches it again. Days count from the"
        " high to the recovery, or to the end of the backtest; days of recovery count from the trough.",
    )


def _symbols(result: BacktestResult) -> Table:
    names = ("bars", "exposure", "trades", "win rate", "profit factor", "costs", "net profit", "buy and hold")
    return Table(
        "By symbol",
        (Column("symbol"), *(Column(name, number=True) for name in names)),
        [_symbol(result, symbol) for symbol in result.symbols],
        "The net profits add up to the net profit of the account. Buy and hold invests an equal part of the capital in"
        " each symbol.",
    )


def _symbol(result: BacktestResult, symbol: SymbolResult) -> list[Cell]:
    own = np.flatnonzero(result.trades["symbol"] == symbol.symbol)
    metrics = trade_metrics({name: column[own] for name, column in result.trades.items()})
    net, buy_and_hold = float(result.trades["net"][own].sum()), _buy_and_hold_profit(result, symbol)
    units = symbol.positions["units"]
    metrics |= {"net_profit": net, "exposure": np.count_nonzero(units) / len(units)}

    def cell(name: str, tone: str = "") -> Cell:
        value = metrics[name]
        return Cell(format_metric(name, value), f"n {tone}".strip(), value)

    return [
        Cell(symbol.symbol),
        Cell(f"{symbol.bars:,}", "n", symbol.bars),
        *(cell(name) for name in ("exposure", "trades", "win_rate", "profit_factor", "costs")),
        cell("net_profit", tone_of("net_profit", metrics, [{"net_profit": buy_and_hold}])),
        Cell(format_metric("net_profit", buy_and_hold), "n", buy_and_hold),
    ]


def _buy_and_hold_profit(result: BacktestResult, symbol: SymbolResult) -> float | None:
    """Return the net profit of buying and holding the symbol; ``None`` for an old result without opens."""
    settings, positions = result.settings, symbol.positions
    if "open" not in positions:
        return None
    part = settings.capital / len(result.symbols)
    costs = Costs(settings.commission, settings.slippage)
    return float(buy_and_hold_value(float(positions["open"][0]), positions["close"], part, costs)[-1]) - part


def _percent(value: float | None, tone: str = "") -> Cell:
    return Cell("-" if value is None else f"{value:+.2%}", f"n {tone}".strip(), value)


def _sign(value: float | None) -> str:
    return "" if value is None or value == 0 else "good" if value > 0 else "bad"


def _minute(time: Any) -> str:
    return str(np.datetime_as_string(time, unit="m")).replace("T", " ")
