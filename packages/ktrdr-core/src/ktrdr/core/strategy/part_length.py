"""Lengths of the parts of walk-forward validation: a number of bars, or a duration such as `26w`."""

from __future__ import annotations

import re

import numpy as np

from ktrdr.core.limits import LONGEST_DURATION_DAYS, MOST_BARS_OF_A_PART

__all__ = ["DURATION_PATTERN", "read_length"]

DURATION_PATTERN = r"[1-9][0-9]{0,6}[hdw]"
"""Regular expression of a duration."""

_HOURS = {"h": 1, "d": 24, "w": 168}
_FORMS = "a number of bars, such as 500, or a duration of hours, days or weeks, such as 12h, 90d or 26w"


def read_length(length: int | str) -> int | np.timedelta64:
    """Return a length as a number of bars, or as a duration ``timedelta64[ns]``.

    Args:
        length: number of bars, or a number and a unit (``h``, ``d`` or ``w``) as text.

    Raises:
        ValueError: it is neither, or longer than data can be; the message completes "`train` ...".
    """
    if isinstance(length, bool) or not isinstance(length, int | str):
        raise ValueError(f"must be {_FORMS}, not {length!r}")
    if isinstance(length, int):
        if not 1 <= length <= MOST_BARS_OF_A_PART:
            raise ValueError(f"must be at least 1 and at most {MOST_BARS_OF_A_PART:,} bars, not {length!r}")
        return length
    if not re.fullmatch(DURATION_PATTERN, length):
        raise ValueError(f"must be {_FORMS}, not {length[:40]!r}")
    hours = int(length[:-1]) * _HOURS[length[-1]]
    if hours > LONGEST_DURATION_DAYS * 24:
        raise ValueError(f"must be at most {LONGEST_DURATION_DAYS:,} days, not {length!r}")
    return np.timedelta64(hours * 3_600_000_000_000, "ns")
