"""Seeds of trainings that differ in nothing else."""

from __future__ import annotations

from ktrdr.core.limits import LARGEST_SEED

__all__ = ["member_seeds"]


def member_seeds(first: int, number: int) -> tuple[int, ...]:
    """Return ``number`` consecutive seeds from ``first`` on; after :data:`~ktrdr.core.limits.LARGEST_SEED` comes 0."""
    return tuple((first + step) % (LARGEST_SEED + 1) for step in range(number))
