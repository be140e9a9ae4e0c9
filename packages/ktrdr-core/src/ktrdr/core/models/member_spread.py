"""Spread of the metrics over the members of a model: trainings that differ in their seed alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ktrdr.core.models.manifest import MemberRecord

__all__ = ["Spread", "spread_columns", "spread_of"]


@dataclass(frozen=True, slots=True)
class Spread:
    """A metric over the members.

    Attributes:
        mean: over the members.
        sd: sample standard deviation, with ``n - 1``; 0 of a single member.
        min, max: smallest and largest value.
    """

    mean: float
    sd: float
    min: float
    max: float


def spread_of(members: Sequence[MemberRecord], part: str) -> dict[str, Spread]:
    """Return the spread of each metric of one part, ``validation`` or ``test``, in the order of the metrics.

    A metric that a member lacks, or that is not finite for it, is left out.
    """
    maps: list[Mapping[str, Any]] = []
    for member in members:
        own = member.metrics.get(part)
        maps.append(own if isinstance(own, dict) else {})
    if not maps:
        return {}
    found = {}
    for name in maps[0]:
        values = [own.get(name) for own in maps]
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if name != "samples" and len(numbers) == len(values):
            sd = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
            found[name] = Spread(statistics.fmean(numbers), sd, min(numbers), max(numbers))
    return found


def spread_columns(members: Sequence[MemberRecord], part: str) -> dict[str, dict[str, float]]:
    """Return the spread of the metrics of one part by column: ``mean``, ``sd``, ``min``, ``max``; empty without any."""
    spread = spread_of(members, part)
    names = Spread.__dataclass_fields__ if spread else ()
    return {column: {name: getattr(own, column) for name, own in spread.items()} for column in names}
