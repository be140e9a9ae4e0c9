"""Checks of validity: longer bars that are stored too early, and symbols whose clocks differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_time
from ktrdr.core.verdicts.findings import finding_of, named
from ktrdr.core.verdicts.rank_numbers import rank_scores
from ktrdr.core.verdicts.verdict_result import ValidityFinding

__all__ = ["check_clocks", "check_longer_bars"]

_LONGER_BARS = 2_000
_FEWEST_LONGER = 20
_LAGS = 48

_CLOCK_BARS = 2_500
_FEWEST_COMMON = 200
_CLOCK_LAGS = 12
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
            lag = _bars_early(base, longer[-_LONGER_BARS:])
            compared.append(f"{longer.symbol} {longer.timeframe}")
            if lag:
                faults.append(
                    f"the {longer.timeframe} bars of {longer.symbol} are labelled too early: their closes are those of"
                    f" {base.timeframe} bars that close {lag:,} bars later, as at {format_time(longer.time[-1])}"
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


def _bars_early(base: Bars, longer: Bars) -> int:
    """Return how many base bars later the closes of ``longer`` are known than at their close; 0 if they are then.

    The difference of the closes has to be less than half of that without a lag, and than a quarter of a base bar's
    usual move, on at least 20 longer bars.
    """
    row = np.searchsorted(base.close_time, longer.close_time, side="right") - 1
    most = min(_LAGS, -(-longer.timeframe.seconds // base.timeframe.seconds))
    inside = (row >= 0) & (row + most < len(base))
    if inside.sum() < _FEWEST_LONGER:
        return 0
    row, close = row[inside], np.log(longer.close[inside])
    known = np.log(base.close)
    errors = np.array([np.median(np.abs(known[row + lag] - close)) for lag in range(most + 1)])
    best = int(errors.argmin())
    usual = float(np.median(np.abs(np.diff(known))))
    return best if 2 * errors[best] < errors[0] and errors[best] < usual / 4 else 0


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
            f"{series[later].symbol} makes the moves of {series[earlier].symbol} {lag:,} bar{'' if lag == 1 else 's'}"
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


def _late_pairs(series: Sequence[Bars]) -> list[tuple[int, int, int, float]]:
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
    together = np.abs(_correlations(scores, known, 0))
    best: dict[tuple[int, int], tuple[int, float]] = {}
    for lag in range(1, _CLOCK_LAGS + 1):
        found = np.abs(_correlations(scores, known, lag))
        for later, earlier in np.argwhere((found > _SAME_MOVES) & (2 * together < found)).tolist():
            score = float(found[later, earlier])
            if later != earlier and score > best.get((later, earlier), (0, 0.0))[1]:
                best[later, earlier] = lag, score
    return [(later, earlier, lag, score) for (later, earlier), (lag, score) in best.items()]


def _correlations(scores: np.ndarray, known: np.ndarray, lag: int) -> np.ndarray:
    """Return the correlation of each column, ``lag`` rows later, with each column; 0 with too few common rows.

    Args:
        scores: float64 ``(n, columns)`` with mean 0 and standard deviation 1 over the known rows, and 0 elsewhere.
        known: float64 ``(n, columns)``: 1 in the known rows, 0 elsewhere.
        lag: rows, from 0 on.
    """
    later, earlier = slice(lag, None), slice(None, len(scores) - lag)
    number = known[later].T @ known[earlier]
    product = scores[later].T @ scores[earlier]
    found = np.zeros_like(product)
    np.divide(product, number, out=found, where=number >= _FEWEST_COMMON)
    return found
