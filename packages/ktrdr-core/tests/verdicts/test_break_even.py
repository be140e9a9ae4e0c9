"""The cost at which nothing is left."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ktrdr.core.verdicts.break_even import break_even_of


def bisected(profit):
    """The slow way: halve the interval 60 times."""
    low, high = 0.0, 0.999
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if profit(middle) > 0 else (low, middle)
    return low


@given(gain=st.floats(1e-6, 0.5), trades=st.integers(1, 2000), paid=st.floats(0, 0.01))
def test_it_is_the_cost_that_halving_finds(gain, trades, paid):
    # No account earns 10 to the power of 200 times its capital, and no float holds much more.
    assume(trades * math.log1p(gain) < 460)

    def at(cost):
        profit = 10_000 * math.expm1(trades * (math.log1p(gain) + math.log1p(-cost) - math.log1p(cost)))
        return profit / 1000, profit

    found = break_even_of(at, paid)
    assert found.cost == pytest.approx(bisected(lambda cost: at(cost)[1]), rel=1e-4)
    assert found.costs[0] == 0
    assert list(found.costs) == sorted(set(found.costs))
    assert paid in found.costs
    assert found.costs[-1] >= max(paid, found.cost)
    assert found.sharpe == tuple(at(cost)[0] for cost in found.costs)


def test_few_accounts_are_traded():
    asked = []

    def at(cost):
        asked.append(cost)
        return 1.0, 500 * math.exp(-300 * cost) - 100

    found = break_even_of(at, 0.0002)
    assert found.cost == pytest.approx(math.log(5) / 300, rel=1e-4)
    assert len(asked) == len(set(asked)) < 35


@given(jump=st.floats(1e-5, 0.9), above=st.floats(1e-6, 1e6), below=st.floats(-1e6, 0))
def test_it_is_found_at_a_jump(jump, above, below):
    found = break_even_of(lambda cost: (1.0, above if cost < jump else below), 0.0)
    assert found.cost == pytest.approx(jump, rel=2e-4)


@pytest.mark.parametrize("paid", [0.0, 0.0005])
def test_without_a_profit_there_is_none(paid):
    found = break_even_of(lambda cost: (-1.0 - cost, -100.0 * (1 + cost)), paid)
    assert found.cost is None
    assert found.costs[-1] == (2 * paid or 0.001)
    assert found.sharpe[0] == -1


def test_a_profit_at_every_cost_ends_the_search():
    assert break_even_of(lambda cost: (1.0, 5.0), 0.0).cost == pytest.approx(1, abs=0.01)


def test_an_account_that_never_trades_has_none():
    assert break_even_of(lambda cost: (None, 0.0), 0.0002) is None


def test_a_cost_at_which_the_ratio_is_not_defined_is_told():
    found = break_even_of(lambda cost: (None if cost > 0.001 else 1.0, 10 - 1e4 * cost), 0.0)
    assert found.cost == pytest.approx(0.001, rel=1e-4)
    assert None in found.sharpe
    assert np.isfinite(found.costs).all()
