"""Predictions out of sample: every bar of the test part of a fold, by models that were not trained on it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.prediction import PredictionError
from ktrdr.core.data.times import format_time
from ktrdr.core.plugins.contract import OutputKind, Predictor
from ktrdr.core.validation.fold_plan import FoldPlan, Segment
from ktrdr.core.work.cancellation import Cancellation

__all__ = ["SymbolPredictions", "predict_bars", "rows_between", "stitch"]

# Small enough to react to a cancellation soon.
_ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class SymbolPredictions:
    """Predictions of one model for one symbol.

    Attributes:
        rows: int64 ``(m,)`` ascending rows of the symbol's base bars: all bars of the test part.
        outputs: float64 ``(m, classes)`` or ``(m,)``; NaN where features are missing.
    """

    rows: np.ndarray
    outputs: np.ndarray

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Return the outputs of some of the rows."""
        return self.outputs[np.searchsorted(self.rows, rows)]


def predict_bars(
    predictor: Predictor,
    features: Callable[[int, int], np.ndarray],
    complete: np.ndarray,
    rows: np.ndarray,
    *,
    output: OutputKind,
    classes: Sequence[str],
    time: np.ndarray,
    name: str,
    cancellation: Cancellation,
) -> SymbolPredictions:
    """Predict bars of one symbol. Rows before them fill the window of the first predictions.

    Args:
        predictor: the model.
        features: returns the features of the rows from the first to before the second argument.
        complete: bool ``(n,)``: rows whose window is complete.
        rows: int64 ascending rows to predict.
        output: kind of the outputs.
        classes: of a classification.
        time: ``datetime64[ns]`` ``(n,)``: opens, for messages.
        name: of model and symbol, for messages.
        cancellation: checked before each block of rows.

    Raises:
        PredictionError: the outputs have a wrong shape, or are NaN on complete rows.
        CancelledError: on request.
    """
    shape = (len(rows), len(classes)) if output == "classification" else (len(rows),)
    outputs = np.full(shape, np.nan)
    if not complete[rows].any():
        return SymbolPredictions(rows, outputs)
    # Rows of several ranges: the rows between them are not predicted.
    bounds = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    for first, end in itertools.pairwise(bounds):
        for start in range(first, end, _ROWS_AT_ONCE):
            cancellation.raise_if_requested()
            stop = min(start + _ROWS_AT_ONCE, end)
            row, last = int(rows[start]), int(rows[stop - 1])
            begin = max(row - (predictor.window - 1), 0)
            found = predictor.predict(features(begin, last + 1))
            if not isinstance(found, np.ndarray) or found.shape != (last + 1 - begin, *shape[1:]):
                given = f"outputs of shape {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
                raise PredictionError(
                    f"{name}: the model returned {given} for {last + 1 - begin:,} bars; update its plugin"
                )
            outputs[start:stop] = found[row - begin :]
    flat = outputs.reshape(len(rows), -1)
    unknown = np.isnan(flat).any(axis=1)
    if (wrong := unknown & complete[rows]).any():
        place = int(rows[int(wrong.argmax())])
        raise PredictionError(
            f"{name}: the model predicted NaN on {int(wrong.sum()):,} of {int(complete[rows].sum()):,} bars whose"
            f" features are complete, first at {format_time(time[place])}; change `training.learning_rate` or the model"
        )
    return SymbolPredictions(rows, outputs)


def rows_between(plan: FoldPlan, start: int, end: int, time: np.ndarray) -> tuple[int, int]:
    """Return the rows of one symbol's bars in a range of the timeline, half-open.

    Args:
        plan: the folds.
        start: position of the timeline.
        end: position behind the last, above ``start``.
        time: ``datetime64[ns]`` opens of the symbol's base bars.
    """
    first = np.searchsorted(time, plan.time[start])
    last = np.searchsorted(time, plan.time[end - 1], side="right")
    return int(first), int(last)


def stitch(
    path: Sequence[Segment],
    plan: FoldPlan,
    time: np.ndarray,
    predictions: Mapping[int, SymbolPredictions],
    bounds: tuple[int, int],
) -> np.ndarray:
    """Return the predictions of one symbol on a path.

    Args:
        path: segments of the path.
        plan: the folds.
        time: ``datetime64[ns]`` opens of the symbol's base bars.
        predictions: predictions of the symbol, by number of the fold.
        bounds: first row to return, and the row behind the last.

    Returns:
        float64 ``(rows, classes)`` or ``(rows,)``; NaN in rows of no segment.
    """
    first, end = bounds
    shape = next(iter(predictions.values())).outputs.shape[1:]
    outputs = np.full((end - first, *shape), np.nan)
    for segment in path:
        begin, stop = rows_between(plan, segment.start, segment.end, time)
        own = predictions[segment.fold]
        rows = np.arange(begin, stop)
        outputs[begin - first : stop - first] = own.at(rows)
    return outputs
