"""Validation of bars. It reports findings and never changes a bar."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendar_choice import calendar_of
from ktrdr.core.data.calendars import MarketCalendar
from ktrdr.core.data.consistency import find_inconsistencies
from ktrdr.core.data.gaps import GAP_KINDS, find_gaps, outside_hours
from ktrdr.core.data.jumps import find_jumps
from ktrdr.core.data.shifted_clock import TimesRead, clock_remedy, propose_clock
from ktrdr.core.data.times import format_time

__all__ = ["Finding", "ValidationReport", "validate_bars"]

_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of finding.

    Attributes:
        kind: such as ``gap``, ``split_like_jump``, ``large_jump``, ``outside_hours``, ``no_volume``, ``zero_volume``,
            or an error of :mod:`ktrdr.core.data.consistency`.
        severity: ``error`` (an import refuses such bars) or ``warning``.
        message: one sentence for a person.
        count: number of occurrences.
        times: opens of the first bars concerned, ``datetime64[ns]``, UTC, at most ten.
    """

    kind: str
    severity: str
    message: str
    count: int
    times: tuple[np.datetime64, ...] = ()


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """All findings about one data set.

    Attributes:
        symbol, timeframe: the data set.
        rows: number of bars.
        calendar: name of the calendar that defines the gaps.
        gaps: number of gaps by kind.
        missing_bars: number of bars missing in unexpected gaps.
        findings: one per kind.
        world: see :attr:`.Bars.world`.
    """

    symbol: str
    timeframe: str
    rows: int
    calendar: str
    gaps: dict[str, int]
    missing_bars: int
    findings: tuple[Finding, ...]
    world: str = ""

    @property
    def ok(self) -> bool:
        """True if there are no errors; there may be warnings."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "symbol": self.symbol,
            "timeframe": self.timeframe,
            "rows": self.rows,
            "calendar": self.calendar,
            "world": self.world,
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


def validate_bars(bars: Bars, calendar: str | None = None, read: TimesRead | None = None) -> ValidationReport:
    """Return the report on ``bars``: errors, gaps, bars outside hours, jumps, missing volume.

    Args:
        bars: may have errors; then only these are reported, and not gaps, jumps and the like.
        calendar: ``FX``, ``24/7`` or a market identifier code; by default that of the bars.
        read: how the times of a file were read, to propose a better reading if bars are outside the market's hours;
            None for stored bars.

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
        findings += _outside(bars, market, outside_hours(bars, market), read)
        findings += _jumps(bars)
        findings += _volume(bars)
    return ValidationReport(
        bars.symbol, bars.timeframe.name, len(bars), market.name, gaps, missing, tuple(findings), bars.world
    )


def _outside(bars: Bars, market: MarketCalendar, rows: np.ndarray, read: TimesRead | None) -> list[Finding]:
    if not len(rows):
        return []
    proposal = propose_clock(bars, market, rows, read or TimesRead(dt.UTC))
    remedy = "check the time zone and the calendar" if proposal is None else clock_remedy(proposal, read)
    text = (
        f"{len(rows)} bars lie outside the hours of {market.name} (first {format_time(bars.time[rows[0]])}): {remedy}"
    )
    return [Finding("outside_hours", "warning", text, len(rows), _times(bars.time[rows]))]


def _jumps(bars: Bars) -> list[Finding]:
    return [
        Finding(jumps.kind, "warning", jumps.message, len(jumps.rows), _times(bars.time[jumps.rows]))
        for jumps in find_jumps(bars)
    ]


def _volume(bars: Bars) -> list[Finding]:
    found = []
    unknown = np.flatnonzero(np.isnan(bars.volume))
    if len(unknown):
        some = "1 bar has no volume" if len(unknown) == 1 else f"{len(unknown):,} bars have no volume"
        text = "no bar has a volume" if len(unknown) == len(bars) else some
        found.append(Finding("no_volume", "warning", text, len(unknown), _times(bars.time[unknown])))
    zero = np.flatnonzero(bars.volume == 0)
    if len(zero) and len(zero) + len(unknown) == len(bars):
        which = "every bar" if not len(unknown) else f"each of the {len(zero):,} bars that have one"
        text = (
            f"the volume of {which} is 0, so indicators and filters of volume are meaningless; if the vendor"
            " gives another volume, such as that of ticks, import that column"
        )
        found.append(Finding("zero_volume", "warning", text, len(zero), _times(bars.time[zero])))
    return found


def _times(times: np.ndarray) -> tuple[np.datetime64, ...]:
    return tuple(times[:_EXAMPLES])
