"""The interface of a layer that computes."""

from __future__ import annotations

from typing import Protocol

import numpy as np

__all__ = ["Layer"]


class Layer(Protocol):
    """A node of a twin with its arrays, which have been checked. It has no state: several threads may use it at once.

    The first axis of rows is that of the predictions, ``(m, width)``. A sequence is ``(window, m, width)``: the steps
    of ``m`` predictions. The features of a model with a window come as ``(m + window - 1, features)``, consecutive rows
    that the windows of ``m`` predictions share.
    """

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the output of the layer. ``x`` is not changed."""
        ...

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradient with respect to ``x``.

        Args:
            x: what :meth:`forward` received.
            y: what it returned.
            gradient: gradient of a scalar with respect to ``y``, of the same shape.
        """
        ...
