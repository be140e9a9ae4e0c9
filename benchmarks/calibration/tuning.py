"""The strengths with which the strategy has each Sharpe ratio on average.

On each strength of a grid, worlds of seeds that no verdict is made of are traded without null worlds: the same seeds on
every strength. The mean of their Sharpe ratios after costs, made non-decreasing, is interpolated. Where the costs are
so low that the mean is not below 0 without any strength, a Sharpe ratio of 0 has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from calibration.judging import own_sharpe
from calibration.worlds import LONG, PERIODS, SHARPES, World

__all__ = ["GRIDS", "TUNING", "interpolated", "traded", "tuning_worlds"]

TUNING = "tuning"
"""Part of the calibration."""

_FIRST_SEED = 800_000

GRIDS: Mapping[tuple[str, str], tuple[float, ...]] = {
    ("autoregressive", "1h"): (0.0, 0.02, 0.04, 0.06, 0.08, 0.10),
    ("autoregressive", "1d"): (0.0, 0.06, 0.12, 0.18, 0.24, 0.30),
    ("switching drift", "1h"): (0.0, 0.06, 0.10, 0.13, 0.16, 0.19, 0.22),
    ("switching drift", "1d"): (0.0, 0.10, 0.18, 0.25, 0.32, 0.40),
}
"""Strengths by family and timeframe."""


def tuning_worlds(worlds: int = 64) -> list[World]:
    """Return the worlds of the tuning, one of each strength after the other; so many of each."""
    return [
        World(TUNING, family, period, 0, strength, _FIRST_SEED + place)
        for place in range(worlds)
        for period in LONG
        for (family, timeframe), grid in GRIDS.items()
        if timeframe == PERIODS[period].timeframe
        for strength in grid
    ]


def traded(world: World) -> dict[str, Any]:
    """Return the line of the results for a world of the tuning."""
    return {
        "part": TUNING,
        "family": world.family,
        "period": world.period,
        "strength": world.strength,
        "seed": world.seed,
        "sharpe": round(own_sharpe(world), 4),
    }


def interpolated(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the strengths by family, period and Sharpe ratio.

    Args:
        rows: lines of the tuning.

    Raises:
        SystemExit: the grid does not reach a Sharpe ratio.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for family, period in sorted({(row["family"], row["period"]) for row in rows}):
        own = [row for row in rows if (row["family"], row["period"]) == (family, period)]
        grid = sorted({row["strength"] for row in own})
        means = [float(np.mean([row["sharpe"] for row in own if row["strength"] == each])) for each in grid]
        rising = np.maximum.accumulate(means)
        if rising[-1] < SHARPES[-1]:
            raise SystemExit(f"{family}, {period}: the grid gives at most {rising[-1]:.2f}; widen it")
        strengths = {str(sharpe): round(float(np.interp(sharpe, rising, grid)), 4) for sharpe in SHARPES}
        found.setdefault(family, {})[period] = strengths
    return found
