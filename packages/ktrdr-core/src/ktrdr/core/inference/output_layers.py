"""Layers behind a network: from scores to predictions."""

from __future__ import annotations

import numpy as np

from ktrdr.core.inference.vocabulary import Scale, Spread

__all__ = ["PairLayer", "ScaleLayer", "SoftmaxLayer", "SpreadLayer"]


class PairLayer:
    """Computes :class:`~ktrdr.core.inference.Pair`."""

    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        """Return ``(..., 2, m)`` of ``(..., 1, m)``."""
        return np.concatenate((np.zeros_like(x), x), axis=-2)

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradients with respect to ``x``."""
        return gradient[..., 1:, :]


class SoftmaxLayer:
    """Computes :class:`~ktrdr.core.inference.Softmax`."""

    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        """Return float64 ``(..., classes, m)``."""
        y: np.ndarray = np.subtract(x, x.max(axis=-2, keepdims=True), dtype=np.float64)
        np.exp(y, out=y)
        y /= y.sum(axis=-2, keepdims=True)
        return y

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradients with respect to ``x``, float64."""
        found: np.ndarray = y * (gradient - (y * gradient).sum(axis=-2, keepdims=True))
        return found


class SpreadLayer:
    """Computes :class:`~ktrdr.core.inference.Spread`."""

    def __init__(self, node: Spread) -> None:
        self._columns = list(node.columns)
        self._width = node.width

    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        """Return ``(..., width, m)`` of ``(..., inputs, m)``."""
        y: np.ndarray = np.zeros((*x.shape[:-2], self._width, x.shape[-1]), x.dtype)
        y[..., self._columns, :] = x
        return y

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradients with respect to ``x``."""
        return gradient[..., self._columns, :]


class ScaleLayer:
    """Computes :class:`~ktrdr.core.inference.Scale`."""

    def __init__(self, node: Scale) -> None:
        self._factor, self._offset = node.factor, node.offset

    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        """Return float64 of the same shape."""
        y: np.ndarray = x.astype(np.float64)
        y *= self._factor
        y += self._offset
        return y

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradients with respect to ``x``, float64."""
        found: np.ndarray = gradient * np.float64(self._factor)
        return found
