"""What is odd about bars: a report, never a repair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendar_choice import calendar_of
from ktrdr.core.data.consistency import find_inconsistencies
from ktrdr.core.data.gaps import GAP_KINDS, find_gaps, outside_hours
from ktrdr.core.data.times import format_time

__all__ = ["Finding", "ValidationReport", "split_like_jumps", "validate_bars"]

_EXAMPLES = 10
_SPLIT_RATIOS = np.array([3 / 2, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 50.0, 100.0])
_SPLIT_TOLERANCE = 0.04


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of oddity.

    Attributes:
        kind: such as ``gap``, ``split_like_jump``, ``outside_hours``, ``no_volume``, or an error of
            :mod:`ktrdr.core.data.consistency`.
        severity: ``error`` (the import refuses it) or ``warning``.
        message: one sentence for a person.
        count: how often.
        times: opens of the first bars concerned, ``datetime64[ns]``, at most ten.
    """

    kind: str
    severity: str
    message: str
    count: int
    times: tuple[np.datetime64, ...] = ()


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """All that is odd about one data set. ``gaps`` counts gaps by kind; ``missing_bars`` those in unexpected ones."""

    symbol: str
    timeframe: str
    rows: int
    calendar: str
    gaps: dict[str, int]
    missing_bars: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """True if there are no errors; warnings may be there."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "symbol": self.symbol,
            "timeframe": self.timeframe,
            "rows": self.rows,
            "calendar": self.calendar,
            "ok": self.ok,
            "gaps": self.gaps,
            "missing_bars": self.missing_bars,
            "findings": [
                {
                    "kind": finding.kind,
                    "severity": finding.severity,
                    "message": finding.message,
                    "count": finding.count,
                    "times": [str(time.astype("datetime64[s]")) + "Z" for time in finding.times],
                }
                for finding in self.findings
            ],
        }


def validate_bars(bars: Bars, calendar: str | None = None) -> ValidationReport:
    """Return the report on ``bars``: impossible bars, their order, gaps, jumps, missing volume.

    Args:
        bars: in any state; gaps and jumps are looked for only where the bars are otherwise in order.
        calendar: ``FX``, ``24/7`` or a market identifier code; by default that of the bars.

    Raises:
        BadInputError: there is no calendar of that name.
    """
    market = calendar_of(bars, calendar)
    findings = [
        Finding(error.kind, "error", error.message, len(error.rows), _times(bars.time[error.rows]))
        for error in find_inconsistencies(bars)
    ]
    gaps: dict[str, int] = dict.fromkeys(GAP_KINDS, 0)
    missing = 0
    if not findings and len(bars):
        found = find_gaps(bars, market)
        gaps = {kind: found.count(kind) for kind in GAP_KINDS}
        missing = int(found.missing.sum())
        unexpected = np.flatnonzero(found.missing > 0)
        if len(unexpected):
            largest = int(np.argmax(found.missing))
            bars_missing = "1 bar is" if missing == 1 else f"{missing:,} bars are"
            in_gaps = "1 gap" if len(unexpected) == 1 else f"{len(unexpected):,} gaps"
            findings.append(
                Finding(
                    "gap",
                    "warning",
                    f"{bars_missing} missing in {in_gaps} while {market.name} was open; the largest "
                    f"lacks {found.missing[largest]}, from {format_time(found.start[largest])} to "
                    f"{format_time(found.end[largest])}",
                    len(unexpected),
                    _times(found.start[unexpected]),
                )
            )
        findings += _outside(bars, market.name, outside_hours(bars, market))
        findings += _jumps(bars)
        findings += _volume(bars)
    return ValidationReport(bars.symbol, bars.timeframe.name, len(bars), market.name, gaps, missing, tuple(findings))


def split_like_jumps(bars: Bars) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of bars that open at about a simple ratio of the close before, and that ratio.

    A ratio above 1 means a lower price (2.0: a 2 for 1 split), below 1 a higher one. Only jumps within 4 % of a usual
    split ratio count; whether it was a split, the prices alone cannot tell.
    """
    if len(bars) < 2:
        return np.empty(0, dtype=np.int64), np.empty(0)
    change = bars.close[:-1] / bars.open[1:]
    row = np.flatnonzero((change > 1.4) | (change < 1 / 1.4))
    factor = np.where(change[row] > 1, change[row], 1 / change[row])
    off = np.abs(factor[:, None] / _SPLIT_RATIOS[None, :] - 1)
    nearest = off.argmin(axis=1)
    near = off[np.arange(len(row)), nearest] <= _SPLIT_TOLERANCE
    ratio = np.where(change[row] > 1, _SPLIT_RATIOS[nearest], 1 / _SPLIT_RATIOS[nearest])
    return row[near] + 1, ratio[near]


def _outside(bars: Bars, market: str, rows: np.ndarray) -> list[Finding]:
    if not len(rows):
        return []
    text = (
        f"{len(rows)} bars lie outside the hours of {market} (first {format_time(bars.time[rows[0]])}): check the time "
        "zone and the calendar"
    )
    return [Finding("outside_hours", "warning", text, len(rows), _times(bars.time[rows]))]


def _jumps(bars: Bars) -> list[Finding]:
    rows, ratios = split_like_jumps(bars)
    if not len(rows):
        return []
    listed = ", ".join(
        f"{format_time(bars.time[row])} ({ratio:.4g} to 1)"
        for row, ratio in zip(rows[:_EXAMPLES], ratios, strict=False)
    )
    what = "1 jump looks like a split" if len(rows) == 1 else f"{len(rows)} jumps look like splits"
    text = f"{what} that prices were not adjusted for: {listed}"
    return [Finding("split_like_jump", "warning", text, len(rows), _times(bars.time[rows]))]


def _volume(bars: Bars) -> list[Finding]:
    unknown = np.flatnonzero(np.isnan(bars.volume))
    if not len(unknown):
        return []
    text = "no bar has a volume" if len(unknown) == len(bars) else f"{len(unknown)} bars have no volume"
    return [Finding("no_volume", "warning", text, len(unknown), _times(bars.time[unknown]))]


def _times(times: np.ndarray) -> tuple[np.datetime64, ...]:
    return tuple(times[:_EXAMPLES])
