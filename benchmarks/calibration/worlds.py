"""The worlds that are judged: which there are, with their seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from calibration.processes import EDGES, NO_DIRECTION, bars_of
from ktrdr.core.data.bars import Bars

__all__ = [
    "FALSE_ALARMS",
    "PERIODS",
    "POWER",
    "SHARPES",
    "STRENGTHS",
    "WORLDS",
    "Period",
    "World",
    "fixed_worlds",
    "planned",
]

STRENGTHS = Path(__file__).with_name("strengths.json")
"""Strengths with which the strategy has each Sharpe ratio on average: written by ``--tune``."""

FALSE_ALARMS, POWER, FIXED = "false alarms", "power", "fixed"
"""Parts of the calibration."""

SHARPES = (0, 1, 2, 3)
"""Annual Sharpe ratios after costs that the strategy is to have out of sample, on average over the worlds."""

WORLDS = {FALSE_ALARMS: 500, POWER: 100}
"""Number of worlds of each cell."""


@dataclass(frozen=True, slots=True)
class Period:
    """The data of a world.

    Attributes:
        name: in words.
        timeframe: length of a bar.
        bars: number of bars.
        years: the same in years.
        volatility: standard deviation of the log return of a bar.
        batch_size: samples of a step of training, so that an epoch has 14 to 19 steps whatever the number of bars.
    """

    name: str
    timeframe: str
    bars: int
    years: float
    volatility: float
    batch_size: int


PERIODS: Mapping[str, Period] = {
    period.name: period
    for period in (
        Period("2,000 hours", "1h", 2_000, 2_000 / 8_766, 0.003, 64),
        Period("1 year of hours", "1h", 8_766, 1.0, 0.003, 256),
        Period("3 years of hours", "1h", 26_298, 3.0, 0.003, 1024),
        Period("10 years of days", "1d", 3_653, 10.0, 0.01, 128),
    )
}
"""Periods by name. A year has 365.25 days, as the market is always open."""

SHORT = "2,000 hours"
LONG = tuple(name for name in PERIODS if name != SHORT)


@dataclass(frozen=True, slots=True)
class World:
    """One world.

    Attributes:
        part: part of the calibration.
        family: process of the bars.
        period: name of the period.
        sharpe: the Sharpe ratio to have on average; 0 of a family without a predictable direction.
        strength: strength of the process that gives it.
        seed: seed of the bars.
    """

    part: str
    family: str
    period: str
    sharpe: int
    strength: float
    seed: int

    @property
    def cell(self) -> tuple[str, str, str, int]:
        """What the worlds of a cell of the tables share."""
        return self.part, self.family, self.period, self.sharpe

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        """What tells it from all others."""
        return *self.cell, self.seed

    def bars(self) -> Bars:
        """Return its bars."""
        period = PERIODS[self.period]
        return bars_of(self.family, self.seed, period.bars, period.timeframe, period.volatility, self.strength)


def planned() -> list[World]:
    """Return all worlds, one of each cell after the other: a run that is stopped has as many of each.

    No two cells share a seed: cell ``c`` has those from ``1000 c`` on.
    """
    cells = [(FALSE_ALARMS, family, SHORT, 0, 0.0) for family in NO_DIRECTION]
    for (family, period), strengths in strengths_of().items():
        cells += [(POWER, family, period, sharpe, strengths[str(sharpe)]) for sharpe in SHARPES]
    columns = (
        [World(*cell, seed=1_000 * number + place) for place in range(WORLDS[cell[0]])]
        for number, cell in enumerate(cells, start=1)
    )
    return [world for row in zip_longest(*columns) for world in row if world is not None]


def fixed_worlds() -> Iterator[World]:
    """Yield 20 worlds of 2,000 bars: half without a predictable direction, half with an edge from small to large."""
    for place in range(10):
        yield World(FIXED, NO_DIRECTION[place % len(NO_DIRECTION)], SHORT, 0, 0.0, 900_000 + place)
    for place in range(10):
        family = tuple(EDGES)[place % len(EDGES)]
        yield World(FIXED, family, SHORT, 0, 0.05 * (1 + place), 900_010 + place)


def strengths_of() -> dict[tuple[str, str], dict[str, float]]:
    """Return the strengths by family and period, and by Sharpe ratio."""
    found = json.loads(STRENGTHS.read_text(encoding="utf-8"))
    return {(family, period): found[family][period] for family in EDGES for period in LONG}
