"""Checks of validity: do samples of a training or their normalizers depend on bars of a test?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ktrdr.core.data.times import format_time
from ktrdr.core.features.columns import FeatureMatrix
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.validation.bar_ranges import mask_of
from ktrdr.core.validation.evaluated_data import EvaluatedData
from ktrdr.core.validation.fold_plan import Fold, FoldPlan, FoldRows
from ktrdr.core.validation.fold_times import own_positions
from ktrdr.core.verdicts.findings import finding_of, named
from ktrdr.core.verdicts.verdict_result import ValidityFinding

__all__ = ["check_label_overlap", "check_normalizers"]

_FOLDS = 3
_SYMBOLS = 3


def check_label_overlap(
    plan: FoldPlan,
    rows: Sequence[FoldRows],
    times: Mapping[str, np.ndarray],
    labels: Mapping[str, LabelSet],
    window: int,
) -> ValidityFinding:
    """Look for training and validation samples that use bars of a test part or of its labels.

    Neither windows nor labels may use tested bars, and no label may use a bar that the label of a test sample uses.

    Args:
        plan: the folds.
        rows: samples of each fold.
        times: opens of each symbol's base bars, ``datetime64[ns]``.
        labels: labels of all bars, by symbol.
        window: number of rows of a sample.
    """
    positions = {symbol: own_positions(plan.time, time) for symbol, time in times.items()}
    faults = []
    samples = 0
    for fold, own in zip(plan.folds, rows, strict=True):
        for part in ("train", "validation"):
            for symbol, chosen in getattr(own, part).items():
                samples += len(chosen)
                place, span = positions[symbol], labels[symbol].span_end
                shared = _shared(place, chosen, own.test[symbol], span, fold, len(plan.time), window)
                if len(shared):
                    faults.append(
                        f"fold {fold.number}: {len(shared):,} {part} samples of {symbol} use bars of the test part or"
                        f" of its labels, the first at {format_time(times[symbol][shared[0]])}"
                    )
    return finding_of(
        "label_overlap",
        "labels that overlap a test part",
        faults,
        remedy="correct the look-ahead that the label source declares, by which folds are purged",
        clean=f"no window or label of {samples:,} samples of training and validation shares a bar with a test part",
    )


def _shared(
    place: np.ndarray, chosen: np.ndarray, test: np.ndarray, span: np.ndarray, fold: Fold, bars: int, window: int
) -> np.ndarray:
    """Return the rows of ``chosen`` whose windows or labels use tested bars, or whose labels use those of test labels.

    Args:
        place: position of each row on the timeline.
        chosen: rows of the samples of a part.
        test: rows of the test samples of the same symbol.
        span: last row that each label depends on.
        fold: the fold.
        bars: length of the timeline.
        window: number of rows of a sample.
    """
    tested = mask_of(fold.test, np.arange(bars))
    # +1 where the label of a test sample begins, -1 behind its end: above 0 is inside of at least one.
    change = np.zeros(bars + 1, dtype=np.int64)
    last = len(place) - 1
    np.add.at(change, place[test], 1)
    np.add.at(change, place[np.minimum(span[test], last)] + 1, -1)
    of_labels = np.cumsum(change)[:bars] > 0
    window_first, label_end = place[np.maximum(chosen - window + 1, 0)], place[np.minimum(span[chosen], last)]
    shares = _any(tested, window_first, label_end) | _any(of_labels, place[chosen], label_end)
    return chosen[shares]


def _any(mask: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return whether the mask is set anywhere from each first to each last position."""
    until = np.concatenate(([0], np.cumsum(mask)))
    found: np.ndarray = until[last + 1] > until[first]
    return found


def check_normalizers(data: EvaluatedData, plan: FoldPlan, rows: Sequence[FoldRows]) -> ValidityFinding:
    """Fit the normalizers of some folds again with other values outside of the training part, and compare them.

    Args:
        data: features and labels of all bars.
        plan: the folds.
        rows: samples of each fold.
    """
    faults = []
    folds = sorted({0, len(rows) // 2, len(rows) - 1})[:_FOLDS] if data.shared is None else []
    for number in folds:
        known = [symbol for symbol, own in rows[number].train.items() if len(own)][:_SYMBOLS]
        train = {symbol: rows[number].train[symbol] for symbol in known}
        other = replace(
            data,
            matrices={symbol: _changed_outside(data.matrices[symbol], train[symbol], data.window) for symbol in known},
        )
        fitted, again = data.fit(train), other.fit(train)
        moved = [symbol for symbol in known if not np.array_equal(fitted[symbol], again[symbol])]
        if moved:
            faults.append(f"fold {plan.folds[number].number}: the normalizers of {named(moved)} depend on other bars")
    return finding_of(
        "normalizers",
        "normalizers fitted on other bars than those of the training",
        faults,
        remedy="fit them on the rows of the training part alone",
        clean=(
            "no input is normalized"
            if data.shared is not None
            else f"the normalizers of {len(folds):,} folds do not change with bars outside of the training part"
        ),
    )


def _changed_outside(matrix: FeatureMatrix, train: np.ndarray, window: int) -> FeatureMatrix:
    """Return the matrix with other values in all rows that no training sample uses."""
    used = np.zeros(len(matrix.values), dtype=np.bool_)
    for lag in range(window):
        used[train - lag] = True
    values = matrix.values.copy()
    values[~used] = 3 * values[~used] + 1
    return replace(matrix, values=values)
