"""The number of trials that a result was chosen among, and how similar they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ktrdr.core.short_texts import counted
from ktrdr.core.trials.daily_returns import MOST_DAYS, DailyReturns

__all__ = ["TrialCount", "effective_trials", "mean_correlation"]


@dataclass(frozen=True, slots=True)
class TrialCount:
    """The count of the trials that looked at the bars of a result.

    Attributes:
        known: distinct trials, the result's own among them.
        ledger: id of the ledger that knows them.
        spread: standard deviation of their annualized Sharpe ratios on bars as long as those of the result: each is
            multiplied by the square root of its length over that of the result. ``None`` where fewer than two have one.
        effective: number of trials that are not alike which these come to; ``None`` where that cannot be told. For
            information: nothing passes because of it.
        elsewhere: trials that the user says were made elsewhere.
        chosen_among: settings of the largest sweep in which the strategy was one; ``None`` where it was in none.
        broken: one sentence where the ledger is known to be damaged, else empty.
        reserve_opened: distinct trials that looked at the reserve of the result, by whatever strategy, the result's own
            among them; ``None`` where the result opened none.

    Example:
        >>> import ktrdr.core as kt
        >>> count = kt.trials.count("EURUSD", "2017-10-01", "2017-12-31")
        >>> count.number, count.with_elsewhere(9).number
        (1, 10)
    """

    known: int
    ledger: str
    spread: float | None = None
    effective: float | None = None
    elsewhere: int = 0
    chosen_among: int | None = None
    broken: str = ""
    reserve_opened: int | None = None

    @property
    def number(self) -> int:
        """The number of counted trials: those of the ledger and those from elsewhere."""
        return self.known + self.elsewhere

    @property
    def statement(self) -> str:
        """The number of trials, in words."""
        words = f"{self.known:,} trial{'' if self.known == 1 else 's'} known to this ledger"
        return words + (f", {self.elsewhere:,} made elsewhere" if self.elsewhere else "")

    @property
    def facts(self) -> dict[str, str]:
        """Further facts about the trials: one sentence each, by name."""
        found = {}
        if self.reserve_opened is not None:
            found["reserve"] = f"{counted(self.reserve_opened, 'trial')} looked at the reserve, this one included."
        if self.spread is not None:
            deviation = f"a standard deviation of {self.spread:.2f} on bars as long as these"
            found["spread"] = f"Their Sharpe ratios have {deviation}."
        if self.effective is not None:
            independent = f"By their correlation they come to {self.effective:,.1f} independent ones"
            found["effective number"] = f"{independent}; all are counted."
        if self.chosen_among is not None and self.chosen_among > 1:
            found["sweep"] = f"This strategy is one of {self.chosen_among:,} settings of a sweep."
        if self.broken:
            found["damaged"] = f"The ledger is damaged: {self.broken}; `ktrdr trials verify` shows more."
        return found

    def with_elsewhere(self, elsewhere: int | None) -> TrialCount:
        """Return the count with trials that were made elsewhere.

        Args:
            elsewhere: number of them; ``None`` is 0.

        Returns:
            A new count.
        """
        return replace(self, elsewhere=elsewhere or 0)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready map of the attributes and ``number``."""
        return {
            "number": self.number,
            "known": self.known,
            "elsewhere": self.elsewhere,
            "ledger": self.ledger,
            "spread": self.spread,
            "effective": self.effective,
            "chosen_among": self.chosen_among,
            "broken": self.broken,
            "reserve_opened": self.reserve_opened,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TrialCount:
        """Return the count that :meth:`to_json` was called on.

        Args:
            data: the map that it returned.

        Returns:
            The count.
        """
        return cls(**{name: value for name, value in data.items() if name != "number"})


def mean_correlation(trials: Sequence[DailyReturns]) -> float | None:
    """Return the mean correlation of the daily returns of all pairs of trials.

    The days are those from the first to the last of any trial, at most the newest
    :data:`~ktrdr.core.trials.daily_returns.MOST_DAYS`; a trial has a return of 0 on days outside its own. Trials whose
    returns do not vary are left out. ``None`` for fewer than two trials.
    """
    if not trials:
        return None
    end = max(each.first + len(each.values) for each in trials)
    start = max(min(each.first for each in trials), end - MOST_DAYS)
    table = np.zeros((len(trials), end - start))
    for row, each in zip(table, trials, strict=True):
        values = each.values[max(start - each.first, 0) :]
        place = max(each.first - start, 0)
        row[place : place + len(values)] = values
    # Compared with the first value: the mean of equal numbers may differ from them by rounding.
    table = table[(table != table[:, :1]).any(axis=1)]
    count = len(table)
    if count < 2:
        return None
    table -= table.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("ij,ij->i", table, table))
    # The squared length of the sum of unit vectors contains every pair twice, and each vector with itself once.
    total = (table / length[:, np.newaxis]).sum(axis=0)
    return (float(total @ total) - count) / (count * (count - 1))


def effective_trials(number: int, correlation: float) -> float:
    """Return the effective number of independent trials among ``number`` trials with this mean correlation.

    ``p + (1 - p) n``, for p from 0 to 1: D. H. Bailey and M. Lopez de Prado, "The Deflated Sharpe Ratio" (Journal of
    Portfolio Management, 2014), appendix 3.
    """
    p = min(max(correlation, 0.0), 1.0)
    return p + (1 - p) * number
