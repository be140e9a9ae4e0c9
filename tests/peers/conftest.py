"""The same orders for other programs: what each is given so that it means what our simulation means.

Both peers get one bar more than we do, flat at our last close: there, what is open is closed, as our simulation does at
the last close itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ktrdr.core.backtesting.signals import SignalRules
from ktrdr.core.backtesting.simulation import Costs, Market, Simulation, simulate
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.strategy.model import PriceDistance, Risk

CAPITAL = 10_000.0
RELATIVE = 1e-6


@dataclass(frozen=True)
class Book:
    """Trades in the order of entries, and what the account ends with. Bars are positions in ours."""

    entry_bar: np.ndarray
    exit_bar: np.ndarray
    units: np.ndarray
    entry_price: np.ndarray
    exit_price: np.ndarray
    net: np.ndarray
    final: float

    def assert_equal(self, other: Book) -> None:
        """Fail unless both hold the same trades and end with the same equity, to 1e-6."""
        np.testing.assert_array_equal(self.entry_bar, other.entry_bar)
        np.testing.assert_array_equal(self.exit_bar, other.exit_bar)
        for name in ("units", "entry_price", "exit_price"):
            np.testing.assert_allclose(getattr(self, name), getattr(other, name), rtol=RELATIVE, atol=0, err_msg=name)
        # A net near zero is a difference of large numbers: relative to what was traded, a thousandth of 1e-6.
        traded = np.abs(self.units * self.entry_price)
        np.testing.assert_array_less(np.abs(self.net - other.net), RELATIVE * np.abs(other.net) + 1e-9 * traded)
        assert self.final == pytest.approx(other.final, rel=RELATIVE)


@pytest.fixture(scope="session")
def bars() -> Bars:
    """A year of EURUSD, one hour."""
    return sample_bars()


def _crossings(bars: Bars) -> np.ndarray:
    """Buy where a mean of closes crosses above a longer one, sell where it crosses below: 20 and 60, 10 and 30."""
    total = np.concatenate(([0.0], np.cumsum(bars.close)))
    signals = np.zeros(len(bars), dtype=np.int8)
    for fast, slow in ((20, 60), (10, 30)):
        means = [(total[slow:] - total[slow - window : -window]) / window for window in (fast, slow)]
        above = np.sign(means[0] - means[1])
        crossed = np.flatnonzero(above[1:] != above[:-1]) + 1
        signals[crossed + slow - 1] = above[crossed]
    return signals


def _reversals(bars: Bars) -> np.ndarray:
    """Buy after a fall of 0.4 % in 12 hours, sell after such a rise: runs of the same signal."""
    signals = np.zeros(len(bars), dtype=np.int8)
    change = bars.close[12:] / bars.close[:-12] - 1
    signals[12:] = (change < -0.004).astype(np.int8) - (change > 0.004).astype(np.int8)
    return signals


def _dense(bars: Bars) -> np.ndarray:
    """A signal at every third bar, at random: hundreds of trades, some of one bar."""
    random = np.random.default_rng(7)
    return np.where(random.random(len(bars)) < 1 / 3, random.choice([-1, 1], len(bars)), 0).astype(np.int8)


@pytest.fixture(scope="session", params=[_crossings, _reversals, _dense], ids=lambda rule: rule.__name__.strip("_"))
def signals(request: pytest.FixtureRequest, bars: Bars) -> np.ndarray:
    """int8 ``(n,)``, known at the close.

    None at the first bar, where backtesting.py does not ask its strategy; none before a gap of more than 0.1 %, where
    it refuses an order if the stop from the next open is beyond the last close.
    """
    made = request.param(bars)
    made[0] = 0
    made[:-1][np.abs(bars.open[1:] / bars.close[:-1] - 1) > 0.001] = 0
    return made


@pytest.fixture(scope="session")
def sparse(bars: Bars) -> np.ndarray:
    """Reversals only."""
    return _reversals(bars)


@pytest.fixture(scope="session")
def ours() -> Callable[..., tuple[Simulation, Book]]:
    """Run our simulation; rules of no separation unless others are given."""

    def run(
        bars: Bars, signals: np.ndarray, *, risk: Risk, costs: Costs, rules: SignalRules | None = None
    ) -> tuple[Simulation, Book]:
        result = simulate(
            [Market(bars, signals)],
            rules=rules if rules is not None else SignalRules(allow_short_from_flat=True),
            risk=risk,
            capital=CAPITAL,
            costs=costs,
        )
        trades = result.trades
        book = Book(
            trades.entry_bar,
            trades.exit_bar,
            trades.units,
            trades.entry_price,
            trades.exit_price,
            trades.net,
            float(result.equity[-1]),
        )
        return result, book

    return run


def one_more(values: np.ndarray, last: float) -> np.ndarray:
    return np.concatenate((values, [last]))


@pytest.fixture(scope="session")
def vectorbt_book() -> Callable[..., Book]:
    """Run vectorbt on signals shifted to the next bar's open, filled at that open."""

    def run(
        bars: Bars, signals: np.ndarray, *, size: float, size_type: str, costs: Costs, shorts: bool, **more: Any
    ) -> Book:
        import vectorbt

        n = len(bars)
        end = float(bars.close[-1])
        shifted = np.concatenate(([0], signals))
        # The last close is our last price; nothing is entered there.
        shifted[n] = 0
        last = np.arange(n + 1) == n
        portfolio = vectorbt.Portfolio.from_signals(
            one_more(bars.close, end),
            entries=shifted > 0,
            short_entries=(shifted < 0) & shorts,
            exits=last | ((shifted < 0) & (not shorts)),
            short_exits=last,
            open=one_more(bars.open, end),
            high=one_more(bars.high, end),
            low=one_more(bars.low, end),
            price=one_more(bars.open, end),
            size=size,
            size_type=size_type,
            fees=costs.commission,
            slippage=costs.slippage,
            init_cash=CAPITAL,
            upon_opposite_entry="close",
            stop_entry_price="fillprice",
            stop_exit_price="stopmarket",
            freq="1h",
            **more,
        )
        records = portfolio.trades.records
        assert (records["status"] == 1).all(), "every trade is closed"
        return Book(
            records["entry_idx"].to_numpy(),
            np.minimum(records["exit_idx"].to_numpy(), n - 1),
            records["size"].to_numpy(),
            records["entry_price"].to_numpy(),
            records["exit_price"].to_numpy(),
            records["pnl"].to_numpy(),
            float(portfolio.final_value()),
        )

    return run


@pytest.fixture(scope="session")
def backtesting_book() -> Callable[..., Book]:
    """Run backtesting.py with a strategy that follows the signals, with the stops of ``risk``.

    It charges slippage (its ``spread``) at the entry only, so what the exits lose to it is taken off its own trades
    here; where ``costs.slippage`` is zero nothing is.
    """

    def run(bars: Bars, signals: np.ndarray, *, risk: Risk, costs: Costs, shorts: bool = True) -> Book:
        import backtesting

        n, end = len(bars), float(bars.close[-1])
        opened, high, low = bars.open.tolist(), bars.high.tolist(), bars.low.tolist()
        trailing = risk.trailing_stop

        class Follow(backtesting.Strategy):
            def init(self) -> None:
                self.best = math.nan

            def next(self) -> None:
                t = len(self.data) - 1
                if t >= n - 1:
                    return
                signal = int(signals[t])
                if self.trades:
                    self.manage(self.trades[0], t, signal)
                elif signal > 0 or (signal < 0 and shorts):
                    self.enter(opened[t + 1] * (1 + signal * costs.slippage), signal)

            def enter(self, price: float, side: int) -> None:
                self.best = price
                stop = _level(risk.stop_loss, price, -side)
                trail = _level(trailing, price, -side)
                levels = [level for level in (stop, trail) if level is not None]
                nearest = (max if side > 0 else min)(levels) if levels else None
                order = self.buy if side > 0 else self.sell
                size = risk.sizing.value
                order(size=size, sl=nearest, tp=_level(risk.take_profit, price, side))

            def manage(self, trade: Any, t: int, signal: int) -> None:
                side = 1 if trade.is_long else -1
                held_next = t + 1 - trade.entry_bar
                if signal == -side or (risk.max_holding_period is not None and held_next >= risk.max_holding_period):
                    trade.close()
                elif trailing is not None:
                    self.best = max(self.best, high[t]) if side > 0 else min(self.best, low[t])
                    level = _level(trailing, self.best, -side)
                    if (level - trade.sl) * side > 0:
                        trade.sl = level

        frame = pd.DataFrame(
            {
                "Open": one_more(bars.open, end),
                "High": one_more(bars.high, end),
                "Low": one_more(bars.low, end),
                "Close": one_more(bars.close, end),
            },
            index=pd.DatetimeIndex(one_more(bars.time, bars.time[-1] + np.timedelta64(1, "h"))),
        )
        stats = backtesting.Backtest(
            frame, Follow, cash=CAPITAL, commission=costs.commission, spread=costs.slippage, finalize_trades=True
        ).run()
        trades = stats["_trades"].sort_values("EntryBar", kind="stable")
        side = np.sign(trades["Size"].to_numpy())
        units = np.abs(trades["Size"].to_numpy()).astype(float)
        reference_price = trades["ExitPrice"].to_numpy()
        exit_price = reference_price * (1 - side * costs.slippage)
        commission = units * (trades["EntryPrice"].to_numpy() + exit_price) * costs.commission
        net = side * units * (exit_price - trades["EntryPrice"].to_numpy()) - commission
        final = float(stats["Equity Final [$]"])
        if costs.slippage:
            final += float((net - trades["PnL"].to_numpy()).sum())
        else:
            np.testing.assert_allclose(net, trades["PnL"].to_numpy(), rtol=RELATIVE, atol=1e-9)
        return Book(
            trades["EntryBar"].to_numpy(),
            np.minimum(trades["ExitBar"].to_numpy(), n - 1),
            units,
            trades["EntryPrice"].to_numpy(),
            exit_price,
            net,
            final,
        )

    return run


def _level(distance: PriceDistance | None, price: float, direction: int) -> float | None:
    return None if distance is None else price * (1 + direction * distance.value / 100)
