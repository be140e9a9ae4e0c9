from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.jumps import find_jumps, jump_warnings, large_jumps, split_like_jumps
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.timeframe import Timeframe

PRICES = ("open", "high", "low", "close")


def series(opened: list[float], closed: list[float], symbol: str = "XBTCOM") -> Bars:
    o, c = np.array(opened, dtype=float), np.array(closed, dtype=float)
    time = np.datetime64("2024-01-01", "ns") + np.arange(len(o)) * np.timedelta64(3600, "s")
    return Bars(symbol, Timeframe("1h"), time, o, np.maximum(o, c), np.minimum(o, c), c, np.ones(len(o)))


def scale(bars: Bars, first: int, factor: float) -> None:
    for name in PRICES:
        getattr(bars, name)[first:] /= factor


def slow_large_jumps(bars: Bars) -> list[tuple[int, float, float]]:
    opened, closed = bars.open.tolist(), bars.close.tolist()
    returns = [abs(math.log(closed[row] / closed[row - 1])) for row in range(1, len(closed))]
    found = []
    for row in range(1, len(closed)):
        for price in (opened[row], closed[row]):
            size = abs(math.log(price / closed[row - 1]))
            if size > 0.5 and size > 20 * statistics.median(returns):
                found.append((row, closed[row - 1], price))
                break
    return found


def test_split_like_jumps(make_bars):
    bars = make_bars(100, timeframe="1d", symbol="AAPL")
    for first, factor in ((30, 2.0), (60, 0.2), (80, 1.6)):
        scale(bars, first, factor)
    rows, ratios = split_like_jumps(bars)
    assert rows.tolist() == [30, 60]  # 1.6 is a crash, not a split
    assert ratios.tolist() == [2.0, 0.2]


# Prices that stand still, move by ticks, by a third and by orders of magnitude.
_STEP = st.sampled_from([1.0, 1.0, 1.001, 0.999, 1.02, 0.98, 1.4, 1.64, 1.66, 0.61, 0.6, 2.0, 0.001, 1000.0])


@given(st.lists(st.tuples(_STEP, _STEP), max_size=40))
def test_large_jumps_are_those_of_a_slow_loop(steps):
    opened, closed = [], []
    price = 100.0
    for to_open, to_close in steps:
        opened.append(price * to_open)
        price = opened[-1] * to_close
        closed.append(price)
    bars = series(opened, closed)
    rows, before, after = large_jumps(bars)
    assert list(zip(rows.tolist(), before.tolist(), after.tolist(), strict=True)) == slow_large_jumps(bars)


def test_a_decimal_sign_that_was_read_wrong_is_told_with_times_and_ratio():
    closes = [903.0 + row % 3 for row in range(100)]
    closes[98:] = [1.055, 1.055]
    bars = series([closes[0], *closes[:97], 1.05, 1.05], closes)
    (jumps,) = find_jumps(bars)
    assert (jumps.kind, jumps.rows.tolist()) == ("large_jump", [98])
    assert jumps.message == (
        "1 jump is far above what this series usually moves: 2024-01-05 02:00 (904 to 1.05, ratio 0.00116); where that"
        " was no move of the market, a decimal sign may have been read wrong, or it may be bars of another symbol, a"
        " corporate action that prices were not adjusted for, or a bad tick"
    )
    assert jump_warnings([bars]) == (
        "XBTCOM 1h: 1 jump is far above what this series usually moves: 2024-01-05 02:00 (904 to 1.05, ratio 0.00116);"
        " where that was no move of the market, features, labels and trades take it for one: correct the prices, or"
        " choose dates without it",
    )


def test_a_bad_tick_is_two_jumps_and_a_bad_open_is_one():
    quiet = [100.0 + row % 2 for row in range(30)]
    closed = [*quiet[:20], 1.0, *quiet[21:]]
    rows, before, after = large_jumps(series([100.0] * 30, closed))
    assert (rows.tolist(), before.tolist(), after.tolist()) == ([20, 21], [101.0, 1.0], [1.0, 100.0])
    rows, before, after = large_jumps(series([*quiet[:20], 1.0, *quiet[21:]], quiet))
    assert (rows.tolist(), before.tolist(), after.tolist()) == ([20], [101.0], [1.0])


def test_a_series_that_stands_still_is_judged_by_the_size_alone():
    closed = [5.0] * 20 + [9.0] * 20
    rows, _, _ = large_jumps(series(closed, closed))
    assert rows.tolist() == [20]
    closed = [5.0] * 20 + [8.0] * 20  # a log return of 0.47
    assert not len(large_jumps(series(closed, closed))[0])


def test_a_series_that_always_moves_so_much_has_no_large_jump():
    closed = [1.0, 3.0] * 20
    assert not len(large_jumps(series(closed, closed))[0])


def test_a_jump_that_looks_like_a_split_is_not_told_twice(make_bars):
    bars = make_bars(100, timeframe="1d", symbol="AAPL")
    scale(bars, 30, 2.0)
    scale(bars, 60, 860.0)
    assert {jumps.kind: jumps.rows.tolist() for jumps in find_jumps(bars)} == {
        "split_like_jump": [30],
        "large_jump": [60],
    }
    assert large_jumps(bars)[0].tolist() == [30, 60]


def test_real_bars_without_a_jump():
    assert find_jumps(sample_bars()) == ()
    assert jump_warnings([sample_bars()]) == ()


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_bars(make_bars, n):
    assert find_jumps(make_bars(n)) == ()


def test_of_many_jumps_ten_are_listed(make_bars):
    bars = make_bars(100, timeframe="1d")
    for first in range(10, 90, 5):
        scale(bars, first, 2.0)
    (jumps,) = find_jumps(bars)
    assert jumps.message.startswith(
        "16 jumps look like splits that prices were not adjusted for: 2017-01-11 00:00 (2 to"
    )
    assert jumps.message.endswith("(2 to 1) and 6 more")
    assert jumps.message.count("to 1)") == 10


def test_warnings_name_symbol_and_timeframe_and_no_more_than_ten_symbols(make_bars):
    def split(symbol: str) -> Bars:
        bars = make_bars(40, timeframe="1d", symbol=symbol)
        scale(bars, 20, 2.0)
        return bars

    symbols = [f"S{number:02}" for number in range(12)]
    one = jump_warnings([make_bars(40, timeframe="1d", symbol="CALM"), split("S00")])
    assert one == (
        "S00 1d: 1 jump looks like a split that prices were not adjusted for: 2017-01-21 00:00 (2 to 1); features,"
        " labels and trades take such a jump for a move of the market: import adjusted prices, or choose dates without"
        " it",
    )
    many = jump_warnings([split(symbol) for symbol in symbols])
    assert len(many) == 11
    assert many[-1] == "2 more symbols have such jumps (S10, S11); `ktrdr data check` lists them"


@pytest.mark.parametrize(("step", "large"), [(0.62, True), (0.58, False)])
def test_twenty_times_the_median_is_the_bound(step, large):
    # Moves of 0.03 up and down: twenty times that is 0.6.
    closed = [100.0 * math.exp(0.03 * (i % 2)) for i in range(40)]
    closed += [closed[-1] * math.exp(step)]
    assert bool(len(large_jumps(series(closed, closed))[0])) == large
