"""Turning points compared with a zigzag that is drawn from the start, in decimals, at every bar."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.labels.make import make_labels
from ktrdr.core.strategy.model import Labels

Section = Callable[..., Labels]
BarsOf = Callable[..., Bars]

BUY, HOLD, SELL = 0.0, 1.0, 2.0


def drawn(closes: Sequence[Decimal], reversal: Decimal) -> tuple[dict[int, float], set[int]]:
    """Return the turns of the zigzag of ``closes`` that are confirmed, and the rows that may still become one."""
    turns: dict[int, float] = {}
    begin, way = 0, ""
    for row, close in enumerate(closes):
        seen = closes[begin : row + 1]
        low, high = begin + seen.index(min(seen)), begin + seen.index(max(seen))
        if way != "up" and close >= closes[low] * (1 + reversal):
            turns[low], way, begin = BUY, "up", row
        elif way != "down" and close <= closes[high] * (1 - reversal):
            turns[high], way, begin = SELL, "down", row
    seen = closes[begin:]
    low, high = begin + seen.index(min(seen)), begin + seen.index(max(seen))
    return turns, ({low} if way != "up" else set()) | ({high} if way != "down" else set())


def slow(closes: Sequence[Decimal], reversal: Decimal, max_span: int) -> tuple[list[float], list[int]]:
    """Return the labels one by one: is the bar a low or high at its close, and do later ones confirm or replace it?"""
    n = len(closes)
    pictures = [drawn(closes[: row + 1], reversal) for row in range(n)]
    values, ends = [math.nan] * n, [-1] * n
    for row in range(n):
        if row not in pictures[row][1]:
            if row + 1 < n:
                values[row], ends[row] = HOLD, row + 1
            continue
        for later in range(row + 1, min(row + max_span + 1, n)):
            turns, may_turn = pictures[later]
            if row in turns or row not in may_turn:
                values[row], ends[row] = turns.get(row, HOLD), later
                break
        else:
            if row + max_span < n:
                values[row], ends[row] = HOLD, row + max_span
    return values, ends


def assert_as_slow(made: LabelSet, expected: tuple[list[float], list[int]]) -> None:
    values, ends = expected
    np.testing.assert_array_equal(made.values, values)
    np.testing.assert_array_equal(made.span_end[made.labelled], np.array(ends, dtype=np.int64)[made.labelled])


@given(
    moves=st.lists(st.integers(-3, 3), max_size=60),
    step=st.sampled_from([1, 50, 100]),
    exponent=st.integers(-10, 2),
    reversal=st.sampled_from(["0.005", "0.01", "0.02", "0.1"]),
    max_span=st.integers(1, 15),
)
def test_equal_a_zigzag_drawn_from_the_start_at_every_bar(
    moves: list[int],
    step: int,
    exponent: int,
    reversal: str,
    max_span: int,
    bars_of: BarsOf,
    labels_section: Section,
):
    """In steps of up to 1 % of the price, quoted in any unit: reversals of exactly the threshold are common."""
    ticks = (10_000 + step * np.cumsum(moves, dtype=np.int64)).tolist()
    bars = bars_of([float(f"{tick}e{exponent}") for tick in ticks])
    made = make_labels(labels_section("turning_points", reversal=float(reversal), max_span=max_span), bars)
    expected = slow([Decimal(tick) for tick in ticks], Decimal(reversal), max_span) if ticks else ([], [])
    assert_as_slow(made, expected)


@pytest.mark.parametrize(("reversal", "max_span"), [("0.003", 24), ("0.005", 8), ("0.001", 3)])
def test_equal_a_zigzag_drawn_from_the_start_at_every_bar_on_eurusd(
    eurusd: Bars, labels_section: Section, reversal: str, max_span: int
):
    bars = eurusd[1000:1400]
    closes = [Decimal(repr(close)) for close in bars.close.tolist()]
    made = make_labels(labels_section("turning_points", reversal=float(reversal), max_span=max_span), bars)
    assert_as_slow(made, slow(closes, Decimal(reversal), max_span))
    assert {HOLD, SELL} <= set(made.values[made.labelled])


def test_a_low_is_bought_where_the_close_has_risen_by_the_reversal(bars_of: BarsOf, labels_section: Section):
    #              0    1    2   3   4   5    6    7    8   9
    bars = bars_of([100, 102, 99, 97, 98, 100, 103, 102, 99, 98])
    made = make_labels(labels_section("turning_points", reversal=0.03, max_span=5), bars)
    # 97 is confirmed at 100, which is 97 * 1.0309; 103 at 99, which is 103 * 0.961. The last low is open.
    np.testing.assert_array_equal(made.values, [HOLD, SELL, HOLD, BUY, HOLD, HOLD, SELL, HOLD, HOLD, math.nan])
    assert made.span_end[[1, 3, 6]].tolist() == [3, 5, 8]
    assert made.look_ahead == 5


def test_a_turn_that_is_confirmed_too_late_is_labelled_hold(bars_of: BarsOf, labels_section: Section):
    closes = [100, 102, 97, *[98.5] * 4, 100, 103, 99, 98]
    for max_span, label in ((4, HOLD), (5, BUY)):
        made = make_labels(labels_section("turning_points", reversal=0.03, max_span=max_span), bars_of(closes))
        assert made.values[2] == label
        assert made.span_end[2] == 2 + max_span
        # The zigzag turns there all the same: the next high is one.
        assert made.values[8] == SELL


def test_turns_alternate_and_lie_where_the_price_turns(eurusd: Bars, labels_section: Section):
    made = make_labels(labels_section("turning_points", reversal=0.004, max_span=6000), eurusd)
    rows = np.flatnonzero(made.labelled & (made.values != HOLD))
    assert len(rows) > 100
    assert (np.diff(made.values[rows]) != 0).all()
    for row, following in zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True):
        between = eurusd.close[row : following + 1]
        assert between[0] == (between.min() if made.values[row] == BUY else between.max())
        assert between[-1] == (between.max() if made.values[row] == BUY else between.min())


def test_bars_without_a_close_are_passed_over(bars_of: BarsOf, labels_section: Section):
    closes = [100, math.nan, 97, math.nan, 100, 103, 99, 98]
    made = make_labels(labels_section("turning_points", reversal=0.03, max_span=4), bars_of(closes))
    np.testing.assert_array_equal(made.values, [SELL, math.nan, BUY, math.nan, HOLD, SELL, HOLD, math.nan])
