"""Detection of a wrong time zone or label: bars outside their market's hours, and the reading that corrects them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendars import Intervals, MarketCalendar

__all__ = ["Clock", "ClockProposal", "TimesRead", "clock_remedy", "propose_clock"]

_DAY = 86_400_000_000_000
_QUARTER = 900_000_000_000
_HOUR = 3_600_000_000_000
_SATURDAY_NOON = 2 * _DAY + _DAY // 2  # 1970-01-03 12:00
# Zones that vendors use besides the market's own: those of exchanges and brokers (MetaTrader servers: Athens).
_ZONES = (
    "UTC", "America/New_York", "America/Chicago", "America/Los_Angeles", "Europe/London", "Europe/Berlin",
    "Europe/Athens", "Europe/Moscow", "Asia/Kolkata", "Asia/Hong_Kong", "Asia/Tokyo", "Australia/Sydney",
)  # fmt: skip
_OFFSETS = tuple(f"{hour:+03}:00" for hour in range(-10, 13) if hour)
_WEEKS_LOOKED_AT = 160
# A clock is shifted if at least this share of the bars, or of the weeks (or days), is outside the hours.
_FEWEST = 0.2
# The right reading leaves at most this share of the bars outside that were outside before: a broker may change its
# clock on other days than its zone, and an offset may only be the nearest fit for the hours of another market. The
# market's own zone is preferred if the best reading is better by no more than _EQUAL of all bars.
_LEFT = 0.1
_LEFT_BY_OFFSET = 0.01
_EQUAL = 0.0005


@dataclass(frozen=True, slots=True)
class Clock:
    """A way to read the times of bars.

    Attributes:
        zone: in the form of ``--timezone``: ``UTC``, ``Europe/Athens``, ``+02:00``.
        label: ``open`` or ``close``: the meaning of a bar's time.
    """

    zone: str
    label: str = "open"


@dataclass(frozen=True, slots=True)
class TimesRead:
    """How the times of bars were read when they were imported.

    Attributes:
        zone: the zone in which they were read; None if the file itself has several zones.
        label: ``open`` or ``close``: the assumed meaning of the times.
        said: True if the file itself names the zone.
    """

    zone: dt.tzinfo | None
    label: str = "open"
    said: bool = False


@dataclass(frozen=True, slots=True)
class ClockProposal:
    """A reading of the same times that leaves (nearly) no bar outside the market's hours.

    Attributes:
        clock: the reading.
        exact: True if it leaves no bar outside.
        equal: another reading that fits equally well, or None.
        same: True if ``equal`` gives the same times, such as an offset for a zone whose clocks do not change in these
            bars.
    """

    clock: Clock
    exact: bool
    equal: Clock | None
    same: bool


def propose_clock(bars: Bars, market: MarketCalendar, outside: np.ndarray, read: TimesRead) -> ClockProposal | None:
    """Return the reading of the times that puts the bars into their market's hours, None if no reading fits.

    There must be enough evidence: bars without movement and volume, with which vendors fill closed hours, do not count;
    a few bars outside in a long file are not enough, nor is a file so short that many readings fit.

    Args:
        bars: ascending, without errors.
        market: the market's hours.
        outside: int64 ``(k,)``, positions of the bars outside the hours, see
            :func:`~ktrdr.core.data.gaps.outside_hours`.
        read: how the times were read.
    """
    if market.name == "24/7" or bars.timeframe.seconds >= 86400 or not len(outside):
        return None
    filled = (bars.high == bars.low) & ((bars.volume == 0) | np.isnan(bars.volume))
    if filled[outside].sum() > len(outside) / 2:
        return None
    zone, label = read.zone or dt.UTC, read.label
    trial = _Trial.of(bars, market, ~filled, zone, label)
    now = trial.fit(Clock(_name(zone), label), trial.utc)
    own = _own_zone(market)
    if now.outside.sum() == 0 or not _is_shifted(now.outside, trial.period):
        return None
    other = "close" if label == "open" else "open"
    length = bars.timeframe.nanoseconds * (1 if label == "open" else -1)
    relabelled = trial.fit(Clock(_name(zone), other), trial.utc - length)
    if read.zone is None:
        return _choose(now, [relabelled], own, trial.period)
    named = (own, *(name for name in _ZONES if name != own))
    fits = [trial.fit(Clock(name, label), trial.read_in(name)) for name in named]
    fits.insert(1, relabelled)
    fits.extend(trial.fit(Clock(name, other), trial.read_in(name) - length) for name in named)
    fits.extend(trial.fit(Clock(name, label), trial.read_in(name)) for name in _OFFSETS)
    return _choose(now, fits, own, trial.period)


def clock_remedy(proposal: ClockProposal, read: TimesRead | None) -> str:
    """Return the remedy, as the second half of a sentence about bars outside hours.

    Args:
        proposal: the right reading.
        read: how the times were read; None for stored bars, for which it is unknown.
    """
    clock, was = proposal.clock, read or TimesRead(dt.UTC)
    before = _name(was.zone or dt.UTC)
    moved, relabelled = clock.zone != before, clock.label != was.label
    how = " ".join((f"as {clock.label}s " * relabelled + f"in {clock.zone}" * moved).split())
    kept = before != "UTC" and not was.said
    options = " ".join(
        (f"--timezone {clock.zone} " * (moved or kept) + "--label close" * (clock.label == "close")).split()
    )
    again = f"import it again{f' with {options}' if options else ''}"
    if was.label == "close" and relabelled:
        again += f"{' and' if options else ''} without --label close"
    again = f"delete the data set and {again}"
    if moved and was.said:
        again = f"write the file's times without a zone, such as 2017-01-31 14:00, {again}"
    if read is None:
        again = f"if it was imported without {'--timezone' if moved else '--label'}, {again}"
    most = "" if proposal.exact else ", except for a few"
    return f"read {how} they lie inside{most}{_as_well(proposal)}; {again}"


def _as_well(proposal: ClockProposal) -> str:
    if proposal.equal is None:
        return ""
    other = proposal.equal.zone + (" with --label close" if proposal.equal.label == "close" else "")
    if proposal.same:
        return f" ({other} gives the same times here)"
    return f" ({other} fits as well: the bars alone do not show which is right)"


def _is_shifted(outside: np.ndarray, period: np.ndarray) -> bool:
    """Return True if many bars are outside, or bars of many weeks (or days)."""
    periods = len(np.unique(period))
    concerned = len(np.unique(period[outside]))
    return outside.mean() >= _FEWEST or (concerned >= 2 and concerned / periods >= _FEWEST)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """The fit of a reading: bool, the bars outside; nanoseconds inside the hours; the opens that it gives."""

    clock: Clock
    outside: np.ndarray
    inside: int
    utc: np.ndarray


def _choose(now: _Fit, fits: list[_Fit], own: str, period: np.ndarray) -> ClockProposal | None:
    """Return the best fit, the first of equally good ones; the first of ``fits`` is the market's own zone."""
    best = min(fits, key=lambda fit: (fit.outside.sum(), -fit.inside))
    if best.inside <= now.inside:
        return None
    own_fit = fits[0]
    slack = int(_EQUAL * len(period))
    equal = [fit for fit in fits if (fit.outside.sum(), fit.inside) == (best.outside.sum(), best.inside)]
    nearly = own_fit.outside.sum() <= best.outside.sum() + slack and own_fit.inside >= best.inside * (1 - _EQUAL)
    if nearly and equal[0] is not own_fit:
        equal.insert(0, own_fit)
    chosen = equal[0]
    by_offset = chosen.clock.zone[0] in "+-"
    if chosen.outside.sum() > (_LEFT_BY_OFFSET if by_offset else _LEFT) * now.outside.sum():
        return None
    # Many readings fit a single day or week; then only the market's own zone is likely.
    if len(np.unique(period)) < 2 and (chosen.clock.zone != own or len(period) < 5):
        return None
    different = [fit for fit in equal[1:] if not np.array_equal(fit.utc, chosen.utc)]
    same = [fit for fit in equal[1:] if fit not in different and fit.clock.label == now.clock.label]
    if by_offset and different:
        return None
    named = [fit.clock for fit in different or same]
    return ClockProposal(chosen.clock, not chosen.outside.any(), named[0] if named else None, not different)


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """A sample of the bars, to try other readings.

    Attributes:
        written: int64 ``(n,)``, times on the clock of the file, nanoseconds.
        utc: int64 ``(n,)``, the same times in UTC as they were read.
        period: int64 ``(n,)``, number of the week (FX) or day.
        length: of a bar, nanoseconds; shorter bars are combined to 15 minutes.
    """

    written: np.ndarray
    utc: np.ndarray
    period: np.ndarray
    length: int
    sessions: Intervals
    holidays: Intervals

    @classmethod
    def of(cls, bars: Bars, market: MarketCalendar, usable: np.ndarray, read: dt.tzinfo, label: str) -> _Trial:
        """Return the trial of ``bars``: a sample of the weeks of a long file."""
        time = bars.time[usable].astype(np.int64)
        week = (time - _SATURDAY_NOON) // (7 * _DAY)
        weeks = np.unique(week)
        if len(weeks) > _WEEKS_LOOKED_AT:
            chosen = weeks[np.linspace(0, len(weeks) - 1, _WEEKS_LOOKED_AT).astype(np.int64)]
            time = time[np.isin(week, chosen)]
        length = max(bars.timeframe.nanoseconds, _QUARTER)
        if bars.timeframe.nanoseconds < _QUARTER:
            time = np.unique(time // _QUARTER) * _QUARTER
        written = time + _offsets(time, read)
        period = (written - _SATURDAY_NOON) // (7 * _DAY) if market.name == "FX" else written // _DAY
        span = bars.time[0], bars.time[-1]
        sessions, holidays = market.sessions(*span, bars.timeframe), market.holidays(*span)
        return cls(written, time, period, length, sessions, holidays)

    def read_in(self, zone: str) -> np.ndarray:
        """Return the times of the file in UTC if they were written in ``zone``."""
        return self.written - _offsets(self.written, _zone(zone))

    def fit(self, clock: Clock, utc: np.ndarray) -> _Fit:
        """Return the fit of the opens ``utc`` to the market's hours."""
        inside = self.sessions.covered(utc, utc + self.length)
        outside = (inside == 0) & (self.holidays.covered(utc, utc + self.length) == 0)
        return _Fit(clock, outside, int(inside.sum()), utc)


def _offsets(time: np.ndarray, zone: dt.tzinfo) -> np.ndarray:
    """Return how many nanoseconds ``zone`` is ahead of UTC at noon of the days of ``time``.

    The offset at noon is enough because clocks change at night, when markets are closed.
    """
    days, index = np.unique(time // _DAY, return_inverse=True)
    noons = (dt.datetime(1970, 1, 1, 12, tzinfo=zone) + dt.timedelta(days=int(day)) for day in days)
    ahead = [noon.utcoffset() or dt.timedelta() for noon in noons]
    return np.array([int(each.total_seconds()) * 1_000_000_000 for each in ahead], dtype=np.int64)[index]


def _zone(name: str) -> dt.tzinfo:
    if name[0] in "+-":
        return dt.timezone(dt.timedelta(hours=int(name[:3])))
    return ZoneInfo(name)


def _name(zone: dt.tzinfo) -> str:
    if isinstance(zone, ZoneInfo):
        return zone.key
    name = str(zone)
    return name.removeprefix("UTC") or "UTC"


def _own_zone(market: MarketCalendar) -> str:
    """Return the zone of the market's clock: New York for FX, whose week ends at 17:00 there."""
    if market.name == "FX":
        return "America/New_York"
    import exchange_calendars

    return str(exchange_calendars.get_calendar(market.name, start="2024-01-01", end="2024-02-01").tz)
