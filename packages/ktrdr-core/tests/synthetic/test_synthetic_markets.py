"""Synthetic markets: their formulas against loops that say them word for word, and what every bar must satisfy."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrdr.core.data.consistency import check_bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.errors import BadInputError
from ktrdr.core.synthetic.known_edge import known_edge_bars, known_edge_market
from ktrdr.core.synthetic.market import market_bars, synthetic_market
from ktrdr.core.synthetic.optimum import optimum, positions_at
from ktrdr.core.synthetic.price_paths import PATHS
from ktrdr.core.synthetic.processes import PROCESSES
from ktrdr.core.synthetic.random_streams import normals, uniforms

START = np.datetime64("2017-01-01", "ns")
HOUR = Timeframe("1h")


def uniform_numbers(seed, stream, n):
    words = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream,))).random_raw(n)
    return [((int(word) >> 11) + 1) / 2**53 for word in words]


def normal_numbers(seed, stream, n):
    u = uniform_numbers(seed, stream, 2 * n)
    return [math.sqrt(-2 * math.log(u[2 * i])) * math.cos(2 * math.pi * u[2 * i + 1]) for i in range(n)]


def path_by_loop(process, seed, n, p):
    """Logarithms of the closes, volatility, and expected return of the next bar, bar by bar."""
    log_price, volatility, expected = [], [], []
    price = math.log(p["price"])
    if process == "mean_reversion":
        mean = distance = 0.0
        for e0, e1 in zip(normal_numbers(seed, 0, n), normal_numbers(seed, 1, n), strict=True):
            mean = (1 - p["mean_pull"]) * mean + p["mean_noise"] * e0
            distance = (1 - p["reversion"]) * distance + p["noise"] * e1
            log_price.append(price + mean + distance)
            volatility.append(math.sqrt(p["mean_noise"] ** 2 + p["noise"] ** 2))
            expected.append(-p["reversion"] * distance - p["mean_pull"] * mean)
    elif process == "momentum":
        trend = 0.0
        for e0, e1 in zip(normal_numbers(seed, 0, n), normal_numbers(seed, 1, n), strict=True):
            price += (1 - p["fading"]) * trend + p["volatility"] * e1
            trend = (1 - p["fading"]) * trend + p["trend_noise"] * e0
            log_price.append(price)
            volatility.append(p["volatility"])
            expected.append((1 - p["fading"]) * trend)
    elif process == "regime_volatility":
        calm = True
        for u0, e1 in zip(uniform_numbers(seed, 0, n), normal_numbers(seed, 1, n), strict=True):
            if u0 <= (p["calm_end"] if calm else p["turbulence_end"]):
                calm = not calm
            volatility.append(p["calm"] if calm else p["turbulent"])
            price += volatility[-1] * e1
            log_price.append(price)
            expected.append(0.0)
    elif process == "garch":
        h = p["volatility"] ** 2
        for e0 in normal_numbers(seed, 0, n):
            r = math.sqrt(h) * e0
            price += r
            log_price.append(price)
            volatility.append(math.sqrt(h))
            expected.append(0.0)
            h = p["volatility"] ** 2 * (1 - p["alpha"] - p["beta"]) + p["alpha"] * r**2 + p["beta"] * h
    else:
        for e0 in normal_numbers(seed, 0, n):
            price += p["volatility"] * e0
            log_price.append(price)
            volatility.append(p["volatility"])
            expected.append(0.0)
    return log_price, volatility, expected


def test_every_process_has_a_path():
    assert PATHS.keys() == PROCESSES.keys()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), stream=st.integers(0, 20), n=st.integers(0, 40))
def test_random_numbers_are_those_of_the_formula(seed, stream, n):
    assert uniforms(seed, stream, n).tolist() == uniform_numbers(seed, stream, n)
    assert normals(seed, stream, n) == pytest.approx(normal_numbers(seed, stream, n), rel=1e-12, abs=1e-15)


@settings(max_examples=40, deadline=None)
@given(process=st.sampled_from(list(PROCESSES)), seed=st.integers(0, 2**32 - 1), n=st.integers(1, 80))
def test_paths_and_bars_are_those_of_the_formulas(process, seed, n):
    market = synthetic_market(process, seed)
    log_price, volatility, expected = path_by_loop(process, seed, n, market.parameters)
    path = market.path(n)
    assert path.log_price == pytest.approx(log_price, rel=1e-12)
    assert path.volatility == pytest.approx(volatility, rel=1e-12)
    assert path.expected(1) == pytest.approx(expected, rel=1e-9, abs=1e-15)
    bars = market_bars(market, "SOME", HOUR, START, n)
    up, down = uniform_numbers(seed, 8, n), uniform_numbers(seed, 9, n)
    before = math.log(market.parameters["price"])
    for i, after in enumerate(log_price):
        reach = [math.sqrt((after - before) ** 2 - 2 * volatility[i] ** 2 * math.log(u)) for u in (up[i], down[i])]
        assert bars.close[i] == pytest.approx(math.exp(after), abs=6e-6)
        assert bars.high[i] == pytest.approx(math.exp((before + after + reach[0]) / 2), abs=6e-6)
        assert bars.low[i] == pytest.approx(math.exp((before + after - reach[1]) / 2), abs=6e-6)
        before = after


@settings(max_examples=30, deadline=None)
@given(
    process=st.sampled_from(list(PROCESSES)),
    seed=st.integers(0, 2**32 - 1),
    timeframe=st.sampled_from(["1m", "1h", "4h", "1d"]),
    n=st.integers(1, 300),
    more=st.integers(0, 300),
)
def test_bars_are_possible_without_gaps_and_go_on_where_they_ended(process, seed, timeframe, n, more):
    market = synthetic_market(process, seed)
    bars = market_bars(market, "SOME", Timeframe(timeframe), START, n + more)
    check_bars(bars)
    assert (bars.open[1:] == bars.close[:-1]).all()
    assert (np.diff(bars.time) == np.timedelta64(Timeframe(timeframe).nanoseconds, "ns")).all()
    assert (bars.volume >= 1).all()
    for name in ("open", "high", "low", "close"):
        column = getattr(bars, name)
        assert (np.round(column, 5) == column).all()
    fewer = market_bars(market, "SOME", Timeframe(timeframe), START, n)
    assert all(
        (getattr(fewer, name) == getattr(bars, name)[:n]).all() for name in ("time", "open", "high", "low", "close")
    )
    assert (fewer.volume == bars.volume[:n]).all()
    assert (bars.world, bars.calendar) == (f"{process}-{seed}", "24/7")


def test_the_shipped_market_is_the_same_on_every_machine():
    bars = known_edge_bars()
    content = b"".join(
        getattr(bars, name).astype("<f8").tobytes() for name in ("open", "high", "low", "close", "volume")
    )
    assert (len(bars), str(bars.time[0]), str(bars.end)[:19]) == (
        17_520, "2017-01-01T00:00:00.000000000", "2019-01-01T00:00:00",
    )  # fmt: skip
    assert hashlib.sha256(content).hexdigest() == "41d1e89fd028a2815bee44768b08828618c5eb4f4352e66586565672d2ab1444"


@pytest.mark.parametrize("process", ["mean_reversion", "momentum"])
@pytest.mark.parametrize("horizon", [1, 6])
def test_the_expected_return_is_what_comes_on_average(process, horizon):
    path = synthetic_market(process, 11).path(200_000)
    expected = path.expected(horizon)[:-horizon:horizon]
    moved = (path.log_price[horizon:] - path.log_price[:-horizon])[::horizon]
    slope = float(expected @ moved / (expected @ expected))
    error = float(np.std(moved - slope * expected) / math.sqrt(expected @ expected))
    assert abs(slope - 1) < 4 * error < 0.2


@pytest.mark.parametrize("process", ["walk", "garch", "regime_volatility"])
def test_nothing_is_expected_of_the_others(process):
    assert not synthetic_market(process, 3).path(50).expected(4).any()


def test_highs_and_lows_have_the_distribution_of_a_brownian_bridge():
    """A bridge from o to c of volatility s exceeds b with probability exp(-2 (b - o) (b - c) / s^2)."""
    n = 40_000
    bars = market_bars(synthetic_market("walk", 5, {"volatility": 0.02}), "SOME", HOUR, START, n)
    o, c, high, low = (np.log(getattr(bars, name)) for name in ("open", "close", "high", "low"))
    for level in (high, low):
        chance = np.exp(-2 * (level - o) * (level - c) / 0.02**2)
        assert abs(chance.mean() - 0.5) < 4 * math.sqrt(1 / 12 / n)
        assert abs((chance < 0.1).mean() - 0.1) < 4 * math.sqrt(0.09 / n)


@settings(max_examples=40, deadline=None)
@given(
    expected=st.lists(st.floats(-1, 1, allow_nan=False), min_size=1, max_size=40),
    threshold=st.floats(0, 1, allow_nan=False),
)
def test_positions_are_kept_between_the_thresholds(expected, threshold):
    held, positions = 0, []
    for each in expected:
        if each > threshold:
            held = 1
        elif each < -threshold:
            held = -1
        positions.append(held)
    assert positions_at(np.array(expected), threshold).tolist() == positions


def test_the_optimum_is_that_of_a_loop_over_thresholds_and_bars():
    market, first, n, cost, year = known_edge_market(), 50, 650, 0.0002, 8765.82
    path = market.path(n)
    expected, price = path.expected(1).tolist(), path.log_price.tolist()
    best = -math.inf
    for step in range(41):
        threshold, held, net = 4 * np.std(expected[first:]) * step / 40, 0, []
        for bar in range(first, n - 1):
            wanted = 1 if expected[bar] > threshold else -1 if expected[bar] < -threshold else held
            net.append(wanted * (price[bar + 1] - price[bar]) - cost * abs(wanted - held))
            held = wanted
        if any(net):
            best = max(best, np.mean(net) / np.std(net, ddof=1) * math.sqrt(year))
    six = path.expected(6).tolist()
    right = [(six[bar] > 0) == (price[bar + 6] > price[bar]) for bar in range(first, n - 6)]
    found = optimum(market, first, n, horizon=6, cost=cost, bars_per_year=year)
    assert found.sharpe == pytest.approx(best, rel=1e-9)
    assert found.accuracy == pytest.approx(np.mean(right))


def test_the_known_edge_is_worth_its_costs():
    """0.02 % per side; the Sharpe ratio that the market must have is 4."""
    found = optimum(known_edge_market(), 0, 17_520, horizon=6, cost=0.0002, bars_per_year=8765.82)
    assert found.sharpe > 10
    assert 0.66 < found.accuracy < 0.72


@pytest.mark.parametrize(
    ("process", "seed", "parameters", "message"),
    [
        ("revert", 1, {}, "unknown process `revert`; known: mean_reversion, momentum, regime_volatility, garch, walk"),
        ("walk", -1, {}, "the seed must be a whole number from 0 to 4294967295, not -1"),
        ("walk", 1, {"volatilty": 1}, "process `walk`: unknown key `volatilty`, did you mean `volatility`?"),
        ("walk", 1, {"volatility": 0}, "process `walk`: `volatility` must be above 0, not 0"),
        ("mean_reversion", 1, {"reversion": 1.5}, "process `mean_reversion`: `reversion` must be at most 1, not 1.5"),
        ("garch", 1, {"beta": 0.95}, "process `garch`: `alpha` and `beta` must sum to less than 1, not to 1.03"),
    ],
)
def test_wrong_parameters_are_one_sentence(process, seed, parameters, message):
    with pytest.raises(BadInputError) as error:
        synthetic_market(process, seed, parameters)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("start", "timeframe", "n", "parameters", "message"),
    [
        (
            "2017-01-01T05:30",
            "1h",
            5,
            {},
            "the start 2017-01-01 05:30 is no open of a 1h bar; give the one before it as --start: 2017-01-01T05:00",
        ),
        ("2017-01-01", "1h", 0, {}, "a synthetic market has 1 to 10,000,000 bars, not 0"),
        (
            "2017-01-02",
            "1w",
            9_000_000,
            {},
            "9,000,000 1w bars from 2017-01-02 00:00 on end after 2261: use fewer bars",
        ),
        ("2017-01-01", "1h", 2000, {"volatility": 0.5}, "use fewer bars or less volatility"),
    ],
)
def test_impossible_bars_are_one_sentence(start, timeframe, n, parameters, message):
    with pytest.raises(BadInputError) as error:
        market_bars(
            synthetic_market("walk", 1, parameters), "SOME", Timeframe(timeframe), np.datetime64(start, "ns"), n
        )
    assert message in str(error.value)


def test_other_parameters_are_another_market():
    names = {synthetic_market("walk", 1, given).world for given in ({}, {"volatility": 0.002}, {"price": 2})}
    assert len(names) == 3
    assert synthetic_market("walk", 1, {"volatility": 0.001}).world == "walk-1"
