"""Where the strategy stands among its null worlds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from ktrdr.core.verdicts.verdict_result import LinearWorlds, NullWorlds

__all__ = ["LINEAR_KINDS", "NULL_FAMILIES", "linear_worlds", "null_worlds", "p_value"]

NULL_FAMILIES: tuple[Literal["sign_flips", "garch"], ...] = ("sign_flips", "garch")
"""Families of worlds in which no direction can be predicted."""

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
    at_least = sum(value is None or value >= observed for value in worlds)
    return (1 + at_least) / (1 + len(worlds))


def null_worlds(observed: float, values: Mapping[str, Sequence[float | None]]) -> tuple[NullWorlds, ...]:
    """Return the evidence of each family.

    Args:
        observed: statistic of the real bars.
        values: statistics of the worlds by family.
    """
    return tuple(
        NullWorlds(family=family, observed=observed, values=tuple(values[family]), p=p_value(observed, values[family]))
        for family in NULL_FAMILIES
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
