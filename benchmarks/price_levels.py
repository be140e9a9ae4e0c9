"""What a price level as the only feature finds on random walks, where nothing can be predicted, by kind of validation.

    python benchmarks/price_levels.py [--walks N]

Each walk has 4,500 hours, and the label is the direction of the next six. A logistic regression on the standardized
logarithm of the close is trained in each fold, as KTRDR plans and purges them: `cpcv` with its defaults, and
`walk_forward` in nine parts of which three train at first. An account goes long or short with each prediction, at
0.00004 per side. Of the accounts of all paths the one with the lower median of the Sharpe ratios counts, as in an
evaluation.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping

import numpy as np

from ktrdr.core.backtesting.metrics.sharpe import evidence_of
from ktrdr.core.strategy.model import CpcvValidation, WalkForwardValidation
from ktrdr.core.validation.fold_samples import fold_rows
from ktrdr.core.validation.folds import plan_folds

BARS, AHEAD, COST = 4_500, 6, 0.00004
HOUR = np.timedelta64(3_600_000_000_000, "ns")
TIMES = {"WALK": np.datetime64("2020-01-01", "ns") + np.arange(BARS) * HOUR}
KINDS = {
    "cpcv": CpcvValidation(),
    "walk_forward": WalkForwardValidation(train=BARS // 3, test=BARS // 9, anchored=True),
}


def fitted(feature: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return offset and weight of a logistic regression, by Newton's method with a small ridge."""
    inputs, weights = np.stack((np.ones_like(feature), feature), 1), np.zeros(2)
    for _ in range(8):
        p = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (p - up) + 1e-3 * weights
        bend = (inputs.T * (p * (1 - p))) @ inputs + 1e-3 * np.eye(2)
        weights -= np.linalg.solve(bend, slope)
    return weights


def found(kind: str, seed: int) -> Mapping[str, float]:
    """Return accuracy above one half, mean over the paths, and the Sharpe ratio of the median account of a walk."""
    plan = plan_folds(KINDS[kind], TIMES, look_ahead=AHEAD, embargo=0.01, bar=HOUR)
    usable = {"WALK": np.arange(BARS) < BARS - AHEAD}
    level = np.cumsum(np.random.default_rng(seed).standard_normal(BARS)) * 0.001
    up = np.append(level[AHEAD:] > level[:-AHEAD], np.zeros(AHEAD, dtype=bool))
    predicted = {}
    for fold in plan.folds:
        rows = fold_rows(plan, fold, TIMES, usable).train["WALK"]
        mean, spread = level[rows].mean(), level[rows].std()
        offset, weight = fitted((level[rows] - mean) / spread, up[rows].astype(float))
        predicted[fold.number] = offset + weight * (level - mean) / spread > 0
    right, sharpe = [], []
    for path in plan.paths:
        first, end = path[0].start, path[-1].end
        long = np.concatenate([predicted[each.fold][each.start : each.end] for each in path])
        known = slice(first, min(end, BARS - AHEAD))
        right.append((long[: known.stop - first] == up[known]).mean())
        side = np.where(long, 1, -1)
        paid = COST * np.abs(np.diff(side, prepend=0))[:-1]
        evidence = evidence_of(side[:-1] * np.diff(level[first:end]) - paid)
        sharpe.append(evidence.ratio * math.sqrt(24 * 365.25) if evidence is not None else 0.0)
    return {"accuracy": float(np.mean(right)) - 0.5, "sharpe": sorted(sharpe)[(len(sharpe) - 1) // 2]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--walks", type=int, default=150, help="number of walks, with the seeds from 0 on")
    given = parser.parse_args()
    print("| validation | accuracy above one half | Sharpe ratio of the median account |\n|---|---|---|")
    for kind in KINDS:
        rows = [found(kind, seed) for seed in range(given.walks)]
        cells = []
        for name, digits in (("accuracy", 4), ("sharpe", 2)):
            values = np.array([row[name] for row in rows])
            error = values.std(ddof=1) / math.sqrt(len(values))
            cells.append(f"{values.mean():+.{digits}f} (standard error {error:.{digits}f})")
        print(f"| {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
