"""The interface of a layer that computes."""

from __future__ import annotations

from typing import Protocol

import numpy as np

__all__ = ["Layer"]


class Layer(Protocol):
    """A node of a twin with its arrays, which have been checked. It has no state: several threads may use it at once.

    Predictions are along the last axis, so that each output of a layer is one contiguous piece of memory. The values of
    ``m`` predictions are ``(width, m)``, and sequences ``(window, width, m)``. The features of a model with a window
    come as consecutive rows ``(features, m + window - 1)``, which the windows of ``m`` predictions share; so do the
    values of layers that compute each row by itself.
    """

    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        """Return the output of the layer, in memory of its own.

        Args:
            x: the input.
            reuse: True if the memory of ``x`` may be overwritten, and returned; else ``x`` is not changed.
        """
        ...

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradients of scalars with respect to ``x``, ``(scalars, *x.shape)``.

        Args:
            x: what :meth:`forward` received.
            y: what it returned.
            gradient: gradients of the same scalars with respect to ``y``, ``(scalars, *y.shape)``. It is not changed.
        """
        ...
