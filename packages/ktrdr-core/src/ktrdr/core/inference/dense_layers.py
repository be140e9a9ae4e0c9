"""Layers that are linear in their input, and standardization."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.inference.matrix_product import product
from ktrdr.core.inference.vocabulary import Dense, Standardize

__all__ = ["DenseLayer", "StandardizeLayer"]


class DenseLayer:
    """Computes :class:`~ktrdr.core.inference.Dense`."""

    def __init__(self, node: Dense, arrays: Mapping[str, np.ndarray]) -> None:
        self._weights = np.ascontiguousarray(arrays[node.weights])
        self._bias = arrays[node.bias][:, np.newaxis]

    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        """Return ``(..., outputs, m)`` of ``(..., inputs, m)``, in the dtype of the weights."""
        y: np.ndarray = product(self._weights, x.astype(self._weights.dtype, copy=False))
        y += self._bias
        return y

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradients with respect to ``x``, in the dtype of the weights."""
        found: np.ndarray = product(self._weights.T, gradient.astype(self._weights.dtype, copy=False))
        return found


class StandardizeLayer:
    """Computes :class:`~ktrdr.core.inference.Standardize`."""

    def __init__(self, node: Standardize, arrays: Mapping[str, np.ndarray]) -> None:
        self._center = arrays[node.center][:, np.newaxis]
        self._scale = arrays[node.scale][:, np.newaxis]

    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        """Return ``(..., inputs, m)``."""
        y: np.ndarray = x - self._center
        y /= self._scale
        return y

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradients with respect to ``x``."""
        found: np.ndarray = gradient / self._scale
        return found
