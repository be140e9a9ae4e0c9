"""Statistics against formulas written down row by row."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ktrdr.core.indicators import statistics


def zscore(slow, bars, p):
    x = slow.source(bars, p["source"])
    return [slow.over(x - slow.mean(x, p["period"]), slow.deviation(x, p["period"]), 0.0)]


def returns(slow, bars, p):
    x, period = slow.source(bars, p["source"]), p["period"]
    if p["method"] == "log":
        return [slow.rows(len(x), period, lambda row: math.log(x[row]) - math.log(x[row - period]))]
    return [slow.rows(len(x), period, lambda row: (x[row] - x[row - period]) / x[row - period])]


def linreg_slope(slow, bars, p):
    return [slow.window(slow.source(bars, p["source"]), p["period"], lambda y: np.polyfit(np.arange(len(y)), y, 1)[0])]


def percentile_rank(slow, bars, p):
    return [
        slow.window(
            slow.source(bars, p["source"]),
            p["period"] + 1,
            lambda inside: 100 * sum(x < inside[-1] for x in inside[:-1]) / p["period"],
        )
    ]


REFERENCES = {
    "zscore": (zscore, {"period": 2}, {"period": 60, "source": "hl2"}),
    "returns": (returns, {"method": "log"}, {"period": 30, "source": "high"}),
    "linreg_slope": (linreg_slope, {"period": 2}, {"period": 60, "source": "volume"}),
    "percentile_rank": (percentile_rank, {"period": 2}, {"period": 20, "source": "volume"}),
}


@pytest.mark.parametrize("name", [indicator.name for indicator in statistics.INDICATORS])
def test_equals_the_formula_written_down_row_by_row(agrees, name):
    assert name in REFERENCES, f"write down what {name} is"
    agrees(name, *REFERENCES[name])
