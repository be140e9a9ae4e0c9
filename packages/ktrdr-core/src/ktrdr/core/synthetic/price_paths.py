"""The paths of the processes that :mod:`ktrdr.core.synthetic.processes` declares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from ktrdr.core.synthetic.random_streams import normals, uniforms

__all__ = ["FIRST_FREE_STREAM", "PATHS", "PricePath"]

FIRST_FREE_STREAM = 8
"""Streams below this number belong to the processes; those from it on to the rest of the bars."""


@dataclass(frozen=True, slots=True, eq=False)
class PricePath:
    """Closes of a process, and its hidden state.

    Attributes:
        log_price: float64 ``(n,)``: natural logarithm of each close.
        volatility: float64 ``(n,)``: standard deviation of the price within each bar, of its logarithm.
        expected: returns the expected log return of the next ``horizon`` bars at each close, float64 ``(n,)``, given
            all that the process knows then.
    """

    log_price: np.ndarray
    volatility: np.ndarray
    expected: Callable[[int], np.ndarray]


def _decaying_sum(shocks: np.ndarray, kept: float) -> np.ndarray:
    """Return ``s[t] = kept * s[t - 1] + shocks[t]`` with ``s[-1] = 0``, float64 ``(n,)``.

    One after the other, because the blocked form rounds differently from machine to machine. A million take 0.1 s.
    """
    state = 0.0
    states = []
    for shock in shocks.tolist():
        state = kept * state + shock
        states.append(state)
    return np.array(states, dtype=np.float64)


def _nothing(n: int) -> Callable[[int], np.ndarray]:
    return lambda horizon: np.zeros(n)


def _mean_reversion(seed: int, n: int, values: Mapping[str, Any]) -> PricePath:
    mean = _decaying_sum(values["mean_noise"] * normals(seed, 0, n), 1.0 - values["mean_pull"])
    distance = _decaying_sum(values["noise"] * normals(seed, 1, n), 1.0 - values["reversion"])
    spread = math.hypot(values["mean_noise"], values["noise"])
    return PricePath(
        math.log(values["price"]) + mean + distance,
        np.full(n, spread),
        lambda horizon: (
            ((1.0 - values["reversion"]) ** horizon - 1.0) * distance
            + ((1.0 - values["mean_pull"]) ** horizon - 1.0) * mean
        ),
    )


def _momentum(seed: int, n: int, values: Mapping[str, Any]) -> PricePath:
    kept = 1.0 - values["fading"]
    trend = _decaying_sum(values["trend_noise"] * normals(seed, 0, n), kept)
    before = np.concatenate((np.zeros(min(n, 1)), kept * trend[:-1]))
    returns = before + values["volatility"] * normals(seed, 1, n)
    return PricePath(
        math.log(values["price"]) + np.cumsum(returns),
        np.full(n, values["volatility"]),
        lambda horizon: trend * sum(kept**bar for bar in range(1, horizon + 1)),
    )


def _regime_volatility(seed: int, n: int, values: Mapping[str, Any]) -> PricePath:
    leave = (values["calm_end"], values["turbulence_end"])
    turbulent, states = 0, []
    for draw in uniforms(seed, 0, n).tolist():
        if draw <= leave[turbulent]:
            turbulent = 1 - turbulent
        states.append(turbulent)
    volatility = np.where(np.array(states, dtype=bool), values["turbulent"], values["calm"])
    returns = volatility * normals(seed, 1, n)
    return PricePath(math.log(values["price"]) + np.cumsum(returns), volatility, _nothing(n))


def _garch(seed: int, n: int, values: Mapping[str, Any]) -> PricePath:
    alpha, beta = values["alpha"], values["beta"]
    omega = values["volatility"] ** 2 * max(1.0 - alpha - beta, 0.0)
    variance, variances, returns = values["volatility"] ** 2, [], []
    for shock in normals(seed, 0, n).tolist():
        moved = math.sqrt(variance) * shock
        variances.append(variance)
        returns.append(moved)
        variance = omega + alpha * moved * moved + beta * variance
    log_price = math.log(values["price"]) + np.cumsum(np.array(returns, dtype=np.float64))
    return PricePath(log_price, np.sqrt(np.array(variances, dtype=np.float64)), _nothing(n))


def _walk(seed: int, n: int, values: Mapping[str, Any]) -> PricePath:
    returns = values["volatility"] * normals(seed, 0, n)
    return PricePath(math.log(values["price"]) + np.cumsum(returns), np.full(n, values["volatility"]), _nothing(n))


PATHS: Mapping[str, Callable[[int, int, Mapping[str, Any]], PricePath]] = MappingProxyType(
    {
        "mean_reversion": _mean_reversion,
        "momentum": _momentum,
        "regime_volatility": _regime_volatility,
        "garch": _garch,
        "walk": _walk,
    }
)
"""By process: returns the path of ``n`` bars for a seed and all parameters."""
