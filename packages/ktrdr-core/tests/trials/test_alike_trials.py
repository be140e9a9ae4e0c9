"""How much alike trials are is the mean of the correlations that numpy tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.trials.daily_returns import MOST_DAYS, DailyReturns
from ktrdr.core.trials.trial_count import effective_trials, mean_correlation


def reference(trials: list[DailyReturns]) -> float | None:
    """Lay all days out, leave out what does not vary, and take the mean of what is above the diagonal."""
    days = range(min(each.first for each in trials), max(each.first + len(each.values) for each in trials))
    rows = []
    for each in trials:
        by_day = dict(zip(range(each.first, each.first + len(each.values)), each.values.tolist(), strict=True))
        row = [by_day.get(day, 0.0) for day in days][-MOST_DAYS:]
        if len(set(row)) > 1:
            rows.append(row)
    if len(rows) < 2:
        return None
    return float(np.corrcoef(rows)[np.triu_indices(len(rows), 1)].mean())


@st.composite
def trials(draw: st.DrawFn) -> list[DailyReturns]:
    found = []
    for _ in range(draw(st.integers(1, 6))):
        random = np.random.default_rng(draw(st.integers(0, 5)))
        size = draw(st.integers(1, 12))
        still = draw(st.booleans()) and draw(st.booleans())
        values = np.full(size, 0.1) if still else random.normal(0, 0.01, size)
        found.append(DailyReturns(draw(st.sampled_from((0, 1, 5, 20, 1_003, 1_009))), np.float32(values)))
    return found


@given(trials())
def test_it_is_what_numpy_tells(trials):
    wanted = reference(trials)
    assert mean_correlation(trials) == (None if wanted is None else pytest.approx(wanted, abs=1e-9))


@pytest.mark.parametrize("size", [1, 3, 7, 999])
def test_returns_that_do_not_vary_are_like_none(size):
    still = DailyReturns(5, np.full(size, 0.1, np.float32))
    assert mean_correlation([still, still, still]) is None
    assert mean_correlation([still]) is None
    assert mean_correlation([]) is None


def test_the_same_and_the_opposite():
    values = np.float32([0.1, -0.2, 0.3])
    assert mean_correlation([DailyReturns(0, values)] * 5) == pytest.approx(1)
    assert mean_correlation([DailyReturns(0, values), DailyReturns(0, -values)]) == pytest.approx(-1)


def test_days_far_apart_take_no_memory():
    far = [DailyReturns(first, np.float32([0.1, 0.2])) for first in (-700_000, 0, 2_900_000)]
    assert mean_correlation(far) is None


@given(st.integers(1, 10**6), st.floats(-1, 1))
def test_it_is_between_one_and_all(number, correlation):
    assert 1 <= effective_trials(number, correlation) <= number
    assert effective_trials(number, 1.0) == 1
    assert effective_trials(number, 0.0) == number


def test_alike_trials_come_to_one_and_different_ones_to_all(ledger, look):
    random = np.random.default_rng(3)
    same = random.normal(0, 0.01, 500).astype(np.float32)
    ledger.record([look(number, returns=DailyReturns(17_000, same)) for number in range(10)])
    assert ledger.count(look().span).effective == pytest.approx(1)
    different = [DailyReturns(17_000, random.normal(0, 0.01, 500).astype(np.float32)) for _ in range(10)]
    ledger.record([look(number, symbols=("GBPUSD",), returns=each) for number, each in enumerate(different)])
    assert ledger.count(look(symbols=("GBPUSD",)).span).effective == pytest.approx(10, abs=0.5)
    assert ledger.count(look(symbols=("USDJPY",)).span).effective is None
