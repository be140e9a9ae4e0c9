"""Timeframes: the length of a bar."""

from __future__ import annotations

from dataclasses import dataclass

from ktrdr.core.errors import BadInputError
from ktrdr.core.parameters import did_you_mean

__all__ = ["TIMEFRAMES", "Timeframe"]

_SECONDS = {
    "1m": 60,
    "5m": 300,
    "15m": 900,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "4h": 14400,
    "1d": 86400,
    "1w": 604800,
}

TIMEFRAMES: tuple[str, ...] = tuple(_SECONDS)
"""Names of all timeframes, finest first."""


@dataclass(frozen=True, slots=True)
class Timeframe:
    """The length of a bar, such as ``1h``. A daily bar spans 24 hours from its label, a weekly one seven days.

    Args:
        name: one of :data:`TIMEFRAMES`.

    Raises:
        BadInputError: there is no such timeframe.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.data.Timeframe("4h").seconds
        14400
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in _SECONDS:
            hint = did_you_mean(self.name, TIMEFRAMES) or f"; known: {', '.join(TIMEFRAMES)}"
            raise BadInputError(f"unknown timeframe `{self.name}`{hint}")

    @property
    def seconds(self) -> int:
        """Length in seconds."""
        return _SECONDS[self.name]

    @property
    def nanoseconds(self) -> int:
        """Length in nanoseconds."""
        return _SECONDS[self.name] * 1_000_000_000

    def __str__(self) -> str:
        return self.name
