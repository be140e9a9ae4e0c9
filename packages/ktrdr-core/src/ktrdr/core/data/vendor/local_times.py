"""Local times to UTC, where clocks go back told by the order of rows."""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

import numpy as np

from ktrdr.core.data.consistency import common_step

__all__ = ["to_utc"]


def to_utc(local: np.ndarray, zone: ZoneInfo) -> tuple[np.ndarray, np.ndarray]:
    """Return the instants of local times.

    An hour that comes twice is told apart by the order of rows: what follows a step back is the second time. A row
    without such a step beside it is told by the step between rows, if only one of its two instants is a step from the
    row before or after it.

    Args:
        local: int64 ``(n,)``, nanoseconds since 1970 on the clocks of ``zone``, in order of time.
        zone: whose clocks.

    Returns:
        int64 ``(n,)``, nanoseconds since 1970, UTC, and int64, the positions of the rows that cannot be told: they come
        once where the clocks show their time twice, or their time never comes. What the first holds there says nothing.
    """
    import pandas as pd

    index = pd.DatetimeIndex(local.view("datetime64[ns]"))

    def instants(first: np.ndarray) -> np.ndarray:
        """Bool ``(n,)``: which of the times that come twice are the first."""
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
    """Tell whether the rows of ``run`` at these instants are a step after the row before or before the row after."""
    first, last = int(run[0]), int(run[-1])
    after = first > 0 and instants[first] - utc[first - 1] == step
    before = last + 1 < len(utc) and utc[last + 1] - instants[last] == step
    return bool(after or before)
