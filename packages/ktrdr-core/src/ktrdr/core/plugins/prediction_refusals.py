"""What predictors refuse: features of another model, and predictions that are not finite."""

from __future__ import annotations

import numpy as np

from ktrdr.core.errors import BadInputError

__all__ = ["check_features", "not_finite"]


def check_features(features: np.ndarray, input_size: int) -> None:
    """Raise a :class:`~ktrdr.core.errors.BadInputError` unless ``features`` is ``(n, input_size)``."""
    if features.ndim != 2 or features.shape[1] != input_size:
        raise BadInputError(f"the model takes {input_size} features, not an array of shape {features.shape}")


def not_finite(model: str, first: int, last: int) -> BadInputError:
    """Return the error of a prediction that is not finite although its features are.

    Args:
        model: what predicted, such as ``lstm model``.
        first: the first row of the block of the prediction.
        last: the last one.
    """
    return BadInputError(
        f"a prediction of the {model} within rows {first} to {last} is not finite: its weights or the features are out"
        " of range; train it again, or check the data with `ktrdr data check`"
    )
