"""Comparison of a twin with the backend that it describes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ktrdr.core.errors import BadInputError
from ktrdr.core.inference.portable_predictor import PortablePredictor
from ktrdr.core.inference.twin_error import TwinError
from ktrdr.core.plugins.contract import Predictor

__all__ = ["TOLERANCE", "Comparison", "compare"]

TOLERANCE = 1e-6
"""Largest difference of a prediction: of a probability, or of a value relative to its size."""


# A model of noise predicts values of about a hundredth or a thousandth of the standard deviation of the labels.
_MOST_UNITS = 1e4


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far the predictions of a backend and of a twin for the same rows are apart.

    Attributes:
        rows: number of predictions.
        difference: the largest difference.
    """

    rows: int
    difference: float


def compare(native: Predictor, portable: Predictor, rows: np.ndarray) -> Comparison:
    """Predict with both, and return how far the predictions are apart.

    A difference of values is relative to the largest of: the backend's value, the standard deviation of its values,
    and that of the labels. Networks learn in units of the latter, and a model of noise predicts values near 0 of them.

    Args:
        native: predictor of the backend.
        portable: predictor of the twin.
        rows: float32 ``(n, features)``, see :func:`~ktrdr.core.inference.probes.probe_rows`.

    Raises:
        TwinError: the predictions have different shapes, or NaN in different rows, or differ by more than
            :data:`TOLERANCE`; or the twin cannot predict, or there is nothing to predict.
    """
    expected = native.predict(rows)
    try:
        found = portable.predict(rows)
    except BadInputError as error:
        raise TwinError(f"the twin cannot predict what the backend predicts: {error}") from error
    if expected.shape != found.shape:
        raise TwinError(f"the backend gives predictions of shape {expected.shape}, the twin of {found.shape}")
    missing = np.isnan(expected)
    if wrong := int((missing != np.isnan(found)).sum()):
        raise TwinError(f"{wrong:,} of {expected.size:,} outputs are missing in the backend's prediction or the twin's")
    differences = np.abs(expected - found)[~missing]
    if expected.ndim == 1 and len(differences):
        values = expected[~missing]
        unit = portable.unit if isinstance(portable, PortablePredictor) else 0.0
        # The twin tells the unit, and is not to tell how far off it may be.
        unit = min(unit, _MOST_UNITS * float(np.sqrt(np.mean(values**2)))) if values.any() else unit
        size = np.maximum(np.abs(values), max(float(values.std()), unit))
        with np.errstate(divide="ignore"):
            differences = np.divide(differences, size, out=np.zeros_like(size), where=differences > 0)
    largest = float(differences.max(initial=0.0))
    # Also where the difference is infinite.
    if not largest <= TOLERANCE:
        raise TwinError(f"a prediction differs by {largest:.3g} from the backend's, and {TOLERANCE:g} is allowed")
    if not (number := int((~missing if expected.ndim == 1 else ~missing.any(axis=1)).sum())):
        raise TwinError("none of the rows to compare on has a prediction")
    return Comparison(number, largest)
