"""Where the strategy stands among its null worlds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from ktrdr.core.verdicts.verdict_result import LinearWorlds, NullWorlds

__all__ = [
    "FAMILIES",
    "LINEAR_KINDS",
    "Family",
    "at_least_as_good",
    "linear_worlds",
    "null_worlds",
    "observed_ratio",
    "p_value",
]

Family = Literal["sign_flips", "garch"]
"""A family of worlds in which no direction can be predicted."""

FAMILIES: dict[Family, str] = {"sign_flips": "sign flips", "garch": "GARCH"}
"""Families, each of which is a condition of an edge, with their names in words."""

LINEAR_KINDS: tuple[Literal["random_phases", "block_bootstrap"], ...] = ("random_phases", "block_bootstrap")
"""Kinds of worlds that keep the autocorrelation."""


def p_value(observed: float, worlds: Sequence[float | None]) -> float:
    """Return ``(1 + worlds at least as good) / (1 + worlds)``; a world that failed counts as at least as good.

    It is the p-value of a randomization test, never 0: B. Phipson and G. K. Smyth, "Permutation P-values Should Never
    Be Zero" (Statistical Applications in Genetics and Molecular Biology, 2010).

    Args:
        observed: statistic of the real bars.
        worlds: statistics of the worlds.
    """
    return (1 + at_least_as_good(observed, worlds)) / (1 + len(worlds))


def at_least_as_good(observed: float, worlds: Sequence[float | None]) -> int:
    """Return the number of worlds that are at least as good as the real bars, those that failed among them.

    Args:
        observed: statistic of the real bars.
        worlds: statistics of the worlds; ``None`` where the training failed, and NaN counts as this.
    """
    # Not by `>=`: a ratio that is not a number counts against the strategy, as one that is missing.
    return sum(value is None or not value < observed for value in worlds)


def observed_ratio(seeds: Sequence[float | None]) -> float:
    """Return the statistic of the real bars, which is compared with that of worlds that are trained with one seed.

    It is the lower median of the seeds, which no single lucky seed carries. Where luck lets one seed pass in fewer than
    half of its trainings, three of five pass less often than one, and nowhere more than 1.18 times as often.

    Args:
        seeds: annual Sharpe ratio by seed; ``None`` where the training failed, which counts as the worst. Fewer than
            half failed.
    """
    known = sorted(-math.inf if own is None else own for own in seeds)
    return known[(len(known) - 1) // 2]


def null_worlds(observed: float, values: Mapping[str, Sequence[float | None]]) -> tuple[NullWorlds, ...]:
    """Return the evidence of each family.

    Args:
        observed: statistic of the real bars.
        values: statistics of the worlds by family.
    """
    return tuple(
        NullWorlds(family=family, observed=observed, values=tuple(values[family]), p=p_value(observed, values[family]))
        for family in FAMILIES
    )


def linear_worlds(observed: float, values: Mapping[str, Sequence[float | None]]) -> tuple[LinearWorlds, ...]:
    """Return the worlds that keep the autocorrelation, of the kinds that have any.

    Args:
        observed: statistic of the real bars.
        values: statistics of the worlds by kind.
    """
    return tuple(
        LinearWorlds(kind=kind, observed=observed, values=tuple(values[kind]))
        for kind in LINEAR_KINDS
        if values.get(kind)
    )
