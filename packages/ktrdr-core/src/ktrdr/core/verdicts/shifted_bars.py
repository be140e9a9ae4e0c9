"""Checks of validity: longer bars that are stored too early, and symbols whose clocks differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.data.times import format_time
from ktrdr.core.short_texts import counted
from ktrdr.core.verdicts.findings import finding_of, named
from ktrdr.core.verdicts.rank_numbers import rank_scores
from ktrdr.core.verdicts.verdict_result import ValidityFinding

__all__ = ["check_clocks", "check_longer_bars"]

_FEWEST_LONGER = 20
_SPANS = 2
"""Longer bars that closes are looked for ahead: labels that are wrong by a bar, and a time zone or a session more."""

_EARLY_SHARE = 0.05
"""Largest share of closes that are those of later base bars; a wrong daylight-saving time is that of 5/12 of a year."""

_STANDARD_ERRORS = 5.0
# Prices are the same if they differ by less than a hundredth of a base bar's usual move.
_SAME_PRICE = 100

_CLOCK_BARS = 2_500
_FEWEST_COMMON = 200
_CLOCK_LAGS = 12
# Time zones differ by up to a day, in steps of half an hour.
_STEP = np.timedelta64(30, "m").astype("timedelta64[ns]")
_STEPS = 48
_DAY = 86_400
# A longer lag has to agree better by this much, as bars and hours often name the same one.
_CLEARLY = 0.01
# Returns of different symbols that are known to lead each other correlate far less: S. Lo and A. C. MacKinlay, When Are
# Contrarian Profits Due to Stock Market Overreaction? (1990), find at most 0.3, from week to week, between portfolios.
_SAME_MOVES = 0.5


def check_longer_bars(bars: Mapping[str, Mapping[str, Bars]]) -> ValidityFinding:
    """Look for longer bars whose close is a price of base bars after that close.

    A longer bar is used from its open plus its timeframe on. If its closes agree best with base bars that close later,
    features know prices that are still to come. Longer bars whose closes are earlier prices are only late.

    Args:
        bars: bars by symbol and timeframe, the base timeframe first.
    """
    faults, compared = [], []
    for own in bars.values():
        base, *others = own.values()
        for longer in others:
            if longer.timeframe.seconds <= base.timeframe.seconds:
                continue
            compared.append(f"{longer.symbol} {longer.timeframe}")
            early = _early(base, longer)
            if early is None:
                continue
            which = "" if early.share > 1 - _EARLY_SHARE else f" {early.share:.0%} of"
            faults.append(
                f"{which} the {longer.timeframe} bars of {longer.symbol} are labelled too early: their closes are those"
                f" of {base.timeframe} bars that close {counted(early.lag, 'bar')} later, as at"
                f" {format_time(early.time)}".lstrip()
            )
    return finding_of(
        "longer_bars",
        "longer bars seen early",
        faults,
        remedy="delete them with `ktrdr data delete`, so that they are made of the base bars, or import them again with"
        " the right `--label` and `--timezone`",
        clean=(
            f"the closes of {named(compared)} are prices that the base bars have by then"
            if compared
            else "the strategy reads no longer bars than its own"
        ),
    )


@dataclass(frozen=True, slots=True)
class _Early:
    """Longer bars that are labelled too early.

    Attributes:
        lag: bars of the base timeframe that their closes are known later.
        share: share of the longer bars.
        time: open of the last of them.
    """

    lag: int
    share: float
    time: np.datetime64


def _early(base: Bars, longer: Bars) -> _Early | None:
    """Return what is known of the longer bars whose closes are prices of later base bars, ``None`` if there are none.

    The closes are compared with those of the base bars that close some time later. All are early if the median
    difference is less than half of that without a lag, and than a quarter of a base bar's usual move. Some are if more
    than 5 % have the close of the later base bar and not their own. Closes of another source are as often, by chance,
    those of a base bar as much earlier; these are subtracted, with five standard errors of the difference.
    """
    most = _SPANS * -(-longer.timeframe.seconds // base.timeframe.seconds)
    reach = np.timedelta64(most * base.timeframe.nanoseconds, "ns")
    if not len(base):
        return None
    inside = (longer.close_time >= base.close_time[0]) & (longer.close_time + reach <= base.close_time[-1])
    if inside.sum() < _FEWEST_LONGER:
        return None
    opens, closes, close = longer.time[inside], longer.close_time[inside], np.log(longer.close[inside])
    known, known_from = np.log(base.close), base.close_time
    moves = np.abs(np.diff(known))
    usual = float(np.median(moves[moves > 0])) if (moves > 0).any() else 0.0

    def differences(lag: int) -> np.ndarray:
        time = closes + np.timedelta64(lag * base.timeframe.nanoseconds, "ns")
        row = np.searchsorted(known_from, time, side="right") - 1
        found: np.ndarray = np.abs(known[np.maximum(row, 0)] - close)
        return found

    now = differences(0)
    due = now < usual / _SAME_PRICE
    first, last, later, earlier = float(np.median(now)), np.inf, np.zeros(most), np.zeros(most)
    best = 0
    for lag in range(1, most + 1):
        apart = differences(lag)
        middle = float(np.median(apart))
        if middle < last:
            best, last = lag, middle
        later[lag - 1] = np.mean(~due & (apart < usual / _SAME_PRICE))
        earlier[lag - 1] = np.mean(~due & (differences(-lag) < usual / _SAME_PRICE))
    if 2 * last < first and last < usual / 4:
        return _Early(best, 1.0, opens[-1])
    excess = later - earlier - _STANDARD_ERRORS * np.sqrt((later + earlier) / len(close))
    best = int(excess.argmax()) + 1
    if excess[best - 1] <= _EARLY_SHARE:
        return None
    some = np.flatnonzero(~due & (differences(best) < usual / _SAME_PRICE))
    return _Early(best, float(later[best - 1]), opens[some[-1]])


def check_clocks(series: Sequence[Bars]) -> ValidityFinding:
    """Look for symbols that make the moves of another symbol some bars later.

    Args:
        series: base bars of each symbol.
    """
    late = _late_pairs(series)
    faults = []
    while late:
        # The symbol that differs from most others is the one to correct.
        number = [sum(each in pair[:2] for pair in late) for each in range(len(series))]
        worst = max(range(len(series)), key=lambda each: number[each])
        own = [pair for pair in late if worst in pair[:2]]
        later, earlier, lag, score = max(own, key=lambda pair: pair[3])
        faults.append(
            f"{series[later].symbol} makes the moves of {series[earlier].symbol} {lag}"
            f" later (correlation {score:.2f}), so the clock of {series[worst].symbol} is wrong"
            + ("" if number[worst] > 1 else f" or that of {series[earlier if worst == later else later].symbol}")
        )
        late = [pair for pair in late if worst not in pair[:2]]
    return finding_of(
        "shifted_clock",
        "shifted clocks",
        faults,
        remedy="a model that trains on both knows one from the other; import the bars again with the right"
        " `--timezone` and `--label`",
        clean="no symbol makes the moves of another one some bars later" if len(series) > 1 else "there is one symbol",
    )


def _late_pairs(series: Sequence[Bars]) -> list[tuple[int, int, str, float]]:
    """Return the pairs of symbols with the same moves at different times: later one, earlier one, lag, correlation."""
    if len(series) < 2:
        return []
    time = np.unique(np.concatenate([bars.time[-_CLOCK_BARS:] for bars in series]))[-_CLOCK_BARS:]
    scores = np.zeros((len(time), len(series)))
    known = np.zeros((len(time), len(series)))
    for column, bars in enumerate(series):
        recent = bars[-_CLOCK_BARS - 1 :]
        at = np.searchsorted(time, recent.time[1:])
        inside = at < len(time)
        inside[inside] = time[at[inside]] == recent.time[1:][inside]
        moves = np.diff(np.log(recent.close))[inside]
        scores[at[inside], column] = rank_scores(moves[:, None])[:, 0]
        known[at[inside], column] = 1.0
    every = np.arange(len(time))
    together = np.abs(_correlations(scores, known, every, every))
    best: dict[tuple[int, int], tuple[str, float]] = {}
    for lag, rows_later, rows_earlier in _lags(time, series[0].timeframe):
        found = np.abs(_correlations(scores, known, rows_later, rows_earlier))
        for later, earlier in np.argwhere((found > _SAME_MOVES) & (2 * together < found)).tolist():
            score = float(found[later, earlier])
            if later != earlier and score > best.get((later, earlier), ("", -_CLEARLY))[1] + _CLEARLY:
                best[later, earlier] = lag, score
    return [(later, earlier, lag, score) for (later, earlier), (lag, score) in best.items()]


def _lags(time: np.ndarray, timeframe: Timeframe) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield lags in words, and the positions of the later and the earlier times of each: bars, then half hours.

    Half hours that are no whole number of bars are left out: the bars of such clocks are different prices.
    """
    for bars in range(1, _CLOCK_LAGS + 1):
        yield counted(bars, "bar"), np.arange(bars, len(time)), np.arange(max(len(time) - bars, 0))
    for steps in range(1, _STEPS + 1):
        lag = steps * _STEP
        if timeframe.seconds >= _DAY or lag.astype(np.int64) % timeframe.nanoseconds:
            continue
        later = np.searchsorted(time, time + lag)
        later[later == len(time)] = 0
        earlier = np.flatnonzero(time[later] == time + lag)
        yield f"{steps / 2:g} hour{'' if steps == 2 else 's'}", later[earlier], earlier


def _correlations(scores: np.ndarray, known: np.ndarray, later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """Return the correlation of each column in later rows with each column in earlier ones; 0 with few common rows.

    Args:
        scores: float64 ``(n, columns)`` with mean 0 and standard deviation 1 over the known rows, and 0 elsewhere.
        known: float64 ``(n, columns)``: 1 in the known rows, 0 elsewhere.
        later: int64 ``(k,)``, positions.
        earlier: int64 ``(k,)``, positions of the same pairs of rows.
    """
    number = known[later].T @ known[earlier]
    product = scores[later].T @ scores[earlier]
    found = np.zeros_like(product)
    np.divide(product, number, out=found, where=number >= _FEWEST_COMMON)
    return found
