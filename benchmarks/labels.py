"""Speed of labels and sample weights: growth with bars and look-ahead, beside a search row by row.

Run with `python benchmarks/labels.py`. The search is what the book's own code does (López de Prado, Advances in
Financial Machine Learning, snippet 3.2): one numpy slice per row. One core: labels start no threads.
"""

from __future__ import annotations

import argparse
import json
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.labels.first_touch import first_touch
from ktrdr.core.labels.make import make_labels
from ktrdr.core.labels.uniqueness import uniqueness_weights
from ktrdr.core.strategy.model import Labels


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Return the shortest of several runs: the others measure what else the machine was doing."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def random_walk(n: int) -> Bars:
    """Return hourly bars whose close changes by 0.1 % an hour."""
    random = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.001, n)))
    high, low = close * (1 + random.random(n) * 1e-3), close * (1 - random.random(n) * 1e-3)
    time_ = np.datetime64("2000-01-03T00:00", "ns") + np.arange(n) * np.timedelta64(1, "h")
    return Bars("X", Timeframe("1h"), time_, close, high, low, close, np.ones(n))


def row_by_row(upper: np.ndarray, lower: np.ndarray, high: np.ndarray, low: np.ndarray, look_ahead: int) -> np.ndarray:
    """Return what :func:`first_touch` does."""
    n = len(high)
    result = np.empty(n, dtype=np.int64)
    for row in range(n):
        ahead = slice(row + 1, row + look_ahead + 1)
        touches = np.flatnonzero((high[ahead] >= upper[row]) | (low[ahead] <= lower[row]))
        result[row] = row + 1 + touches[0] if len(touches) else min(row + look_ahead + 1, n)
    return result


def touching(bars: Bars, look_ahead: int, repeats: int) -> dict[str, Any]:
    """Time both searches on the same limits, and check that they agree."""
    limits = (bars.close * 1.01, bars.close * 0.99, bars.high, bars.low, look_ahead)
    assert np.array_equal(first_touch(*limits), row_by_row(*limits))
    ours, theirs = seconds(lambda: first_touch(*limits), repeats), seconds(lambda: row_by_row(*limits), 1)
    return {"bars": len(bars), "look_ahead": look_ahead, "ours_s": ours, "rows_s": theirs, "times": theirs / ours}


def sources(bars: Bars, look_ahead: int, repeats: int) -> list[dict[str, Any]]:
    """Time every source, and the weights of its labels."""
    barrier = {"pt_multiplier": 20.0, "sl_multiplier": 20.0, "max_holding_period": look_ahead, "vol_span": 20}
    sections = (
        Labels(source="zigzag", parameters={"zigzag_threshold": 0.03, "label_lookahead": look_ahead}),
        Labels(source="triple_barrier", parameters={**barrier, "vol_method": "atr"}),
        Labels(source="triple_barrier", parameters={**barrier, "vol_method": "close"}),
        Labels(source="forward_return", parameters={"horizon": look_ahead}),
        Labels(source="direction", parameters={"horizon": look_ahead, "threshold": 0.01}),
    )
    results = []
    for section in sections:
        made = make_labels(section, bars)
        rows = np.flatnonzero(made.labelled)
        tracemalloc.start()
        make_labels(section, bars)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        results.append(
            {
                "source": section.source,
                "bars": len(bars),
                "look_ahead": look_ahead,
                "labels_s": seconds(partial(make_labels, section, bars), repeats),
                "weights_s": seconds(partial(uniqueness_weights, made.span_end, rows), repeats),
                "peak_bytes_per_bar": peak / len(bars),
            }
        )
    return results


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    found: dict[str, Any] = {
        "first_touch": [touching(random_walk(100_000), ahead, arguments.repeats) for ahead in (20, 200, 10_000)],
        "sources": [
            row
            for n, ahead in ((100_000, 20), (100_000, 10_000), (1_000_000, 20))
            for row in sources(random_walk(n), ahead, arguments.repeats)
        ],
    }
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for row in found["first_touch"]:
        print(
            f"first touch, {row['bars']:,} bars, {row['look_ahead']:,} ahead: {row['ours_s'] * 1e3:.1f} ms;"
            f" row by row {row['rows_s'] * 1e3:.0f} ms, {row['times']:.0f} times as long"
        )
    for row in found["sources"]:
        print(
            f"{row['source']}, {row['bars']:,} bars, {row['look_ahead']:,} ahead:"
            f" labels {row['labels_s'] * 1e3:.1f} ms, weights {row['weights_s'] * 1e3:.1f} ms,"
            f" peak {row['peak_bytes_per_bar']:.0f} bytes per bar"
        )


if __name__ == "__main__":
    main()
