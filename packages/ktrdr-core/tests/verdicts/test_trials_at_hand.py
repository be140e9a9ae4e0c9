"""Daily returns of the trials on the same bars, side by side."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.trials.daily_returns import DailyReturns
from ktrdr.core.trials.look import Look, Span, digest
from ktrdr.core.verdicts.overfitting import overfitting_of
from ktrdr.core.verdicts.superior_ability import superior_ability_of
from ktrdr.core.verdicts.trials_at_hand import trials_at_hand


def days_of(first, values):
    return DailyReturns(first, np.asarray(values, dtype=np.float32))


def made(seed, first=100, n=50):
    return days_of(first, np.random.default_rng(seed).normal(0, 0.01, n))


def test_trials_stand_side_by_side_on_their_common_days():
    own, early, late = made(1), made(2, 95), made(3, 104)
    found = trials_at_hand(own, [early, late])
    np.testing.assert_array_equal(found.days, np.arange(104, 145))
    np.testing.assert_array_equal(
        found.returns, np.stack([own.values[4:45], early.values[9:], late.values[:41]], axis=1)
    )
    assert found.returns.dtype == np.float64


def test_trials_that_cover_too_few_of_the_days_are_left_out():
    own = made(1)
    found = trials_at_hand(own, [made(2, 111), made(3, 89), made(4, 1000), made(5, 100, 39), made(6, 110, 40)])
    # Only the last one covers 80 %.
    assert found.returns.shape == (40, 2)


def test_the_trial_itself_and_equal_ones_count_once():
    own, other = made(1), made(2)
    found = trials_at_hand(own, [other, days_of(100, own.values), days_of(100, other.values)])
    assert found.returns.shape == (50, 2)


def test_trials_that_never_trade_and_days_without_a_return_are_left_out():
    own = made(1)
    own.values[5::7] = 0
    found = trials_at_hand(own, [days_of(100, np.zeros(50)), days_of(90, np.zeros(90))])
    assert found.returns.shape == (50 - len(range(5, 50, 7)), 1)
    assert not set(found.days) & set(range(105, 150, 7))


def test_a_trial_alone_that_never_trades_leaves_nothing_to_test():
    found = trials_at_hand(days_of(100, np.zeros(50)), [])
    assert found.returns.shape == (0, 0)
    assert superior_ability_of(found.returns, seed=0) is None
    assert overfitting_of(found.returns) is None


@given(n=st.integers(1, 60), others=st.lists(st.tuples(st.integers(0, 120), st.integers(1, 120)), max_size=6))
def test_at_least_60_percent_of_the_days_remain(n, others):
    own = made(0, 60, n)
    found = trials_at_hand(own, [made(seed + 1, *each) for seed, each in enumerate(others)])
    covering = [
        (60, n),
        *((first, size) for first, size in others if min(first + size, 60 + n) - max(first, 60) >= 0.8 * n),
    ]
    assert found.returns.shape[1] <= len(covering)
    expected = set.intersection(*(set(range(first, first + size)) for first, size in covering))
    assert len(expected) >= 0.6 * n - 1e-9
    assert set(found.days) <= expected


def test_the_ledger_returns_those_of_trials_on_the_same_bars(ledger):
    def look(choice, days, kind="evaluation", symbol="EURUSD", returns=True):
        return Look(
            kind=kind,
            strategy=digest(choice),
            text=f"name: strategy {choice}\n",
            changes={},
            parent=None,
            seed=1,
            training_data="trained on",
            data="looked at",
            timeframe="1h",
            span=Span((symbol,), days[0] * 86_400, days[1] * 86_400),
            account={} if kind == "training" else {"capital": 10_000.0},
            metrics={"sharpe": 0.5},
            returns=days_of(days[0], [0.1 * choice, 0.5]) if returns else None,
        )

    ledger.record(
        [
            look(1, (100, 110)),
            look(2, (109, 120), kind="sweep"),
            look(3, (110, 120)),
            look(4, (100, 110), symbol="GBPUSD"),
            look(5, (100, 110), kind="training", returns=False),
            look(6, (100, 110), returns=False),
            look(1, (100, 110)),
        ]
    )
    found = ledger.returns(Span(("EURUSD",), 100 * 86_400, 110 * 86_400))
    assert [each.first for each in found] == [109, 100]
    ledger.record([look(number, (100, 110)) for number in range(10, 130)])
    found = ledger.returns(Span(("EURUSD",), 100 * 86_400, 110 * 86_400))
    assert len(found) == 100
    assert found[0].values[0] == np.float32(12.9)
