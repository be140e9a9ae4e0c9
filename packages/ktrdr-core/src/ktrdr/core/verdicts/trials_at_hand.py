"""The daily returns of the trials that looked at the same bars, side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ktrdr.core.trials.daily_returns import DailyReturns

__all__ = ["TrialsAtHand", "trials_at_hand"]

_LEAST_SHARE = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class TrialsAtHand:
    """Daily returns of several trials on their common days.

    Attributes:
        days: int64 ``(n,)``: the days, as numbers of days since 1970-01-01, on which any of the trials has a return.
        returns: float64 ``(n, trials)``: net returns; each trial has returns that vary, and those of no other.
    """

    days: np.ndarray
    returns: np.ndarray


def trials_at_hand(own: DailyReturns, others: Iterable[DailyReturns]) -> TrialsAtHand:
    """Return the daily returns of a trial and of those others that cover at least 80 % of its days.

    All have returns on at least 60 % of its days then, however the others lie. Trials with equal returns count once: so
    does the trial itself, if it is among the others.

    Args:
        own: of the trial.
        others: of trials that looked at the same bars, and of others.
    """
    first, end = own.first, own.first + len(own.values)
    least = _LEAST_SHARE * (end - first)
    kept = [
        own,
        *(each for each in others if min(each.first + len(each.values), end) - max(each.first, first) >= least),
    ]
    first = max(each.first for each in kept)
    end = min(each.first + len(each.values) for each in kept)
    columns = [each.values[first - each.first : end - each.first] for each in kept]
    distinct = {column.tobytes(): column for column in columns if (column != column[:1]).any()}
    table = np.zeros((end - first, len(distinct)))
    for place, column in enumerate(distinct.values()):
        table[:, place] = column
    # Weekends and holidays, on which no trial has a return, would only thin the others out.
    traded = table.any(axis=1)
    return TrialsAtHand(np.arange(first, end)[traded], table[traded])
