"""Worlds keep times and form of the bars, and lose the direction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.consistency import check_bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.errors import BadInputError
from ktrdr.core.synthetic.market import market_bars, synthetic_market
from ktrdr.core.verdicts.world_maker import WORLD_KINDS, WorldMaker

HOUR = Timeframe("1h")
START = np.datetime64("2017-01-02", "ns")
NULLS = ("sign_flips", "garch")


def made(process: str, n: int, seed: int = 7, symbol: str = "X") -> Bars:
    return market_bars(synthetic_market(process, seed), symbol, HOUR, START, n)


def returns(bars: Bars) -> np.ndarray:
    return np.diff(np.log(bars.close))


def same(one: Bars, other: Bars) -> bool:
    names = ("open", "high", "low", "close", "volume")
    return all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in names)


@pytest.fixture(scope="module")
def reverting() -> Bars:
    return made("mean_reversion", 8_000)


def coefficient(bars: Bars, length: int = 20) -> float:
    """Correlation of the log return of the last ``length`` bars with that of the next one."""
    close = np.log(bars.close)
    before = close[length:-1] - close[: -length - 1]
    return float(np.corrcoef(before, np.diff(close)[length:])[0, 1])


@pytest.mark.parametrize("kind", NULLS)
def test_no_direction_can_be_predicted_in_a_null_world(reverting: Bars, kind: str) -> None:
    maker = WorldMaker({"X": reverting}, 3)
    found = [coefficient(maker.bars(kind, number)["X"]) for number in range(10)]
    assert coefficient(reverting) < -0.15
    assert abs(np.mean(found)) < 4 / np.sqrt(10 * len(reverting))
    assert np.abs(found).max() < 4 / np.sqrt(len(reverting))


@pytest.mark.parametrize(("kind", "least", "most"), [("random_phases", 0.9, 1.1), ("block_bootstrap", 0.4, 1.0)])
def test_a_linear_world_keeps_the_mean_reversion(reverting: Bars, kind: str, least: float, most: float) -> None:
    maker = WorldMaker({"X": reverting}, 3)
    found = [coefficient(maker.bars(kind, number)["X"]) for number in range(10)]
    assert least < np.mean(found) / coefficient(reverting) < most


def test_a_linear_world_of_a_symbol_that_began_later_keeps_the_mean_reversion(reverting: Bars) -> None:
    later = replace(made("mean_reversion", len(reverting), 8)[5000:], symbol="Y")
    maker = WorldMaker({"X": reverting, "Y": later}, 3)
    found = [coefficient(maker.bars("random_phases", number)["Y"]) for number in range(10)]
    assert 0.7 < np.mean(found) / coefficient(later) < 1.3


@pytest.mark.parametrize("kind", WORLD_KINDS)
@pytest.mark.parametrize("process", ["mean_reversion", "regime_volatility"])
def test_worlds_are_sound_bars_at_the_same_times(kind: str, process: str) -> None:
    base = {"A": made(process, 600), "B": made(process, 600, 8)[100:500]}
    worlds = WorldMaker(base, 3).bars(kind, 4)
    assert list(worlds) == ["A", "B"]
    for symbol, world in worlds.items():
        check_bars(world)
        assert np.array_equal(world.time, base[symbol].time)
        assert same(world[:1], base[symbol][:1])
        assert not same(world, base[symbol])
        assert world.world == f"{kind}-4 of {base[symbol].world}"
        assert (world.symbol, world.timeframe, world.calendar) == (base[symbol].symbol, HOUR, "24/7")


@pytest.mark.parametrize("kind", WORLD_KINDS)
def test_a_world_is_the_same_in_any_order(kind: str, reverting: Bars) -> None:
    base = {"X": reverting[:500]}
    maker = WorldMaker(base, 3)
    forward = [maker.bars(kind, number)["X"] for number in range(3)]
    again = WorldMaker(base, 3)
    assert all(same(again.bars(kind, number)["X"], forward[number]) for number in (2, 0, 1))
    assert not same(forward[0], forward[1])
    assert not same(WorldMaker(base, 4).bars(kind, 0)["X"], forward[0])


def test_kinds_have_random_numbers_of_their_own(reverting: Bars) -> None:
    maker = WorldMaker({"X": reverting}, 3)
    signs = [np.sign(returns(maker.bars(kind, 0)["X"]) - returns(reverting).mean()) for kind in NULLS]
    assert abs(np.corrcoef(*signs)[0, 1]) < 0.1


@pytest.mark.parametrize("kind", WORLD_KINDS)
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_bars_make_a_world(kind: str, n: int, reverting: Bars) -> None:
    world = WorldMaker({"X": reverting[:n], "Y": reverting[:40]}, 3).bars(kind, 0)["X"]
    assert len(world) == n
    check_bars(world)
    # One return is its own mean, so nothing is left to mirror.
    assert n == 3 or world.close == pytest.approx(reverting.close[:n])


def test_no_symbol_makes_an_empty_world() -> None:
    assert all(WorldMaker({}, 3).bars(kind, 0) == {} for kind in WORLD_KINDS)


@pytest.mark.parametrize("kind", WORLD_KINDS)
def test_a_constant_price_stays_constant(kind: str, reverting: Bars) -> None:
    flat = np.full(300, 1.2345)
    quiet = replace(reverting[:300], open=flat, high=flat, low=flat, close=flat)
    assert same(replace(WorldMaker({"X": quiet}, 3).bars(kind, 0)["X"], volume=quiet.volume), quiet)
    ranging = replace(quiet, high=flat * 1.01)
    world = WorldMaker({"X": ranging}, 3).bars(kind, 0)["X"]
    check_bars(world)
    assert world.close == pytest.approx(flat)
    assert world.high / world.low == pytest.approx(1.01)


@pytest.mark.parametrize("price", [0.0, -1.0, np.nan])
def test_prices_without_a_logarithm_are_refused(price: float, reverting: Bars) -> None:
    low = reverting.low[:50].copy()
    low[20] = price
    with pytest.raises(BadInputError, match="X 1h: the bar of 2017-01-02 20:00 has"):
        WorldMaker({"X": replace(reverting[:50], low=low)}, 3)


@pytest.mark.parametrize(("kind", "number"), [("sign_flips", -1), ("walk", 0)])
def test_there_are_no_other_worlds(kind: str, number: int, reverting: Bars) -> None:
    with pytest.raises(ValueError, match="there is no world"):
        WorldMaker({"X": reverting[:50]}, 3).bars(kind, number)


@pytest.mark.parametrize("process", ["garch", "regime_volatility"])
def test_a_world_of_garch_is_as_volatile_as_the_market(process: str) -> None:
    market = made(process, 8_000)
    maker = WorldMaker({"X": market}, 3)
    ratio = [returns(maker.bars("garch", number)["X"]).var() / returns(market).var() for number in range(10)]
    assert np.mean(ratio) == pytest.approx(1.0, abs=0.03)
    assert np.abs(np.array(ratio) - 1).max() < 0.15


@pytest.mark.parametrize("kind", WORLD_KINDS)
def test_symbols_that_move_together_do_so_in_a_world(kind: str, reverting: Bars) -> None:
    other = made("mean_reversion", len(reverting), 8)
    close = np.sqrt(reverting.close * other.close)
    both = replace(other, open=close, high=close, low=close, close=close)
    real = float(np.corrcoef(returns(reverting), returns(both))[0, 1])
    world = WorldMaker({"X": reverting, "Y": both}, 3).bars(kind, 0)
    assert np.corrcoef(returns(world["X"]), returns(world["Y"]))[0, 1] == pytest.approx(real, abs=0.03)


def test_symbols_with_other_times_have_the_sign_of_their_time(reverting: Bars) -> None:
    base = {"X": reverting[:400], "Y": replace(reverting[50:600], symbol="Y")}
    world = WorldMaker(base, 3).bars("sign_flips", 0)
    flipped = {}
    for symbol, bars in base.items():
        drift = returns(bars).mean()
        flipped[symbol] = ((returns(world[symbol]) > drift) != (returns(bars) > drift)).tolist()
    assert flipped["X"][50:] == flipped["Y"][:349]
    assert 0.4 < np.mean(flipped["X"]) < 0.6
