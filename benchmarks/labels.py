"""Labels and sample weights: the search for the first touch against one row by row, and the growth of every source.

    python benchmarks/labels.py [--quick] [--only TEXT] [--json FILE]

The search row by row is that of López de Prado, Advances in Financial Machine Learning, snippet 3.2: one numpy slice
per row.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from harness import Contest, main
from made_up import random_walk

from ktrdr.core.labels.first_touch import first_touch
from ktrdr.core.labels.make import make_labels
from ktrdr.core.labels.uniqueness import uniqueness_weights
from ktrdr.core.strategy.model import Labels

hourly = partial(random_walk, timeframe="1h", start=100.0, step=0.001)
Limits = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]


def limits_of(look_ahead: int, size: int) -> Limits:
    """Return limits one percent above and below every close, and the highs and lows that may touch them."""
    bars = hourly(size)
    return bars.close * 1.01, bars.close * 0.99, bars.high, bars.low, look_ahead


def ours(limits: Limits) -> np.ndarray:
    """Return the row of the first touch."""
    return first_touch(*limits)


def row_by_row(limits: Limits) -> np.ndarray:
    """Return the same as :func:`first_touch`."""
    upper, lower, high, low, look_ahead = limits
    n = len(high)
    result = np.empty(n, dtype=np.int64)
    for row in range(n):
        ahead = slice(row + 1, row + look_ahead + 1)
        touches = np.flatnonzero((high[ahead] >= upper[row]) | (low[ahead] <= lower[row]))
        result[row] = row + 1 + touches[0] if len(touches) else min(row + look_ahead + 1, n)
    return result


def agree(limits: Limits) -> None:
    """Fail if the results differ."""
    np.testing.assert_array_equal(ours(limits), row_by_row(limits))


def contests(quick: bool) -> list[Contest]:
    """Return the contests: the search at short and long distances, and every source with its weights."""
    found = [
        Contest(
            f"first touch, {look_ahead:,} bars ahead",
            {"ktrdr": ours, "row by row": row_by_row},
            partial(limits_of, look_ahead),
            sizes=(500, 1_000, 2_000) if quick else (10_000, 30_000, 100_000),
            unit="bars",
            group="search for the first touch",
            check=agree,
            rounds=2 if quick else 5,
            few={"row by row": 1 if quick else 2},
        )
        for look_ahead in (20, 200, 10_000)
    ]
    barrier = {"pt_multiplier": 20.0, "sl_multiplier": 20.0, "max_holding_period": 20, "vol_span": 20}
    sources: dict[str, Labels] = {
        "zigzag": Labels(source="zigzag", parameters={"zigzag_threshold": 0.03, "label_lookahead": 20}),
        "triple_barrier": Labels(source="triple_barrier", parameters={**barrier, "vol_method": "atr"}),
        "forward_return": Labels(source="forward_return", parameters={"horizon": 20}),
        "direction": Labels(source="direction", parameters={"horizon": 20, "threshold": 0.01}),
    }
    for name, section in sources.items():

        def weigh(given: tuple[Any, np.ndarray]) -> np.ndarray:
            return uniqueness_weights(given[0].span_end, given[1])

        def labelled(size: int, section: Labels = section) -> tuple[Any, np.ndarray]:
            made = make_labels(section, hourly(size))
            return made, np.flatnonzero(made.labelled)

        sizes = (1_000, 2_000, 4_000) if quick else (100_000, 300_000, 1_000_000)
        rounds = 2 if quick else 3
        found.append(
            Contest(
                f"{name}, labels",
                {"ktrdr": partial(make_labels, section)},
                hourly,
                sizes,
                "bars",
                "labels of a source, 20 bars ahead, and their weights",
                rounds=rounds,
                memory=True,
            )
        )
        found.append(
            Contest(
                f"{name}, weights",
                {"ktrdr": weigh},
                labelled,
                sizes,
                "bars",
                "labels of a source, 20 bars ahead, and their weights",
                rounds=rounds,
            )
        )
    return found


if __name__ == "__main__":
    main(__file__, __doc__, contests)
