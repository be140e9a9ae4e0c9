"""Moves of bars and back, against one bar after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.consistency import check_bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.verdicts.relative_bars import bars_of_moves, mirrored, moves_of
from ktrdr.core.verdicts.sign_flips import flip

PRICES = ("open", "high", "low", "close")


@st.composite
def markets(draw: st.DrawFn) -> Bars:
    """Bars of any prices, with many equal ones."""
    price = st.one_of(st.sampled_from([1.0, 1.1, 97.3]), st.floats(0.001, 10_000))
    four = np.array(draw(st.lists(st.lists(price, min_size=4, max_size=4), min_size=1, max_size=30)))
    time = np.datetime64("2020-01-01", "ns") + np.arange(len(four)) * np.timedelta64(3600, "s")
    volume = np.where(four[:, 3] == 1.0, np.nan, 10.0 * four[:, 0])
    return Bars(
        "X", Timeframe("1h"), time, four[:, 0].copy(), four.max(axis=1), four.min(axis=1), four[:, 3].copy(), volume
    )


@given(markets())
def test_moves_lead_back_to_the_bars(bars: Bars) -> None:
    again = bars_of_moves(bars, moves_of(bars), bars.volume, "again")
    check_bars(again)
    for name in PRICES:
        assert getattr(again, name) == pytest.approx(getattr(bars, name), rel=1e-12)
    assert again.world == "again"
    assert np.array_equal(again.volume, bars.volume, equal_nan=True)


@given(markets(), st.randoms(use_true_random=False))
def test_flipped_bars_are_those_of_one_after_the_other(bars: Bars, random) -> None:
    moves = moves_of(bars)
    mean = float(moves[3].mean()) if moves.shape[1] else 0.0
    flipped = np.array([random.random() < 0.5 for _ in range(moves.shape[1])], dtype=bool)
    world = bars_of_moves(bars, flip(moves, mean, flipped), bars.volume, "")
    check_bars(world)
    close = float(bars.close[0])
    for row in range(1, len(bars)):
        # A price above the centre by a factor comes below it by the same factor.
        before = float(bars.close[row - 1]) * np.exp(mean)
        centre = close * np.exp(mean)
        if flipped[row - 1]:
            expected = [centre * before / getattr(bars, name)[row] for name in ("open", "low", "high", "close")]
        else:
            expected = [centre * getattr(bars, name)[row] / before for name in PRICES]
        assert [getattr(world, name)[row] for name in PRICES] == pytest.approx(expected, rel=1e-9)
        close = expected[3]


@given(markets())
def test_sizes_of_returns_and_drift_are_kept(bars: Bars) -> None:
    moves = moves_of(bars)
    mean = float(moves[3].mean()) if moves.shape[1] else 0.0
    turned = flip(moves, mean, np.ones(moves.shape[1], dtype=bool))
    assert np.abs(turned[3] - mean) == pytest.approx(np.abs(moves[3] - mean), abs=1e-12)
    assert turned[1] - turned[2] == pytest.approx(moves[1] - moves[2], abs=1e-12)
    # All bars mirrored: as the deviations add up to nothing, the last close is that of the market.
    world = bars_of_moves(bars, turned, bars.volume, "")
    assert world.close[-1] == pytest.approx(bars.close[-1], rel=1e-9)


def test_high_and_low_change_places_in_a_mirrored_bar() -> None:
    moves = np.array([[0.1, 0.1], [0.4, 0.4], [-0.2, -0.2], [0.3, 0.3]])
    found = mirrored(moves, np.array([True, False]))
    assert found.T.tolist() == [[-0.1, 0.2, -0.4, -0.3], [0.1, 0.4, -0.2, 0.3]]


def test_prices_stay_finite_and_above_zero() -> None:
    time = np.datetime64("2020-01-01", "ns") + np.arange(41) * np.timedelta64(3600, "s")
    price = np.ones(41)
    base = Bars("X", Timeframe("1h"), time, price, price, price, price, price)
    for step in (100.0, -100.0):
        check_bars(bars_of_moves(base, np.full((4, 40), step), price, ""))
