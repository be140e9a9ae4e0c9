"""Real bars, and the slow building blocks that the tests' own formulas are made of."""

from __future__ import annotations

import csv
import gzip
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.indicators.computation import compute_indicator
from ktrdr.core.indicators.registry import default_registry, get_indicator

_STOCKS = Path(__file__).parents[1] / "data" / "files" / "US_stocks_1d_2000_2013.csv.gz"
_COLUMNS = ("open", "high", "low", "close", "volume")


@pytest.fixture(scope="session")
def eurusd() -> Bars:
    """A year of hourly EURUSD."""
    return sample_bars()


@pytest.fixture(scope="session")
def apple() -> Bars:
    """Daily AAPL 2000 to 2013, unadjusted: two splits halve the price from one bar to the next."""
    with gzip.open(_STOCKS, "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Ticker"] == "AAPL"]
    return Bars(
        "AAPL",
        Timeframe("1d"),
        np.array([row["Date"] for row in rows], dtype="datetime64[ns]"),
        *(np.array([float(row[name.capitalize()]) for row in rows]) for name in _COLUMNS),
    )


class Slow:
    """Formulas as a book prints them, one row at a time. A value that does not exist is NaN."""

    def rows(self, n: int, first: int, value: Callable[[int], float]) -> np.ndarray:
        """``value(row)`` for each row from ``first`` on."""
        return np.array([math.nan if row < first else value(row) for row in range(n)])

    def window(self, values: Sequence[float], bars: int, reduce: Callable[[np.ndarray], float]) -> np.ndarray:
        """``reduce`` of the ``bars`` values up to each row; NaN while one of them is."""
        x = np.asarray(values, dtype=np.float64)

        def value(row: int) -> float:
            inside = x[row - bars + 1 : row + 1]
            return math.nan if np.isnan(inside).any() else float(reduce(inside))

        return self.rows(len(x), bars - 1, value)

    def mean(self, values: Sequence[float], bars: int) -> np.ndarray:
        return self.window(values, bars, lambda inside: math.fsum(inside) / bars)

    def total(self, values: Sequence[float], bars: int) -> np.ndarray:
        return self.window(values, bars, math.fsum)

    def highest(self, values: Sequence[float], bars: int) -> np.ndarray:
        return self.window(values, bars, max)

    def lowest(self, values: Sequence[float], bars: int) -> np.ndarray:
        return self.window(values, bars, min)

    def deviation(self, values: Sequence[float], bars: int, *, degrees: int = 0) -> np.ndarray:
        def value(inside: np.ndarray) -> float:
            middle = math.fsum(inside) / bars
            return math.sqrt(math.fsum((x - middle) ** 2 for x in inside) / (bars - degrees))

        return self.window(values, bars, value)

    def weighted(self, values: Sequence[float], bars: int) -> np.ndarray:
        weights = range(1, bars + 1)
        return self.window(
            values, bars, lambda inside: math.fsum(w * x for w, x in zip(weights, inside, strict=True)) / sum(weights)
        )

    def smoothed(self, values: Sequence[float], bars: int, weight: float) -> np.ndarray:
        """Exponential smoothing that starts with the mean of the first ``bars`` values there are."""
        known = [row for row, x in enumerate(values) if not math.isnan(x)]
        result = np.full(len(values), math.nan)
        if len(known) < bars:
            return result
        start = known[0] + bars - 1
        level = math.fsum(values[known[0] : start + 1]) / bars
        result[start] = level
        for row in range(start + 1, len(values)):
            level += weight * (values[row] - level)
            result[row] = level
        return result

    def ema(self, values: Sequence[float], bars: int) -> np.ndarray:
        return self.smoothed(values, bars, 2.0 / (bars + 1))

    def wilder(self, values: Sequence[float], bars: int) -> np.ndarray:
        return self.smoothed(values, bars, 1.0 / bars)

    def lag(self, values: Sequence[float], bars: int) -> np.ndarray:
        return self.rows(len(values), bars, lambda row: values[row - bars])

    def true_range(self, bars: Bars) -> np.ndarray:
        """No value on the first bar, which has no close before it."""
        high, low, close = bars.high, bars.low, bars.close
        return self.rows(
            len(bars),
            1,
            lambda i: max(high[i] - low[i], abs(high[i] - close[i - 1]), abs(low[i] - close[i - 1])),
        )

    def source(self, bars: Bars, name: str) -> np.ndarray:
        if len(name) < 5 and name[-1].isdigit():  # hl2, hlc3
            letters = name[:-1]
        elif name == "ohlc4":
            letters = "ohlc"
        else:
            return getattr(bars, name)
        column = {"o": bars.open, "h": bars.high, "l": bars.low, "c": bars.close}
        return np.array([math.fsum(column[x][row] for x in letters) / len(letters) for row in range(len(bars))])

    def over(self, a: np.ndarray, b: np.ndarray, otherwise: float) -> np.ndarray:
        """``a / b``, and ``otherwise`` where ``b`` is 0."""
        return np.array([x / y if y != 0 else otherwise for x, y in zip(a, b, strict=True)])


@pytest.fixture(scope="session")
def slow() -> Slow:
    return Slow()


@pytest.fixture(scope="session")
def agrees(eurusd: Bars, apple: Bars, slow: Slow) -> Callable[..., None]:
    """Compare a type with a formula ``(slow, bars, parameters) -> outputs`` on real bars, at defaults and others."""

    def compare(name: str, formula: Callable[..., Sequence[np.ndarray]], *others: dict[str, object]) -> None:
        indicator = get_indicator(name)
        for bars in (eurusd[:2500], apple[:1500]):
            for given in ({}, *others):
                parameters, problems = indicator.validate(given)
                assert not problems
                found = compute_indicator(name, given, bars)
                expected = formula(slow, bars, parameters)
                assert len(expected) == len(indicator.outputs) == len(found)
                warmup = indicator.warmup(parameters)
                for output, values in zip(indicator.outputs, expected, strict=True):
                    known = found[output][warmup:]
                    assert np.isfinite(known).all(), (output, given)
                    size = np.abs(known).max()
                    np.testing.assert_allclose(
                        known, values[warmup:], rtol=1e-9, atol=1e-9 * size, err_msg=f"{output} {given} {bars.symbol}"
                    )

    return compare


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on ``sys.path`` that holds what :func:`install` puts there."""
    directory = tmp_path / "site"
    directory.mkdir()
    monkeypatch.syspath_prepend(directory)
    default_registry.cache_clear()
    before = set(sys.modules)
    yield directory
    default_registry.cache_clear()
    for name in set(sys.modules) - before:
        if str(directory) in (getattr(sys.modules[name], "__file__", "") or ""):
            del sys.modules[name]


@pytest.fixture
def install(site: Path) -> Callable[..., None]:
    """Return ``install(distribution, entry_point, code)``: a distribution on disk whose module holds ``code``."""

    def run(distribution: str, entry_point: str, code: str, *, attribute: str = "INDICATOR") -> None:
        plain = distribution.replace("-", "_")
        (site / f"{plain}.py").write_text(dedent(code), encoding="utf-8")
        info = site / f"{plain}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n", encoding="utf-8")
        target = f"{plain}:{attribute}" if attribute else plain
        (info / "entry_points.txt").write_text(f"[ktrdr.indicators]\n{entry_point} = {target}\n", encoding="utf-8")

    return run


@pytest.fixture
def user_indicator() -> Callable[..., str]:
    """Return the source of a module with a user indicator: the range of the bar, as a share of its close."""

    def code(name: str = "bar_share", *, formula: str = "((c['high'] - c['low']) / c['close'] * p['factor'],)") -> str:
        return f"""
            import numpy as np
            from ktrdr.core.indicators.types import IndicatorType, multiplier

            def formula(c, p):
                return {formula}

            INDICATOR = IndicatorType(
                "{name}", "Range of the bar relative to its close: how lively it was.", "our own", ("share",), formula,
                lambda p: 0, ("high", "low", "close"),
                (multiplier(1.0, "factor", description="what it is multiplied by"),),
            )
        """

    return code
