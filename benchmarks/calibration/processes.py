"""The processes of the worlds: four without a predictable direction, and two with an edge of a chosen strength.

Three are processes of `ktrdr data synthesize`. The others are here, with the same random numbers: ``e`` and ``u`` are
standard normal and uniform, and ``v`` is the volatility of a bar.

- Student: ``r[t] = v / sqrt(2) * e0[t] / sqrt(c[t] / 4)`` with ``c[t] = -2 ln(u1[t] u2[t])``, which has the chi-square
  distribution with four degrees of freedom. The variance of Student's t with four degrees is 2.
- Autoregressive: ``r[t] = strength r[t-1] + v e0[t]``.
- Switching drift: ``r[t] = strength v s[t] + v e0[t]``; ``s`` is 1 or -1, and changes where ``u1[t] <= 1 / 24``.

Source of the autoregressive and of the switching process: J. D. Hamilton, Time Series Analysis (1994), chapters 3 and
22.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.synthetic.market import market_bars, path_bars, synthetic_market
from ktrdr.core.synthetic.price_paths import PricePath
from ktrdr.core.synthetic.random_streams import normals, uniforms

__all__ = ["EDGES", "NO_DIRECTION", "SYMBOL", "bars_of"]

SYMBOL = "WORLD"
"""Symbol of the bars of every world."""

PRICE = 100.0
START = np.datetime64("2017-01-01", "ns")
SWITCHING = 1 / 24
"""Probability that the drift changes its sign at a bar."""


def _returns(seed: int, volatility: float, returns: np.ndarray) -> PricePath:
    """Return the path of returns; nobody asks it for what can be expected."""
    n = len(returns)
    return PricePath(math.log(PRICE) + np.cumsum(returns), np.full(n, volatility), lambda horizon: np.zeros(n))


def _student(seed: int, n: int, volatility: float) -> PricePath:
    chi_square = -2 * np.log(uniforms(seed, 1, n) * uniforms(seed, 2, n))
    within = volatility / math.sqrt(2) / np.sqrt(chi_square / 4)
    returns = within * normals(seed, 0, n)
    return PricePath(math.log(PRICE) + np.cumsum(returns), within, lambda horizon: np.zeros(n))


def _autoregressive(seed: int, n: int, volatility: float, strength: float) -> PricePath:
    last, returns = 0.0, []
    for shock in (volatility * normals(seed, 0, n)).tolist():
        last = strength * last + shock
        returns.append(last)
    return _returns(seed, volatility, np.array(returns))


def _switching_drift(seed: int, n: int, volatility: float, strength: float) -> PricePath:
    changed = uniforms(seed, 1, n) <= SWITCHING
    sign = np.where(np.cumsum(changed) % 2 == 0, 1.0, -1.0)
    return _returns(seed, volatility, volatility * (strength * sign + normals(seed, 0, n)))


# Of all four, a bar has about the same volatility.
_SYNTHESIZED: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "normal": ("walk", {"volatility": 1.0}),
    "garch": ("garch", {"volatility": 1.0}),
    "switching volatility": ("regime_volatility", {"calm": 0.6, "turbulent": 1.6}),
}

NO_DIRECTION = ("normal", "student", "garch", "switching volatility")
"""Families without a predictable direction."""

EDGES: Mapping[str, Callable[[int, int, float, float], PricePath]] = {
    "autoregressive": _autoregressive,
    "switching drift": _switching_drift,
}
"""Families with an edge: the path of a seed, a number of bars, a volatility and a strength."""


def bars_of(family: str, seed: int, n: int, timeframe: str, volatility: float, strength: float = 0.0) -> Bars:
    """Return the bars of a world.

    Args:
        family: one of :data:`NO_DIRECTION` or :data:`EDGES`.
        seed: seed of every random number.
        n: number of bars.
        timeframe: length of a bar.
        volatility: standard deviation of the log return of a bar.
        strength: what can be predicted, in the unit of the family.
    """
    frame = Timeframe(timeframe)
    if family in _SYNTHESIZED:
        process, shares = _SYNTHESIZED[family]
        values = {"price": PRICE} | {name: share * volatility for name, share in shares.items()}
        return market_bars(synthetic_market(process, seed, values), SYMBOL, frame, START, n)
    path = _student(seed, n, volatility) if family == "student" else EDGES[family](seed, n, volatility, strength)
    world = f"{family.replace(' ', '_')}-{seed}"
    return path_bars(path, SYMBOL, frame, START, price=PRICE, seed=seed, world=world)
