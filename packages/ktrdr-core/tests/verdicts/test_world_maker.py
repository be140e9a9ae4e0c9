"""Worlds keep times and form of the bars, and lose the direction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


FEATURES = {
    "close within the range": lambda bars: (bars.close - bars.low) / (bars.high - bars.low),
    "gap": lambda bars: bars.open - np.concatenate((bars.open[:1], bars.close[:-1])),
    "body": lambda bars: bars.close / bars.open,
    "distance from the mean": lambda bars: bars.close - np.convolve(bars.close, np.full(50, 0.02))[: len(bars)],
    "volume": lambda bars: bars.volume,
}


@pytest.mark.parametrize("kind", NULLS)
@pytest.mark.parametrize("feature", FEATURES)
def test_no_feature_tells_what_can_be_earned_in_a_null_world(reverting: Bars, kind: str, feature: str) -> None:
    maker, found = WorldMaker({"X": reverting}, 5), []
    for number in range(10):
        world = maker.bars(kind, number)["X"]
        # What is bought at the next open is sold at the open after it.
        earned = np.log(world.open[2:] / world.open[1:-1])
        found.append(np.corrcoef(FEATURES[feature](world)[50:-2], earned[50:])[0, 1])
    assert abs(np.mean(found)) < 4 / np.sqrt(10 * len(reverting))


@given(st.integers(0, 10_000), st.sampled_from(WORLD_KINDS), st.lists(st.integers(1, 150), min_size=1, max_size=3))
def test_any_bars_have_sound_worlds(seed: int, kind: str, lengths: list[int]) -> None:
    random = np.random.default_rng(seed)
    base = {}
    for place, n in enumerate(lengths):
        # Holes, prices that stand still, jumps, and volumes that are missing.
        time = np.sort(START + random.choice(400, n, replace=False) * np.timedelta64(3600, "s"))
        moved = random.standard_t(2, n) * (random.random(n) < 0.7)
        level = np.exp(np.cumsum(0.05 * moved))
        prices = np.round(level[:, None] * np.exp(0.02 * np.abs(random.normal(size=(n, 4)))), 2) + 0.01
        volume = np.where(random.random(n) < 0.1, np.nan, random.integers(0, 100, n).astype(np.float64))
        highs, lows = prices.max(axis=1), prices.min(axis=1)
        columns = (prices[:, 0].copy(), highs, lows, prices[:, 3].copy(), volume)
        base[f"S{place}"] = Bars(f"S{place}", HOUR, time, *columns)
    for symbol, world in WorldMaker(base, seed).bars(kind, 1).items():
        check_bars(world)
        assert np.array_equal(world.time, base[symbol].time)
        assert same(world[:1], base[symbol][:1])
        assert world.world == f"{kind}-1"


def test_sign_flips_leave_sizes_and_volume(reverting: Bars) -> None:
    volume = np.where(np.arange(500) % 7, reverting.volume[:500], np.nan)
    base = replace(reverting[:500], volume=volume)
    world = WorldMaker({"X": base}, 3).bars("sign_flips", 0)["X"]
    mean = returns(base).mean()
    assert np.array_equal(world.volume, volume, equal_nan=True)
    assert np.abs(returns(world) - mean) == pytest.approx(np.abs(returns(base) - mean), abs=1e-12)
    assert world.high / world.low == pytest.approx(base.high / base.low, rel=1e-12)


@pytest.mark.parametrize("kind", ["random_phases", "block_bootstrap"])
def test_a_linear_world_has_the_bars_of_the_market_in_another_order(kind: str, reverting: Bars) -> None:
    base = reverting[:500]
    world = WorldMaker({"X": base}, 3).bars(kind, 0)["X"]

    def bodies(bars: Bars) -> dict[float, float]:
        sizes = np.round(np.log(bars.high / bars.low)[1:], 9) + np.round(np.log(bars.close / bars.open)[1:], 9)
        return dict(zip(bars.volume[1:].tolist(), sizes.tolist(), strict=True))

    market = bodies(base)
    kept = bodies(world)
    assert set(kept) <= set(market)
    # Bars of the market with equal volumes are not told apart.
    assert np.mean([kept[volume] == pytest.approx(market[volume], abs=1e-8) for volume in kept]) > 0.8
    assert not np.array_equal(world.volume, base.volume)


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


@pytest.mark.parametrize("rows", [slice(299, 400), slice(0, 202, 2)], ids=["began later", "half of the times"])
@pytest.mark.parametrize("kind", ["garch", "block_bootstrap"])
def test_each_bar_of_a_symbol_with_fewer_times_is_drawn_as_often(kind: str, rows: slice, reverting: Bars) -> None:
    # Every bar has the same form, so that the volume, which numbers it, is divided by the same deviation.
    price = 1.01 ** np.arange(101.0)
    few = replace(reverting[rows], open=price, high=price, low=price, close=price, volume=np.arange(1000.0, 1101.0))
    maker = WorldMaker({"X": reverting[: rows.stop], "Y": few}, 3)
    drawn = [np.round(maker.bars(kind, number)["Y"].volume[1:]).astype(int) for number in range(200)]
    counts = np.bincount(np.concatenate(drawn), minlength=1101)[1001:]
    assert counts.sum() == 200 * 100
    assert counts == pytest.approx(np.full(100, 200), rel=0.5)


def test_the_blocks_of_a_symbol_that_began_later_have_its_bars_in_order(reverting: Bars) -> None:
    later = replace(reverting[200:400], volume=np.arange(200.0))
    maker = WorldMaker({"X": reverting[:400], "Y": later}, 3)
    steps = [np.diff(maker.bars("block_bootstrap", number)["Y"].volume[1:]) for number in range(50)]
    assert np.mean([step == 1 for step in steps]) > 0.6
