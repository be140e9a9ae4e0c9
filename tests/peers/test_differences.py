"""Where the peers mean something else: each row of docs/backtesting-peers.md, on a few bars."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ktrdr.core.backtesting.fills import EXIT_REASONS
from ktrdr.core.backtesting.simulation import Costs
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.strategy.model import PriceDistance, Risk, Sizing

FREE = Costs()
ONE = Sizing(type="fixed_units", value=10.0)


def make(*rows: tuple[float, float, float, float]) -> Bars:
    """Return hourly bars of (open, high, low, close)."""
    columns = np.array(rows, dtype=np.float64).T
    time = np.datetime64("2024-01-01", "ns") + np.arange(len(rows)) * np.timedelta64(3_600_000_000_000, "ns")
    return Bars("X", Timeframe("1h"), time, *(np.ascontiguousarray(c) for c in columns), np.full(len(rows), np.nan))


def signals(n: int, **at: int) -> np.ndarray:
    """Return ``n`` signals: ``buy`` and ``sell`` name bars."""
    made = np.zeros(n, dtype=np.int8)
    made[at["buy"]] = 1
    if "sell" in at:
        made[at["sell"]] = -1
    return made


def percent(value: float) -> PriceDistance:
    return PriceDistance(kind="percent", value=value)


FLAT = (100.0, 100.5, 99.5, 100.0)


@pytest.mark.slow  # vectorbt compiles its programs anew in each process
class TestVectorbt:
    def run(self, vectorbt_book: Callable, bars: Bars, given: np.ndarray, **more: Any) -> Any:
        return vectorbt_book(bars, given, size=10.0, size_type="amount", costs=FREE, shorts=False, **more)

    def test_a_stop_in_the_bar_of_the_entry(self, ours: Callable, vectorbt_book: Callable) -> None:
        """We look inside the bar of the entry; vectorbt begins with the next one."""
        bars = make(FLAT, FLAT, (100, 100.5, 95, 100), (100, 101, 94, 99), FLAT)
        given = signals(5, buy=1)
        _, mine = ours(bars, given, risk=Risk(sizing=ONE, stop_loss=percent(2)), costs=FREE)
        theirs = self.run(vectorbt_book, bars, given, sl_stop=0.02)
        assert (mine.entry_bar[0], mine.exit_bar[0], mine.exit_price[0]) == (2, 2, 98.0)
        assert (theirs.entry_bar[0], theirs.exit_bar[0], theirs.exit_price[0]) == (2, 3, 98.0)

    def test_a_stop_inside_the_bar_at_whose_open_a_signal_exits(self, ours: Callable, vectorbt_book: Callable) -> None:
        """An exit at the open comes before what happens inside the bar; vectorbt takes the stop."""
        bars = make(FLAT, FLAT, FLAT, (101, 101, 95, 96), FLAT)
        given = signals(5, buy=0, sell=2)
        _, mine = ours(bars, given, risk=Risk(sizing=ONE, stop_loss=percent(2)), costs=FREE)
        theirs = self.run(vectorbt_book, bars, given, sl_stop=0.02)
        assert (mine.exit_bar[0], mine.exit_price[0]) == (3, 101.0)
        assert (theirs.exit_bar[0], theirs.exit_price[0]) == (3, 98.0)

    def test_an_open_beyond_the_target_with_the_stop_inside(self, ours: Callable, vectorbt_book: Callable) -> None:
        """The target was reached at the open, before the stop could be; vectorbt takes the stop."""
        bars = make(FLAT, FLAT, FLAT, (105, 106, 95, 96), FLAT)
        given = signals(5, buy=0)
        bounds = {"stop_loss": percent(2), "take_profit": percent(3)}
        result, mine = ours(bars, given, risk=Risk(sizing=ONE, **bounds), costs=FREE)
        theirs = self.run(vectorbt_book, bars, given, sl_stop=0.02, tp_stop=0.03)
        assert EXIT_REASONS[result.trades.reason[0]] == "take_profit"
        assert mine.exit_price[0] == 105.0
        assert theirs.exit_price[0] == 98.0

    def test_a_trailing_stop_and_the_high_of_the_bar_of_the_entry(
        self, ours: Callable, vectorbt_book: Callable
    ) -> None:
        """We follow the best price from the bar of the entry on; vectorbt from the next bar on."""
        bars = make(FLAT, FLAT, (100, 110, 99.5, 109), (109, 109, 106, 107), FLAT)
        given = signals(5, buy=1)
        _, mine = ours(bars, given, risk=Risk(sizing=ONE, trailing_stop=percent(2)), costs=FREE)
        theirs = self.run(vectorbt_book, bars, given, sl_stop=0.02, sl_trail=True)
        assert (mine.exit_bar[0], mine.exit_price[0]) == (3, pytest.approx(107.8))
        assert theirs.exit_bar[0] == 4

    def test_an_open_position_at_the_end(self, ours: Callable) -> None:
        """We close it at the last close, at cost; vectorbt marks it there, and charges nothing."""
        import vectorbt

        bars = make(FLAT, FLAT, FLAT)
        costs = Costs(commission=0.01)
        _, mine = ours(bars, signals(3, buy=0), risk=Risk(sizing=ONE), costs=costs)
        portfolio = vectorbt.Portfolio.from_signals(
            bars.close,
            entries=[False, True, False],
            price=bars.open,
            size=10.0,
            fees=0.01,
            init_cash=10_000.0,
            freq="1h",
        )
        assert mine.final == pytest.approx(10_000 - 20)
        assert portfolio.final_value() == pytest.approx(10_000 - 10)


class TestBacktestingPy:
    def frame(self, bars: Bars) -> pd.DataFrame:
        return pd.DataFrame(
            {"Open": bars.open, "High": bars.high, "Low": bars.low, "Close": bars.close},
            index=pd.DatetimeIndex(bars.time),
        )

    def run(self, bars: Bars, decide: Callable[[Any, int], None], **settings: Any) -> pd.Series:
        import backtesting

        class Follow(backtesting.Strategy):
            def init(self) -> None:
                pass

            def next(self) -> None:
                decide(self, len(self.data) - 1)

        settings = {"cash": 10_000.0, "finalize_trades": True} | settings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return backtesting.Backtest(self.frame(bars), Follow, **settings).run()

    def test_slippage_at_the_entry_only(self, ours: Callable) -> None:
        """Every fill of ours slips; its spread is paid once, at the entry."""
        bars = make(FLAT, FLAT, FLAT, FLAT, FLAT)

        def decide(strategy: Any, t: int) -> None:
            if t == 1:
                strategy.buy(size=10)
            elif t == 2:
                strategy.position.close()

        trade = self.run(bars, decide, spread=0.01)["_trades"].iloc[0]
        _, mine = ours(bars, signals(5, buy=1, sell=2), risk=Risk(sizing=ONE), costs=Costs(slippage=0.01))
        assert (mine.entry_price[0], mine.exit_price[0]) == (101.0, 99.0)
        assert (trade["EntryPrice"], trade["ExitPrice"]) == (101.0, 100.0)

    def test_no_fractions_of_units(self, ours: Callable) -> None:
        """Our lot size is 0 unless set: any fraction of a unit; it trades whole units and refuses others."""
        bars = make(FLAT, FLAT, FLAT, FLAT)

        def decide(strategy: Any, t: int) -> None:
            if t == 1:
                strategy.buy(size=10.5)

        _, mine = ours(bars, signals(4, buy=1), risk=Risk(sizing=ONE.model_copy(update={"value": 10.5})), costs=FREE)
        assert mine.units[0] == 10.5
        with pytest.raises(AssertionError):
            self.run(bars, decide)

    def test_an_order_for_more_than_there_is(self, ours: Callable) -> None:
        """We reduce it to what the account can pay, and count that; it cancels the order."""
        bars = make(FLAT, FLAT, FLAT, FLAT)

        def decide(strategy: Any, t: int) -> None:
            if t == 1:
                strategy.buy(size=1000)

        result, mine = ours(
            bars, signals(4, buy=1), risk=Risk(sizing=ONE.model_copy(update={"value": 1000.0})), costs=FREE
        )
        assert mine.units[0] == pytest.approx(100.0)
        assert result.counts.reduced == 1
        assert len(self.run(bars, decide)["_trades"]) == 0

    def test_an_open_position_at_the_end(self, ours: Callable) -> None:
        """We close it at the last close; it closes it at the last bar's open, the order having come a bar too late."""
        bars = make(FLAT, FLAT, FLAT, (100, 104, 99, 103))

        def decide(strategy: Any, t: int) -> None:
            if t == 1:
                strategy.buy(size=10)

        trade = self.run(bars, decide)["_trades"].iloc[0]
        _, mine = ours(bars, signals(4, buy=1), risk=Risk(sizing=ONE), costs=FREE)
        assert mine.exit_price[0] == 103.0
        assert trade["ExitPrice"] == 100.0

    def test_an_open_beyond_the_target_with_the_stop_inside(self, ours: Callable, backtesting_book: Callable) -> None:
        """As with vectorbt: it takes the stop of a bar that opened beyond the target."""
        bars = make(FLAT, FLAT, FLAT, (105, 106, 95, 96), FLAT)
        risk = Risk(sizing=ONE, stop_loss=percent(2), take_profit=percent(3))
        _, mine = ours(bars, signals(5, buy=1), risk=risk, costs=FREE)
        theirs = backtesting_book(bars, signals(5, buy=1), risk=risk, costs=FREE)
        assert mine.exit_price[0] == 105.0
        assert theirs.exit_price[0] == 98.0

    def test_a_stop_beyond_the_last_close(self, ours: Callable, backtesting_book: Callable) -> None:
        """Our stop is a distance from the fill; it compares an order's stop with the close before, and refuses."""
        bars = make(FLAT, FLAT, (105, 106, 104.5, 105), FLAT, FLAT)
        risk = Risk(sizing=ONE, stop_loss=percent(2))
        _, mine = ours(bars, signals(5, buy=1), risk=risk, costs=FREE)
        assert mine.entry_price[0] == 105.0
        with pytest.raises(ValueError, match="Long orders require"):
            backtesting_book(bars, signals(5, buy=1), risk=risk, costs=FREE)
