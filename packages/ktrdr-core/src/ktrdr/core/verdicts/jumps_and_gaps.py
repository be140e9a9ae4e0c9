"""Checks of validity: prices that were not adjusted for splits, and bars that are missing while the market was open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendar_choice import calendar_of
from ktrdr.core.data.calendars import new_york_hours
from ktrdr.core.data.gaps import Gaps, find_gaps, outside_hours
from ktrdr.core.data.jumps import find_jumps, split_like_jumps
from ktrdr.core.data.times import format_time
from ktrdr.core.verdicts.findings import MOST_NAMED, finding_of, named
from ktrdr.core.verdicts.fitting_exchange import fitting_exchange
from ktrdr.core.verdicts.verdict_result import ValidityFinding

__all__ = ["MISSING_SHARE", "check_jumps", "check_missing_bars"]

MISSING_SHARE = 0.01
"""Largest share of missing bars."""

_HOUR = 3_600_000_000_000
_DAY = 24 * _HOUR

# A gap at the same hour of the same day of the week in a third of the weeks (clocks change in some of them) is a break
# of the market: metals and index contracts close for an hour a day, and brokers open late on Sundays.
_BREAK_WEEKS = 1 / 3
_FEWEST_WEEKS = 8
_LONGEST_BREAK = 4 * _HOUR

# A split does not make people trade; news does. On three split days of AAPL and MSFT at most 1.3 times the usual number
# of shares was traded, and 22 times when AAPL fell to nearly half on news (2000-09-29).
_NEWS_VOLUME = 2.5
_USUAL_BARS = 20

# A price opens at the ratio of its split, but for the move of that night: MSFT opened 1.9 % off after a split, with a
# median move of 0.7 % before. Without volume nothing else tells a split from news, so less is allowed.
_OFF_RATIO = 0.01
_OFF_MOVES = 2.0

# No split, and yet too large for a move of the market: a share that loses three quarters of its price between two bars
# does not trade on as before. Smaller jumps can be news, such as the 47 % that AAPL lost on 2000-09-29.
_TOO_LARGE = np.log(4.0)


def check_jumps(series: Sequence[Bars]) -> ValidityFinding:
    """Look for jumps like those of a split, and for jumps by a factor of 4 and more.

    A jump in a bar with more than 2.5 times the usual volume, times the ratio of the jump, is taken for news. So is a
    jump by a factor below 4 that is more than 1 % off a split ratio, and where volume is known, two usual moves from
    close to open more than that.

    Args:
        series: base bars of each symbol; prices must be above 0.
    """
    faults, news = [], []
    for bars in series:
        on_news = np.union1d(_on_news(bars), _off_ratio(bars))
        news += [f"{bars.symbol} {format_time(bars.time[row])}" for row in on_news]
        for jumps in find_jumps(bars, without=on_news):
            if jumps.kind == "split_like_jump" or _largest(bars, jumps.rows) > _TOO_LARGE:
                faults.append(f"{bars.symbol} {bars.timeframe}: {jumps.statement}")
            else:
                news.append(f"{bars.symbol} {format_time(bars.time[jumps.rows[0]])}")
    taken = f"; large moves are taken for those of the market ({named(news)})" if news else ""
    return finding_of(
        "unadjusted_jumps",
        "unadjusted jumps",
        faults,
        remedy="features, labels and trades take such a jump for a move of the market; import adjusted prices, or"
        " choose dates without it with `--start` and `--end`",
        clean=f"no jump of {named([bars.symbol for bars in series])} looks like a split{taken}",
    )


def check_missing_bars(series: Sequence[Bars]) -> ValidityFinding:
    """Look for symbols of which more than 1 % of the bars are missing while their market was open.

    Short gaps that come back every week at the same time are breaks of the market, and no bars are missing in them.
    Daily bars without a stored calendar whose days are the sessions of another exchange than their symbol implies are
    clean; the sentence says how to name that exchange.

    Args:
        series: base bars of each symbol.
    """
    until = max((int(bars.time[-1].astype(np.int64)) // _DAY for bars in series if len(bars)), default=0)
    faults, shares, others = [], [], []
    for bars in series:
        market = calendar_of(bars)
        gaps = find_gaps(bars, market)
        lacking = np.where(_weekly_breaks(gaps, bars), 0, gaps.missing)
        missing = int(lacking.sum())
        share = missing / max(len(bars) + missing, 1)
        other = None
        if share > MISSING_SHARE and bars.calendar is None and bars.timeframe.name == "1d":
            other = fitting_exchange(bars.time, MISSING_SHARE, until)
        if other is not None and other[0] != market.name:
            others.append(
                f"; the days of {bars.symbol} are the sessions of {other[0]}, and not of {market.name}: name its"
                f" calendar with `ktrdr data calendar {bars.symbol} {other[0]}`"
            )
            share = other[1]
        shares.append(share)
        if share <= MISSING_SHARE:
            continue
        largest = int(lacking.argmax())
        text = (
            f"{bars.symbol} {bars.timeframe}: {missing:,} bars ({share:.1%}) are missing while {market.name} was open,"
            f" most of them from {format_time(gaps.start[largest])} to {format_time(gaps.end[largest])}"
            if 2 * lacking[largest] > missing
            else f"{bars.symbol} {bars.timeframe}: {missing:,} bars ({share:.1%}) are missing while {market.name} was"
            f" open, in {int((lacking > 0).sum()):,} gaps, the largest at {format_time(gaps.start[largest])}"
        )
        outside = len(outside_hours(bars, market))
        faults.append(f"{text}, and {outside:,} bars lie outside its hours" if outside else text)
    return finding_of(
        "missing_bars",
        "missing bars",
        faults,
        remedy="import the missing bars or choose dates without the gaps; where the market has other hours, name its"
        " calendar with `ktrdr data calendar`",
        clean=f"at most {max(shares, default=0.0):.2%} of the bars of a symbol are missing from its calendar"
        + "".join(others[:MOST_NAMED]),
    )


def _on_news(bars: Bars) -> np.ndarray:
    """Return the jumps in whose bar far more was traded than in the 20 bars before, int64 positions."""
    rows = np.concatenate([np.empty(0, np.int64), *(jumps.rows for jumps in find_jumps(bars))])
    usual = np.array([np.median(bars.volume[max(row - _USUAL_BARS, 0) : row]) for row in rows])
    change = np.array([_largest(bars, rows[each : each + 1]) for each in range(len(rows))])
    # Without volume the comparison is False.
    found: np.ndarray = rows[bars.volume[rows] > _NEWS_VOLUME * np.exp(change) * np.maximum(usual, 1e-300)]
    return found


def _off_ratio(bars: Bars) -> np.ndarray:
    """Return the jumps by a factor below 4 that are too far off a split ratio to be one, int64 positions."""
    rows, ratios = split_like_jumps(bars)
    off = np.abs(np.log(bars.close[rows - 1] / bars.open[rows] / ratios))
    allowed = np.full(len(rows), _OFF_RATIO)
    for each, row in enumerate(rows.tolist()):
        before = slice(max(row - _USUAL_BARS, 1), row)
        if row > 1 and np.median(bars.volume[before]) > 0 and bars.volume[row] > 0:
            moves = np.log(bars.open[before] / bars.close[before.start - 1 : row - 1])
            allowed[each] += _OFF_MOVES * float(np.median(np.abs(moves)))
    small = np.array([_largest(bars, rows[each : each + 1]) <= _TOO_LARGE for each in range(len(rows))], dtype=np.bool_)
    found: np.ndarray = rows[(off > allowed) & small]
    return found


def _largest(bars: Bars, rows: np.ndarray) -> float:
    before = np.log(bars.close[rows - 1])
    return float(np.maximum(np.abs(np.log(bars.open[rows]) - before), np.abs(np.log(bars.close[rows]) - before)).max())


def _weekly_breaks(gaps: Gaps, bars: Bars) -> np.ndarray:
    """Return which gaps are breaks of the market: short ones at the same time of many weeks, bool ``(gaps,)``."""
    if not len(gaps):
        return np.zeros(0, dtype=np.bool_)
    start = gaps.start.astype(np.int64)
    local = start - new_york_hours(start // _DAY) * _HOUR
    weeks = int(bars.end.astype(np.int64) - bars.time[0].astype(np.int64)) / (7 * _DAY)
    short = (gaps.missing > 0) & (gaps.missing * bars.timeframe.nanoseconds <= _LONGEST_BREAK)
    when = np.stack((local % (7 * _DAY), gaps.missing), axis=1)
    _, kind, count = np.unique(when[short], axis=0, return_inverse=True, return_counts=True)
    breaks = np.zeros(len(gaps), dtype=np.bool_)
    breaks[short] = (count >= max(_FEWEST_WEEKS, _BREAK_WEEKS * weeks))[kind.reshape(-1)]
    return breaks
