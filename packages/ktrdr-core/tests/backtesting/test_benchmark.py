"""Buy and hold equals a simulation that buys once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.backtesting.benchmark import buy_and_hold
from ktrdr.core.backtesting.simulation import Costs


@given(
    seed=st.integers(0, 1000), spans=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 40)), min_size=1, max_size=3)
)
def test_equals_the_slow_one(make_bars, seed, spans):
    bars = [make_bars(seed + k, n, symbol=f"S{k}", first=first) for k, (first, n) in enumerate(spans)]
    time = np.unique(np.concatenate([each.time for each in bars]))
    costs = Costs(0.001, 0.002)
    wanted = []
    for now in time:
        total = 0.0
        for each in bars:
            cash, units = 900.0 / len(bars), 0.0
            for row in range(len(each)):
                if each.time[row] > now:
                    break
                if row == 0:
                    price = each.open[0] * 1.002
                    units = cash / (price * 1.001)
                    cash -= units * price * 1.001
                if row == len(each) - 1:
                    cash += units * each.close[row] * 0.998 * 0.999
                    units = 0.0
                mark = each.close[row]
            else:
                mark = each.close[-1]
            total += cash + (units * mark if units else 0.0)
        wanted.append(total)
    np.testing.assert_allclose(buy_and_hold(bars, time, 900.0, costs), wanted, rtol=1e-9)


def test_without_costs_it_is_the_price(make_bars):
    bars = make_bars(1, 50)
    equity = buy_and_hold([bars], bars.time, 100.0, Costs())
    np.testing.assert_allclose(equity, 100.0 * bars.close / bars.open[0], rtol=1e-12)
    assert equity[-1] == pytest.approx(100.0 * bars.close[-1] / bars.open[0])
