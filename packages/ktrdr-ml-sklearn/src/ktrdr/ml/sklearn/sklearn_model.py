"""Trained models and their predictors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.plugins import EpochRecord, Twin
from ktrdr.core.plugins.contract import OutputKind
from ktrdr.core.plugins.prediction_refusals import check_features
from ktrdr.ml.sklearn.sklearn_twin import make_twin

__all__ = ["SklearnModel", "SklearnPredictor"]

_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class SklearnPredictor:
    """A fitted estimator; ``seen`` are the numbers of its columns' classes, as positions in ``classes``."""

    estimator: Any
    model_type: str
    output: OutputKind
    input_size: int
    classes: tuple[str, ...]
    seen: tuple[int, ...]

    @property
    def window(self) -> int:
        """Rows per prediction: one for all models of this backend."""
        return 1

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict for every row of float32 ``(n, features)``; see the plugin contract.

        A class that never occurred in training has probability 0.

        Raises:
            BadInputError: the number of columns is not that of the model.
        """
        check_features(features, self.input_size)
        whole = np.flatnonzero(np.isfinite(features).all(axis=1))
        shape = (len(features), len(self.classes)) if self.classes else (len(features),)
        result = np.full(shape, np.nan)
        for start in range(0, len(whole), _ROWS_AT_ONCE):
            rows = whole[start : start + _ROWS_AT_ONCE]
            # Trees compare float32 values; the linear model was fitted in float64.
            result[rows] = self._predict(features[rows].astype(np.float64 if self._linear else np.float32))
        return result

    def twin(self) -> Twin:
        """Return the model as data; see :class:`~ktrdr.core.plugins.Portable`.

        Raises:
            BadInputError: the model is too large for the vocabulary.
        """
        return make_twin(self.estimator, self.model_type, self.output, self.input_size, len(self.classes), self.seen)

    @property
    def _linear(self) -> bool:
        return self.model_type == "logistic_regression"

    def _predict(self, x: np.ndarray) -> np.ndarray:
        if not self.classes:
            return self.estimator.predict(x)
        probabilities = np.zeros((len(x), len(self.classes)))
        probabilities[:, self.seen] = self.estimator.predict_proba(x)
        return probabilities / probabilities.sum(axis=1, keepdims=True)


@dataclass(frozen=True, slots=True, eq=False)
class SklearnModel:
    """The result of a training."""

    fitted: SklearnPredictor
    history: Sequence[EpochRecord]
    best_epoch: int

    def predictor(self) -> SklearnPredictor:
        """Return the predictor over the trained estimator."""
        return self.fitted
