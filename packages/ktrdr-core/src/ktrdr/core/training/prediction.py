"""Predictions for samples, made as a backtest makes them: over consecutive bars of one symbol."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.plugins.contract import Predictor

__all__ = ["predict_rows", "predict_symbols"]


def predict_rows(predictor: Predictor, features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the predictions for ``rows`` (int64, ascending) of one symbol's ``features``.

    Returns:
        float64 ``(m, classes)`` or ``(m,)``.
    """
    if not len(rows):
        return predictor.predict(features[:0])
    first, last = int(rows[0]) - (predictor.window - 1), int(rows[-1])
    return predictor.predict(features[first : last + 1])[rows - first]


def predict_symbols(
    predictor: Predictor, features: np.ndarray, first_row: Mapping[str, int], rows: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return :func:`predict_rows` per symbol.

    Args:
        predictor: of the trained model.
        features: float32, of all symbols one after another.
        first_row: per symbol, where it begins there.
        rows: per symbol, int64 rows of its own bars, ascending.
    """
    starts = sorted(first_row.values())
    ends = dict(zip(starts, [*starts[1:], len(features)], strict=True))
    return {
        symbol: predict_rows(predictor, features[first_row[symbol] : ends[first_row[symbol]]], own)
        for symbol, own in rows.items()
    }
