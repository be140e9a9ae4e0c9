"""What holds of every type of the registry: causality, warm-up, gaps, short input, markets that do not move."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.errors import BadInputError
from ktrdr.core.indicators.computation import compute_indicator, source_series
from ktrdr.core.indicators.registry import get_indicator, indicator_names
from ktrdr.core.indicators.types import SOURCES

NAMES = indicator_names()
PRICES = ("open", "high", "low", "close")
COLUMNS = (*PRICES, "volume")

# Parameters at the short end of their ranges, where formulas have their corners.
SHORTEST = {
    name: {
        parameter.name: int(parameter.minimum)
        for parameter in get_indicator(name).parameters
        if parameter.kind == "int" and parameter.minimum is not None
    }
    for name in NAMES
} | {
    "macd": {"fast_period": 2, "slow_period": 3, "signal_period": 1},
    "ppo": {"fast_period": 2, "slow_period": 3, "signal_period": 1},
    "ultimate_oscillator": {"fast_period": 1, "medium_period": 2, "slow_period": 3},
}
FURTHER = {
    "vwap": [{"anchor": "day"}],
    "returns": [{"method": "log"}],
    "distance_from_ma": [{"ma_type": "ema"}],
    "stddev": [{"source": "volume"}],
}
CASES = [
    pytest.param(name, given, id=f"{name}{label}")
    for name in NAMES
    for label, given in [("", {}), ("-shortest", SHORTEST[name])]
    + [(f"-{next(iter(further.values()))}", further) for further in FURTHER.get(name, [])]
    if label == "" or given
]
every_case = pytest.mark.parametrize(("name", "given"), CASES)
every_type = pytest.mark.parametrize("name", NAMES)


def warmup_of(name, given):
    indicator = get_indicator(name)
    parameters, problems = indicator.validate(given)
    assert not problems
    return indicator.warmup(parameters)


def memory_of(name, given):
    indicator = get_indicator(name)
    return indicator.memory_of(indicator.validate(given)[0])


def changed(bars, **columns):
    """``bars`` with other columns."""
    old = {name: getattr(bars, name) for name in COLUMNS}
    return Bars(bars.symbol, bars.timeframe, bars.time, *(old | columns).values())


def assert_same(one, other, message=""):
    assert one.keys() == other.keys()
    for output in one:
        np.testing.assert_array_equal(one[output], other[output], err_msg=f"{output} {message}")


@every_case
def test_a_value_never_changes_when_later_bars_are_known(eurusd, apple, name, given):
    """To the last bit: at every row while it warms up, then at random rows."""
    warmup = warmup_of(name, given)
    rows = np.random.default_rng(1).choice(np.arange(warmup + 3, 1500), 20, replace=False)
    for bars in (eurusd[:1500], apple[:1500]):
        whole = compute_indicator(name, given, bars)
        for row in (*range(min(warmup, 40) + 3), warmup, warmup + 1, *rows):
            part = compute_indicator(name, given, bars[: row + 1])
            assert_same({output: values[: row + 1] for output, values in whole.items()}, part, f"at row {row}")


@every_case
def test_the_first_value_comes_exactly_after_the_warm_up(eurusd, name, given):
    warmup = warmup_of(name, given)
    for output, values in compute_indicator(name, given, eurusd).items():
        known = np.isfinite(values)
        assert not known[:warmup].any(), output
        assert known[warmup:].all(), output


@every_case
def test_fewer_bars_than_the_warm_up_give_no_value_and_no_error(eurusd, name, given):
    warmup = warmup_of(name, given)
    for n in {0, 1, 2, warmup - 1, warmup, warmup + 1} - {-1}:
        outputs = compute_indicator(name, given, eurusd[:n])
        assert tuple(outputs) == get_indicator(name).outputs
        for values in outputs.values():
            assert values.shape == (n,)
            assert values.dtype == np.float64
            assert np.isfinite(values).sum() == max(n - warmup, 0)


@every_case
def test_a_gap_starts_the_indicator_anew(eurusd, name, given):
    """Before it, as if there were no later bars; after it, as if there were no earlier ones."""
    indicator = get_indicator(name)
    parameters, _ = indicator.validate(given)
    warmup = indicator.warmup(parameters)
    length = warmup + 30
    read = set(indicator.inputs) & set(COLUMNS)
    if indicator.has_source:
        read |= {"hl2": {"high", "low"}, "hlc3": {"high", "low", "close"}, "ohlc4": set(PRICES)}.get(
            parameters["source"], {parameters["source"]}
        )
    assert read
    for hole in (np.nan, np.inf):
        for column in sorted(read):
            values = getattr(eurusd, column)[: 2 * length + 2].copy()
            values[[length, length + 1]] = hole
            bars = changed(eurusd[: 2 * length + 2], **{column: values})
            found = compute_indicator(name, given, bars)
            before = compute_indicator(name, given, eurusd[:length])
            after = compute_indicator(name, given, eurusd[length + 2 : 2 * length + 2])
            for output, values in found.items():
                np.testing.assert_array_equal(values[:length], before[output])
                assert np.isnan(values[length : length + 2]).all()
                np.testing.assert_array_equal(values[length + 2 :], after[output])
                assert np.isfinite(values[length + 2 + warmup :]).all()


@every_case
def test_columns_that_are_not_read_do_not_matter(eurusd, name, given):
    indicator = get_indicator(name)
    bars = eurusd[: warmup_of(name, given) + 200]
    unread = set(COLUMNS) - set(indicator.inputs)
    if indicator.has_source:
        source = indicator.validate(given)[0]["source"]
        unread -= set(PRICES) if source in ("hl2", "hlc3", "ohlc4") else {source}
    nothing = {column: np.full(len(bars), np.nan) for column in unread}
    assert_same(compute_indicator(name, given, changed(bars, **nothing)), compute_indicator(name, given, bars))


@every_case
def test_bars_are_left_as_they_were_and_results_are_copies(eurusd, name, given):
    bars = eurusd[:300]
    copies = {column: getattr(bars, column).copy() for column in COLUMNS}
    first = compute_indicator(name, given, changed(bars, **copies))
    for column in COLUMNS:
        np.testing.assert_array_equal(copies[column], getattr(bars, column))
    for values in first.values():
        assert not any(np.shares_memory(values, column) for column in copies.values())
    assert len({id(values) for values in first.values()}) == len(first)


def is_window_alone(name, given, bars):
    """Tell whether the last values are those of the last ``warmup + 1`` bars alone."""
    whole, alone = (compute_indicator(name, given, part) for part in (bars, bars[-warmup_of(name, given) - 1 :]))
    return all(np.isclose(whole[output][-1], alone[output][-1], rtol=1e-9, atol=1e-12) for output in whole)


@every_case
def test_memory_is_as_declared(eurusd, name, given):
    """A window forgets what is before it, a day what is before midnight, a recursion in time, a sum never.

    None forgets sooner than it says.
    """
    memory, warmup = memory_of(name, given), warmup_of(name, given)
    bars = eurusd[:3000]
    whole = compute_indicator(name, given, bars)
    midnight = int(np.searchsorted(bars.time, bars.time[-1].astype("datetime64[D]")))
    begins = {"window": 2999 - warmup, "day": midnight, "recursive": 300}

    def last_values_are_those_of_bars_from(begin):
        late = compute_indicator(name, given, bars[begin:])
        scales = {output: np.abs(values[warmup:]).max() for output, values in whole.items()}
        return [
            np.isclose(values[-1], late[output][-1], rtol=1e-9, atol=1e-9 * scales[output])
            for output, values in whole.items()
        ]

    if memory == "cumulative":
        assert not any(last_values_are_those_of_bars_from(300))
    else:
        assert all(last_values_are_those_of_bars_from(begins[memory]))
    # Windows of one bar are nothing but that bar.
    if memory in ("day", "recursive") and given != SHORTEST[name]:
        assert not all(is_window_alone(name, given, bars[:end]) for end in range(3000, 1000, -50))


# What an indicator says of a market that stands still at 1.1, volume 7: the neutral value it documents. A trend has
# either direction there.
STILL = {
    "rsi": 50.0, "roc": 0.0, "momentum": 0.0, "cci": 0.0, "williams_r": -50.0, "stochastic": 50.0, "rvi": 0.0,
    "fisher": 0.0, "aroon": (100.0, 100.0, 0.0), "aroon_oscillator": 0.0, "macd": 0.0, "ppo": 0.0, "trix": 0.0,
    "chande_momentum": 0.0, "ultimate_oscillator": 50.0, "vortex": 1.0, "sma": 1.1, "ema": 1.1, "wma": 1.1,
    "dema": 1.1, "tema": 1.1, "kama": 1.1, "hma": 1.1, "distance_from_ma": 0.0, "adx": 0.0,
    "parabolic_sar": (1.1, None),
    "supertrend": (1.1, None), "ichimoku": 1.1, "atr": 0.0, "natr": 0.0, "bbands": 1.1, "bbands_width": 0.0,
    "keltner": 1.1, "donchian": 1.1, "squeeze": 0.0, "volatility": 0.0, "stddev": 0.0, "choppiness": 50.0, "obv": 7.0,
    "vwap": 1.1, "mfi": 50.0, "cmf": 0.0, "ad_line": 0.0, "volume_ratio": 1.0, "zscore": 0.0, "returns": 0.0,
    "linreg_slope": 0.0, "percentile_rank": 0.0,
}  # fmt: skip


def still(n, price=1.1, volume=7.0):
    time = np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(3600, "s")
    level = np.full(n, price)
    return Bars("X", Timeframe("1h"), time, level, level, level, level, np.full(n, volume))


@every_case
def test_in_a_market_that_stands_still(name, given):
    assert name in STILL, f"say what {name} is in a market that stands still"
    found = compute_indicator(name, given, still(300))
    expected = STILL[name] if isinstance(STILL[name], tuple) else (STILL[name],) * len(found)
    warmup = warmup_of(name, given)
    for (output, values), level in zip(found.items(), expected, strict=True):
        assert np.isfinite(values[warmup:]).all(), output
        if level is None:
            assert set(values[warmup:]) <= {1.0, -1.0}
        else:
            np.testing.assert_allclose(values[warmup:], level, rtol=1e-12, atol=1e-13, err_msg=output)


@pytest.mark.parametrize(("name", "given"), [case for case in CASES if memory_of(*case.values) == "window"])
def test_a_market_that_stands_still_after_it_moved(eurusd, name, given):
    """Rounding that running sums carry on must not be taken for movement."""
    warmup = warmup_of(name, given)
    tail = still(warmup + 200, eurusd.close[499], eurusd.volume[499])
    bars = Bars(
        "X",
        tail.timeframe,
        np.datetime64("2020-01-01", "ns") + np.arange(500 + len(tail)) * np.timedelta64(3600, "s"),
        *(np.concatenate((getattr(eurusd, column)[:500], getattr(tail, column))) for column in COLUMNS),
    )
    expected = STILL[name] if isinstance(STILL[name], tuple) else (STILL[name],) * len(get_indicator(name).outputs)
    for (output, values), level in zip(compute_indicator(name, given, bars).items(), expected, strict=True):
        level = eurusd.close[499] if level == 1.1 else level
        np.testing.assert_allclose(values[501 + warmup :], level, rtol=1e-9, atol=1e-9, err_msg=output)


# Outputs that have bounds; `fisher` is limited by clipping to +-0.999.
BOUNDS = {
    "rsi": (0, 100), "williams_r": (-100, 0), "stochastic": (0, 100), "aroon_oscillator": (-100, 100),
    "chande_momentum": (-100, 100), "ultimate_oscillator": (0, 100), "adx": (0, 100), "atr": (0, np.inf),
    "natr": (0, np.inf), "squeeze": (0, 0.5), "volatility": (0, np.inf), "stddev": (0, np.inf),
    "bbands_width": (0, np.inf), "mfi": (0, 100), "cmf": (-1, 1), "volume_ratio": (0, np.inf),
    "percentile_rank": (0, 100), "fisher": (-3.81, 3.81), "vortex": (0, np.inf),
}  # fmt: skip


@st.composite
def markets(draw):
    """Bars with jumps, stretches without movement or volume, and prices of any size."""
    n = draw(st.integers(90, 140))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    price = draw(st.sampled_from((1e-6, 1.1, 60000.0)))
    step = draw(st.sampled_from((1e-5, 1e-2, 0.3)))
    standing = random.random(n) < draw(st.sampled_from((0.0, 0.5, 0.95)))
    close = price * np.exp(np.cumsum(np.where(standing, 0.0, random.normal(0, step, n))))
    open_ = np.where(standing, close, np.concatenate((close[:1], close[:-1])))
    spread = np.where(standing, 0.0, random.random(n) * step)
    high, low = np.maximum(open_, close) * (1 + spread), np.minimum(open_, close) / (1 + spread)
    volume = np.where(random.random(n) < draw(st.sampled_from((0.0, 0.6, 1.0))), 0.0, random.integers(1, 10**6, n))
    time = np.datetime64("2020-01-01T05:00", "ns") + np.arange(n) * np.timedelta64(3600, "s")
    return Bars("X", Timeframe("1h"), time, open_, high, low, close, volume.astype(np.float64))


@every_type
@given(bars=markets())
def test_on_any_market_values_are_finite_or_absent_within_bounds_and_causal(name, bars):
    given = {} if warmup_of(name, {}) < 60 else SHORTEST[name]
    warmup = warmup_of(name, given)
    found = compute_indicator(name, given, bars)
    part = compute_indicator(name, given, bars[:80])
    low, high = BOUNDS.get(name, (-np.inf, np.inf))
    slack = 1e-9 * (high - low) if np.isfinite(high - low) else 1e-12
    for output, values in found.items():
        assert not np.isinf(values).any()
        assert np.isnan(values[:warmup]).all()
        known = values[~np.isnan(values)]
        assert (known >= low - slack).all(), (output, known.min())
        assert (known <= high + slack).all(), (output, known.max())
        np.testing.assert_array_equal(values[:80], part[output])


@pytest.mark.parametrize("name", [name for name in NAMES if get_indicator(name).memory == "window"])
@given(bars=markets(), rows=st.lists(st.integers(0, 50), min_size=3, max_size=3))
def test_on_any_market_a_window_gives_what_it_would_give_alone(name, bars, rows):
    """Whatever was before it: no rounding of old sums makes a value of nothing, or nothing of a value."""
    given = {} if warmup_of(name, {}) < 60 else SHORTEST[name]
    warmup = warmup_of(name, given)
    found = compute_indicator(name, given, bars)
    for row in (len(bars) - 1 - back for back in rows):
        if row < warmup:
            continue
        alone = compute_indicator(name, given, bars[row - warmup : row + 1])
        for output, values in found.items():
            size = np.nanmax(np.abs(values), initial=0.0)
            np.testing.assert_allclose(values[row], alone[output][-1], rtol=1e-7, atol=1e-7 * size, err_msg=output)


@pytest.mark.parametrize("source", SOURCES)
def test_sources(eurusd, source):
    letters = {"hl2": "hl", "hlc3": "hlc", "ohlc4": "ohlc"}.get(source)
    columns = {name[0]: getattr(eurusd, name) for name in PRICES}
    expected = getattr(eurusd, source) if letters is None else np.mean([columns[x] for x in letters], axis=0)
    np.testing.assert_allclose(source_series(eurusd, source), expected, rtol=1e-15)
    assert source_series(eurusd, source).dtype == np.float64


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        pytest.param(name, parameter, id=f"{name}-{parameter.name}")
        for name in NAMES
        for parameter in get_indicator(name).parameters
    ],
)
def test_every_parameter_has_an_effect(eurusd, name, parameter):
    """None is accepted and ignored."""
    others = {
        "int": parameter.default + 1 if parameter.kind == "int" else None,
        "float": parameter.default * 1.5 if parameter.kind == "float" else None,
        "str": next((choice for choice in parameter.choices if choice != parameter.default), None),
    }
    bars = eurusd[:400]
    default = compute_indicator(name, {}, bars)
    other = compute_indicator(name, {parameter.name: others[parameter.kind]}, bars)
    assert any(not np.array_equal(default[output], other[output], equal_nan=True) for output in default)


def test_a_period_longer_than_the_data_gives_no_value(eurusd):
    values = compute_indicator("sma", {"period": 10_000}, eurusd)["sma"]
    assert len(values) == len(eurusd)
    assert np.isnan(values).all()


def test_a_logarithm_starts_anew_after_a_price_that_has_none(eurusd):
    for name in ("returns", "volatility"):
        close = eurusd.close[:200].copy()
        close[[100, 101]] = 0.0, -1.0
        values = next(iter(compute_indicator(name, {}, changed(eurusd[:200], close=close)).values()))
        warmup = warmup_of(name, {})
        assert np.isnan(values[100 : 102 + warmup]).all()
        assert np.isfinite(values[102 + warmup :]).all()
        assert np.isfinite(values[warmup:100]).all()


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("rsi", {"perod": 3}, "indicator `rsi`: unknown key `perod`, did you mean `period`?"),
        ("rsi", {"period": 1}, "`period` must be at least 2, not 1"),
        ("rsi", {"period": 14.5}, "`period` must be a whole number"),
        ("rsi", {"period": True}, "`period` must be a whole number"),
        ("RSI", {"source": "typical"}, "`source` must be one of open, high, low, close, volume, hl2, hlc3, ohlc4"),
        ("macd", {"fast_period": 30}, r"`fast_period` \(30\) must be below `slow_period` \(26\)"),
        ("parabolic_sar", {"step_af": 0.5}, "must not be above `max_af`"),
        ("ultimate_oscillator", {"medium_period": 30}, "must be in ascending order"),
        ("vwap", {"period": 30, "anchor": "day"}, "`period` has no effect with `anchor: day`; leave it out"),
        ("bbands", {"multiplier": 0}, "`multiplier` must be above 0"),
        ("bbands", {"period": 1, "std": 2}, "unknown key `std`.*; `period` must be at least 2"),
        ("rsx", {}, "unknown indicator type `rsx`, did you mean `rsi`?"),
    ],
)
def test_parameters_that_are_wrong_are_refused_all_at_once(eurusd, name, given, message):
    with pytest.raises(BadInputError, match=message):
        compute_indicator(name, given, eurusd)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_arrays_of_their_own(eurusd, name):
    found = list(compute_indicator(name, SHORTEST[name], eurusd[:500]).values())
    for number, values in enumerate(found):
        assert values.dtype == np.float64
        assert values.flags.writeable
        others = [*found[:number], *(getattr(eurusd, column) for column in COLUMNS)]
        assert not any(np.shares_memory(values, other) for other in others)
