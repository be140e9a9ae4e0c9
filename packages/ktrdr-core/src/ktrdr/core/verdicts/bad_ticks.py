"""Check of validity: prices of a single bar that lie far outside those of the bars around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_time
from ktrdr.core.verdicts.findings import finding_of, named
from ktrdr.core.verdicts.verdict_result import ValidityFinding

__all__ = ["check_bad_ticks"]

_TIMES_RANGE = 20.0
"""How far a bad tick reaches beyond both bars beside it, as a multiple of a bar's range.

After a real crash the bars beside are large, too: in the flash crash of 2010-05-06 the daily bar of AAPL reaches 2.3
ranges beyond them. The largest multiple of five US shares (2000 to 2013) and a year of hourly EURUSD is 3.1; of 250,000
bars with independent moves of Student's distribution with 4 degrees of freedom it is 12.
"""


def check_bad_ticks(series: Sequence[Bars]) -> ValidityFinding:
    """Look for a high or low that the bars beside do not come near.

    The range of a bar is the difference of the logarithms of its high and low. The multiple is of the median of all
    ranges or the largest range of the two bars before and after, whichever is larger.

    Args:
        series: base bars of each symbol; prices must be above 0.
    """
    faults = []
    for bars in series:
        reach = _reach(bars)
        rows = np.flatnonzero(reach > _TIMES_RANGE)
        if not len(rows):
            continue
        worst = int(reach.argmax())
        count = "1 bar reaches" if len(rows) == 1 else f"{len(rows):,} bars reach"
        faults.append(
            f"{bars.symbol} {bars.timeframe}: {count} more than {_TIMES_RANGE:g} times the usual range beyond the bars"
            f" before and after, the furthest at {format_time(bars.time[worst])} (high {bars.high[worst]:g}, low"
            f" {bars.low[worst]:g}, close before {bars.close[worst - 1]:g}, close after {bars.close[worst + 1]:g})"
        )
    return finding_of(
        "bad_ticks",
        "bad ticks",
        faults,
        remedy="no order would have been filled at such a price, but stops and labels take it for one; correct these"
        " bars in the file and import it again, or choose dates without them",
        clean=f"no bar of {named([bars.symbol for bars in series])} lies far outside the bars before and after it",
    )


def _reach(bars: Bars) -> np.ndarray:
    """Return how far each bar reaches beyond both bars beside it, as a multiple of the range, float64 ``(n,)``."""
    reach = np.zeros(len(bars))
    if len(bars) < 5:
        return reach
    high, low = np.log(bars.high), np.log(bars.low)
    ranges = high - low
    above = high[1:-1] - np.maximum(high[:-2], high[2:])
    below = np.minimum(low[:-2], low[2:]) - low[1:-1]
    padded = np.concatenate(([0.0, 0.0], ranges, [0.0, 0.0]))
    beside = np.maximum.reduce([padded[shift : shift + len(ranges)] for shift in (0, 1, 3, 4)])
    usual = np.maximum(beside, np.median(ranges))[1:-1]
    # Without any range the multiple has no meaning: such prices are stale.
    np.divide(np.maximum(above, below), usual, out=reach[1:-1], where=usual > 0)
    return reach
