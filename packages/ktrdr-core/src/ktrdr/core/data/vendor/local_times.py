"""Conversion of local times to UTC; the order of rows resolves the hour that occurs twice."""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

import numpy as np

from ktrdr.core.data.consistency import common_step

__all__ = ["to_utc"]


def to_utc(local: np.ndarray, zone: ZoneInfo) -> tuple[np.ndarray, np.ndarray]:
    """Return the instants of local times.

    When clocks go back, an hour occurs twice: rows after a step back belong to the second hour. Without a step back, a
    row is assigned to an hour if only one of the two instants is one bar away from the row before or after it.

    Args:
        local: int64 ``(n,)``, nanoseconds since 1970 on the clocks of ``zone``, in order of time.
        zone: the zone of the clocks.

    Returns:
        int64 ``(n,)``: nanoseconds since 1970, UTC. int64 ``(k,)``: positions of the rows without a definite instant,
        whose times occur twice on the clocks but once in the rows, or never occur; their values in the first array are
        meaningless.
    """
    import pandas as pd

    index = pd.DatetimeIndex(local.view("datetime64[ns]"))

    def instants(first: np.ndarray) -> np.ndarray:
        """Return the instants, int64; ``first``, bool ``(n,)``, chooses the first of two instants of a time."""
        found = index.tz_localize(zone, ambiguous=first, nonexistent="NaT")
        return found.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[ns]").view(np.int64)

    early = instants(np.ones(len(local), dtype=bool))
    late = instants(np.zeros(len(local), dtype=bool))
    missing = early == np.iinfo(np.int64).min
    twice = np.flatnonzero((early != late) & ~missing)
    utc = early.copy()
    unclear = [np.flatnonzero(missing)]
    step = common_step(utc[(early == late) & ~missing])
    for run in _runs(twice):
        back = np.flatnonzero(np.diff(local[run]) <= 0)
        if len(back):
            second = run[back[0] + 1 :]
            utc[second] = late[second]
        elif _continues(utc, run, early, step) == _continues(utc, run, late, step):
            unclear.append(run)
        elif _continues(utc, run, late, step):
            utc[run] = late[run]
    return utc, np.sort(np.concatenate(unclear))


def _runs(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the runs of consecutive ``rows``."""
    if len(rows):
        yield from np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)


def _continues(utc: np.ndarray, run: np.ndarray, instants: np.ndarray, step: int) -> bool:
    """Return True if the rows of ``run`` at these instants are one step from the row before or after them."""
    first, last = int(run[0]), int(run[-1])
    after = first > 0 and instants[first] - utc[first - 1] == step
    before = last + 1 < len(utc) and utc[last + 1] - instants[last] == step
    return bool(after or before)
