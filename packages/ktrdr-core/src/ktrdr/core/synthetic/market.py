"""Synthetic markets: a process, a seed and parameters, and the bars that follow from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.resample import boundary_at_or_before
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.data.times import format_time
from ktrdr.core.errors import BadInputError
from ktrdr.core.limits import LARGEST_SEED
from ktrdr.core.names import check_symbol
from ktrdr.core.parameters import did_you_mean, validate_parameters
from ktrdr.core.synthetic.price_paths import FIRST_FREE_STREAM, PATHS, PricePath
from ktrdr.core.synthetic.processes import PROCESSES
from ktrdr.core.synthetic.random_streams import normals, uniforms

__all__ = ["DECIMALS", "MOST_BARS", "SyntheticMarket", "market_bars", "path_bars", "synthetic_market"]

DECIMALS = 5
"""Decimals of a price. Rounded prices are the same on machines whose logarithms differ in the last bit."""

MOST_BARS = 10_000_000
"""Largest number of bars of a synthetic market: a thousand years of hours."""

_VERSION = 1
_UP, _DOWN, _TRADED = (FIRST_FREE_STREAM + number for number in range(3))
_USUAL_VOLUME = 1000.0
_LARGEST_LOG_PRICE = 20.0


@dataclass(frozen=True, slots=True)
class SyntheticMarket:
    """A process with seed and parameters: what identifies a synthetic market.

    Attributes:
        process: one of :data:`~ktrdr.core.synthetic.processes.PROCESSES`.
        seed: seed of every random number.
        parameters: all parameters of the process.
    """

    process: str
    seed: int
    parameters: Mapping[str, Any]

    @property
    def world(self) -> str:
        """Name of the market: ``mean_reversion-7``; with a hash of the parameters where they are not the defaults."""
        defaults = {each.name: each.default for each in PROCESSES[self.process].parameters}
        changed = {name: value for name, value in self.parameters.items() if value != defaults[name]}
        if not changed:
            return f"{self.process}-{self.seed}"
        text = json.dumps(changed, sort_keys=True, separators=(",", ":"))
        return f"{self.process}-{self.seed}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def path(self, n: int) -> PricePath:
        """Return closes and hidden state of the first ``n`` bars; those of fewer bars are the same."""
        return PATHS[self.process](self.seed, n, self.parameters)

    def recipe(self, start: np.datetime64) -> dict[str, Any]:
        """Return what the bars from ``start`` on are made from, JSON values."""
        return {
            "version": _VERSION,
            "process": self.process,
            "seed": self.seed,
            "parameters": dict(self.parameters),
            "start": f"{start.astype('datetime64[s]')}Z",
        }


def synthetic_market(process: str, seed: int, parameters: Mapping[str, Any] | None = None) -> SyntheticMarket:
    """Return the market of a process.

    Args:
        process: name of the process.
        seed: seed of every random number, 0 to 2**32 - 1.
        parameters: parameters that differ from their defaults.

    Raises:
        BadInputError: there is no such process or parameter, or a value is out of bounds.
    """
    # The types too, as these are arguments of a Python function.
    if not isinstance(process, str) or process not in PROCESSES:
        hint = did_you_mean(process, PROCESSES) or f"; known: {', '.join(PROCESSES)}"
        raise BadInputError(f"unknown process `{process}`{hint}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LARGEST_SEED:
        raise BadInputError(f"the seed must be a whole number from 0 to {LARGEST_SEED}, not {seed!r}")
    if parameters is not None and not isinstance(parameters, Mapping):
        raise BadInputError(f"the parameters must be a dict by name, such as {{'price': 2.0}}, not {parameters!r}")
    values, problems = validate_parameters(parameters or {}, PROCESSES[process].parameters)
    if problems:
        raise BadInputError(f"process `{process}`: {'; '.join(problem.message for problem in problems)}")
    if process == "garch" and values["alpha"] + values["beta"] >= 1:
        raise BadInputError(
            f"process `garch`: `alpha` and `beta` must sum to less than 1, not to {values['alpha'] + values['beta']:g}"
        )
    return SyntheticMarket(process, seed, values)


def market_bars(market: SyntheticMarket, symbol: str, timeframe: Timeframe, start: np.datetime64, n: int) -> Bars:
    """Return ``n`` bars of a market that is always open, without gaps.

    See :func:`path_bars` for how bars are made of closes.

    Args:
        market: process, seed and parameters.
        symbol: name of the bars.
        timeframe: length of a bar.
        start: open of the first bar, UTC.
        n: number of bars.

    Returns:
        The bars, with prices of :data:`DECIMALS` decimals; the first ones of a longer series are the same.

    Raises:
        BadInputError: the start is not the open of a bar of the timeframe, the number of bars is out of bounds, or the
            price leaves the range in which its decimals are exact.
    """
    # Before the path, which takes long for a number of bars that is refused.
    _times(timeframe, start, n)
    price = float(market.parameters["price"])
    return path_bars(market.path(n), symbol, timeframe, start, price=price, seed=market.seed, world=market.world)


def path_bars(
    path: PricePath, symbol: str, timeframe: Timeframe, start: np.datetime64, *, price: float, seed: int, world: str
) -> Bars:
    """Return bars of closes, of a market that is always open, without gaps.

    A bar opens at the close before it, the first at ``price``. High and low are those of a Brownian bridge
    from open ``o`` to close ``c`` (logarithms) with the bar's volatility ``s``: ``(o + c + sqrt((c - o)^2 - 2 s^2 ln
    u)) / 2`` and, with another ``u``, ``(o + c - sqrt(...)) / 2``. Each of the two has its exact distribution; that
    they are drawn independently of each other is not exact. Formula: P. Glasserman, Monte Carlo Methods in Financial
    Engineering (2003), section 6.4. The volume is positive, and larger where the price moves more.

    Args:
        path: closes, and the volatility within each bar.
        symbol: name of the bars.
        timeframe: length of a bar.
        start: open of the first bar, UTC.
        price: open of the first bar.
        seed: seed of highs, lows and volumes.
        world: name of the synthetic market.

    Returns:
        The bars, with prices of :data:`DECIMALS` decimals; the first ones of a longer path are the same.

    Raises:
        BadInputError: the start is not the open of a bar of the timeframe, the number of bars is out of bounds, or the
            price leaves the range in which its decimals are exact.
    """
    check_symbol(symbol)
    n = len(path.log_price)
    time = _times(timeframe, start, n)
    wrong = np.flatnonzero(~(np.abs(path.log_price) < _LARGEST_LOG_PRICE))
    if not len(wrong):
        closes = np.round(np.exp(path.log_price), DECIMALS)
        wrong = np.flatnonzero(closes < 100 * 10.0**-DECIMALS)
    if len(wrong):
        raise BadInputError(
            f"the price leaves the range from 0.001 to {np.exp(_LARGEST_LOG_PRICE):,.0f} at bar {wrong[0] + 1:,}; use "
            "fewer bars or less volatility"
        )
    before = np.concatenate(([np.log(price)], path.log_price[:-1]))
    middle, moved = before + path.log_price, path.log_price - before
    reach = [np.sqrt(moved**2 - 2.0 * path.volatility**2 * np.log(uniforms(seed, way, n))) for way in (_UP, _DOWN)]
    opens = np.concatenate(([round(price, DECIMALS)], closes[:-1]))
    high = np.maximum(np.round(np.exp((middle + reach[0]) / 2.0), DECIMALS), np.maximum(opens, closes))
    low = np.minimum(np.round(np.exp((middle - reach[1]) / 2.0), DECIMALS), np.minimum(opens, closes))
    volume = _USUAL_VOLUME * (1.0 + np.abs(moved) / path.volatility) * np.exp(0.25 * normals(seed, _TRADED, n))
    volume = np.maximum(np.round(volume), 1.0)
    return Bars(symbol, timeframe, time, opens, high, low, closes, volume, calendar="24/7", world=world)


def _times(timeframe: Timeframe, start: np.datetime64, n: int) -> np.ndarray:
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise BadInputError(f"the number of bars must be a whole number from 1 to {MOST_BARS:,}, not {n!r}")
    if not 1 <= n <= MOST_BARS:
        raise BadInputError(f"a synthetic market has 1 to {MOST_BARS:,} bars, not {n:,}")
    first = start.astype("datetime64[ns]")
    boundary = boundary_at_or_before(np.array([first]), timeframe)[0]
    if boundary != first:
        raise BadInputError(
            f"the start {format_time(first)} is no open of a {timeframe} bar; give the one before it as --start: "
            f"{np.datetime_as_string(boundary, unit='m')}"
        )
    last = int(first.astype(np.int64)) + n * timeframe.nanoseconds
    if last > np.iinfo(np.int64).max:
        raise BadInputError(f"{n:,} {timeframe} bars from {format_time(first)} on end after 2261: use fewer bars")
    return first + np.arange(n) * np.timedelta64(timeframe.nanoseconds, "ns")
