"""Prediction for every bar of a backtest in one batch; a model that fails ends the run."""

from __future__ import annotations

import numpy as np

from ktrdr.core.data.times import format_time
from ktrdr.core.errors import BadInputError, KtrdrError, one_line
from ktrdr.core.features.columns import FeatureMatrix
from ktrdr.core.plugins.contract import Predictor

__all__ = ["PredictionError", "incomplete_windows", "predict"]


class PredictionError(KtrdrError):
    """The model cannot predict: its plugin failed, or its outputs violate the plugin contract."""

    exit_status = 2


def predict(
    predictor: Predictor, matrix: FeatureMatrix, first: int, model: str, *, lacking: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Predict from row ``first`` of ``matrix`` on; earlier rows fill the window of the first predictions.

    Args:
        predictor: predictor of the model.
        matrix: normalized features of one symbol.
        first: row of the first traded bar.
        model: name of the model, for messages.
        lacking: why features are missing, for the message that no row is complete; a clause.

    Returns:
        Outputs, float64 ``(n, classes)`` or ``(n,)``, NaN where features are missing; and bool ``(n,)``, True where
        all features are known.

    Raises:
        BadInputError: no row is complete.
        PredictionError: the plugin fails, or its outputs have a wrong shape or NaN on complete rows.
    """
    begin = max(first - (predictor.window - 1), 0)
    # The pipeline sets all columns of an incomplete row to NaN, so the first column is enough.
    missing = np.isnan(matrix.values[begin:, 0])
    complete = ~incomplete_windows(missing, predictor.window)[first - begin :]
    if lacking and not complete.any():
        raise BadInputError(
            f"none of the {len(complete):,} bars of {matrix.symbol} has all features of model {model}: {lacking}"
        )
    if not complete.any():
        raise BadInputError(
            f"none of the {len(complete):,} bars of {matrix.symbol} has all features of model {model}: with the"
            f" {first:,} bars of history before them, the data are too short for its warm-up; start later, or import"
            " earlier bars"
        )
    try:
        outputs = predictor.predict(matrix.values[begin:])
    except KtrdrError:
        raise
    except Exception as error:  # a plugin may raise anything: it must end the run, not be taken for "no signal"
        reason = one_line(error, named=True)
        raise PredictionError(
            f"model {model} failed to predict {matrix.symbol} ({reason}); see `ktrdr plugins`, or train it again"
        ) from error
    n = len(missing)
    if not isinstance(outputs, np.ndarray) or outputs.shape[:1] != (n,) or outputs.ndim not in (1, 2):
        given = f"outputs of shape {outputs.shape}" if isinstance(outputs, np.ndarray) else type(outputs).__name__
        raise PredictionError(f"model {model} returned {given} for {n:,} bars of {matrix.symbol}; update its plugin")
    # A copy: a plugin may use its array again for the next symbol.
    outputs = outputs[first - begin :].copy()
    # Column by column: `any` over rows of three values takes five times as long.
    unknown = np.logical_or.reduce([np.isnan(column) for column in outputs.reshape(len(outputs), -1).T])
    unknown &= complete
    if unknown.any():
        row = int(unknown.argmax())
        raise PredictionError(
            f"model {model} predicted NaN on {int(unknown.sum()):,} of {int(complete.sum()):,} bars of {matrix.symbol}"
            f" whose features are complete, first at {format_time(matrix.time[first + row])}; train it again"
        )
    return outputs, complete


def incomplete_windows(missing: np.ndarray, window: int) -> np.ndarray:
    """Return bool ``(n,)``: True where one of the last ``window`` rows is missing, or there are fewer rows.

    Args:
        missing: bool ``(n,)``.
        window: number of rows, at least 1.
    """
    if window == 1:
        return missing
    incomplete = np.ones(len(missing), dtype=np.bool_)
    counts = np.concatenate(([0], np.cumsum(missing)))
    incomplete[window - 1 :] = counts[window:] > counts[:-window]
    return incomplete
