"""The trained model and its predictor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core import BadInputError
from ktrdr.core.inference import FEATURES, Dense, Softmax, TwinGraph
from ktrdr.core.plugins import EpochRecord, Twin

__all__ = ["SoftmaxModel", "SoftmaxPredictor", "probabilities"]


def probabilities(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the softmax of ``x @ weights[:-1] + weights[-1]``: float64 ``(n, classes)``."""
    scores = x.astype(np.float64) @ weights[:-1] + weights[-1]
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


@dataclass(frozen=True, slots=True, eq=False)
class SoftmaxPredictor:
    """A predictor; ``weights`` are float64 ``(features + 1, classes)``, the constant terms last."""

    weights: np.ndarray
    window: int = 1

    @property
    def input_size(self) -> int:
        """Number of features."""
        return len(self.weights) - 1

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return float64 ``(n, classes)`` probabilities, NaN for rows of ``features`` that contain a NaN."""
        if features.ndim != 2 or features.shape[1] != self.input_size:
            raise BadInputError(f"the model takes {self.input_size} features, not an array of shape {features.shape}")
        answer = np.full((len(features), self.weights.shape[1]), np.nan)
        whole = np.isfinite(features).all(axis=1)
        if whole.any():
            answer[whole] = probabilities(features[whole], self.weights)
        return answer

    def twin(self) -> Twin:
        """Return the model as data, from which core predicts without this plugin.

        This ability is optional. Each node of the graph is a layer of `ktrdr.core.inference`: it has a name, reads the
        features or an earlier node, and names its arrays. The output of the last node is the prediction.
        """
        graph = TwinGraph(
            input_size=self.input_size,
            output="classification",
            outputs=self.weights.shape[1],
            nodes=(
                Dense(name="scores", input=FEATURES, weights="weights", bias="bias"),
                Softmax(name="probabilities", input="scores"),
            ),
        )
        # Core computes in the dtype of the weights, here in float64 as above. Copies: a twin must not change later.
        arrays = {"weights": self.weights[:-1].T.copy(), "bias": self.weights[-1].copy()}
        return Twin(graph.to_json(), arrays)


@dataclass(frozen=True, slots=True, eq=False)
class SoftmaxModel:
    """The result of a training; core passes it to the storage of this plugin."""

    weights: np.ndarray
    history: Sequence[EpochRecord]
    best_epoch: int

    def predictor(self) -> SoftmaxPredictor:
        """Return a predictor with the weights of the best epoch."""
        return SoftmaxPredictor(self.weights)
