"""The processes of synthetic markets: their formulas, with parameters and bounds declared once.

All parameters are per bar, whatever the timeframe. ``e`` and ``u`` are standard normal and uniform numbers of
:mod:`ktrdr.core.synthetic.random_streams`, one series each, and ``p`` is the natural logarithm of the close.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ktrdr.core.parameters import Parameter

__all__ = ["DEFAULT_BARS", "DEFAULT_SEED", "DEFAULT_START", "PROCESSES", "Process"]

DEFAULT_SEED = 7
"""Seed of a market."""

DEFAULT_START = "2017-01-01"
"""Open of the first bar of a market, UTC. It is a Sunday, and the first week opens on the day after it."""

DEFAULT_BARS = 17_520
"""Number of bars of a market: two years of hours."""


@dataclass(frozen=True, slots=True)
class Process:
    """One value of ``--process``.

    Attributes:
        name: the value.
        description: what kind of market it is.
        formula: the formula, as text.
        parameters: what ``--set`` can set, with defaults and bounds.
    """

    name: str
    description: str
    formula: str
    parameters: tuple[Parameter, ...]


def _share(name: str, default: float, description: str, *, least: float = 0.0) -> Parameter:
    return Parameter(
        name, "float", default, minimum=least, maximum=1, exclusive_minimum=not least, description=description
    )


def _noise(name: str, default: float, description: str) -> Parameter:
    return Parameter(name, "float", default, minimum=0, maximum=0.5, exclusive_minimum=True, description=description)


_PRICE = Parameter("price", "float", 1.1, minimum=0.01, maximum=1_000_000, description="open of the first bar")
_VOLATILITY = _noise("volatility", 0.001, "standard deviation of the log return of a bar")


PROCESSES: Mapping[str, Process] = MappingProxyType(
    {
        process.name: process
        for process in (
            Process(
                "mean_reversion",
                "the price returns to a mean that drifts",
                "p[t] = ln price + m[t] + x[t]; m[t] = (1 - mean_pull) m[t-1] + mean_noise e0[t]; "
                "x[t] = (1 - reversion) x[t-1] + noise e1[t]; m[-1] = x[-1] = 0",
                (
                    _PRICE,
                    _share("reversion", 0.2, "share of the distance from the mean that the price loses per bar"),
                    _noise("noise", 0.0008, "standard deviation of the shocks to the distance"),
                    _share(
                        "mean_pull", 0.0005, "share of its distance from the first price that the mean loses per bar"
                    ),
                    _noise("mean_noise", 0.00025, "standard deviation of the shocks to the mean"),
                ),
            ),
            Process(
                "momentum",
                "returns have a trend that fades slowly",
                "p[t] = p[t-1] + (1 - fading) d[t-1] + volatility e1[t]; d[t] = (1 - fading) d[t-1] + "
                "trend_noise e0[t]; p[-1] = ln price; d[-1] = 0",
                (
                    _PRICE,
                    _share("fading", 0.05, "share of the trend that is lost per bar"),
                    _noise("trend_noise", 0.0001, "standard deviation of the shocks to the trend"),
                    _VOLATILITY,
                ),
            ),
            Process(
                "regime_volatility",
                "calm and turbulent times follow each other; returns cannot be predicted",
                "p[t] = p[t-1] + s[t] e1[t]; s is calm or turbulent, at first calm; calm ends where u0[t] <= calm_end, "
                "turbulence where u0[t] <= turbulence_end; p[-1] = ln price",
                (
                    _PRICE,
                    _noise("calm", 0.0006, "standard deviation of the log return of a calm bar"),
                    _noise("turbulent", 0.002, "standard deviation of the log return of a turbulent bar"),
                    _share("calm_end", 0.01, "probability that calm ends at a bar"),
                    _share("turbulence_end", 0.02, "probability that turbulence ends at a bar"),
                ),
            ),
            Process(
                "garch",
                "volatility clusters as in GARCH(1, 1) (T. Bollerslev, 1986); returns cannot be predicted",
                "p[t] = p[t-1] + r[t]; r[t] = sqrt(h[t]) e0[t]; h[t] = volatility^2 (1 - alpha - beta) + "
                "alpha r[t-1]^2 + beta h[t-1]; h[0] = volatility^2; p[-1] = ln price",
                (
                    _PRICE,
                    _VOLATILITY,
                    Parameter(
                        "alpha", "float", 0.08, minimum=0, maximum=0.5, description="weight of the last return squared"
                    ),
                    Parameter(
                        "beta", "float", 0.9, minimum=0, maximum=0.999, description="weight of the last variance"
                    ),
                ),
            ),
            Process(
                "walk",
                "a random walk: nothing can be predicted",
                "p[t] = p[t-1] + volatility e0[t]; p[-1] = ln price",
                (_PRICE, _VOLATILITY),
            ),
        )
    }
)
"""Processes by name."""
