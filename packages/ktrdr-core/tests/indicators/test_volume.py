"""What reads volume, against formulas written down row by row."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ktrdr.core.indicators import volume


def obv(slow, bars, p):
    total, totals = 0.0, []
    for row, traded in enumerate(bars.volume):
        change = bars.close[row] - bars.close[row - 1] if row else 1.0  # TA-Lib begins with the first bar's volume
        total += traded * np.sign(change)
        totals.append(total)
    return [np.array(totals)]


def vwap(slow, bars, p):
    x = slow.source(bars, p["source"])

    def value(row):
        if p["anchor"] == "day":
            day = str(bars.time[row])[:10]
            inside = [i for i in range(max(row - 24, 0), row + 1) if str(bars.time[i])[:10] == day]
        else:
            inside = list(range(row - p["period"] + 1, row + 1))
        traded = math.fsum(bars.volume[i] for i in inside)
        return math.fsum(x[i] * bars.volume[i] for i in inside) / traded if traded else x[row]

    return [slow.rows(len(bars), 0 if p["anchor"] == "day" else p["period"] - 1, value)]


def mfi(slow, bars, p):
    typical = slow.source(bars, "hlc3")
    rows = len(typical)

    def flow(row, sign):
        same = math.isclose(typical[row], typical[row - 1], rel_tol=1e-12)
        return 0.0 if same or (typical[row] - typical[row - 1]) * sign < 0 else typical[row] * bars.volume[row]

    up = slow.rows(rows, 1, lambda row: flow(row, 1))
    down = slow.rows(rows, 1, lambda row: flow(row, -1))
    gains, losses = slow.total(up, p["period"]), slow.total(down, p["period"])
    return [100 * slow.over(gains, gains + losses, 0.5)]


def location(bars):
    """1 for a close at the high, -1 for one at the low."""
    return np.array(
        [
            ((close - low) - (high - close)) / (high - low) if high > low else 0.0
            for high, low, close in zip(bars.high, bars.low, bars.close, strict=True)
        ]
    )


def cmf(slow, bars, p):
    flow = slow.total(location(bars) * bars.volume, p["period"])
    return [slow.over(flow, slow.total(bars.volume, p["period"]), 0.0)]


def ad_line(slow, bars, p):
    flow = location(bars) * bars.volume
    return [slow.rows(len(bars), 0, lambda row: math.fsum(flow[: row + 1]))]


def volume_ratio(slow, bars, p):
    return [slow.over(bars.volume, slow.mean(bars.volume, p["period"]), 1.0)]


REFERENCES = {
    "obv": (obv,),
    "vwap": (vwap, {"anchor": "day"}, {"period": 1, "source": "close"}, {"period": 100, "source": "ohlc4"}),
    "mfi": (mfi, {"period": 2}, {"period": 50}),
    "cmf": (cmf, {"period": 2}, {"period": 50}),
    "ad_line": (ad_line,),
    "volume_ratio": (volume_ratio, {"period": 2}, {"period": 100}),
}


@pytest.mark.parametrize("name", [indicator.name for indicator in volume.INDICATORS])
def test_equals_the_formula_written_down_row_by_row(agrees, name):
    assert name in REFERENCES, f"write down what {name} is"
    agrees(name, *REFERENCES[name])
