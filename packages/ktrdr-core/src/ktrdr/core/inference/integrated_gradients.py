"""Contributions of the features to the predictions of a twin."""

from __future__ import annotations

import numpy as np

from ktrdr.core.inference.twin_network import TwinNetwork

__all__ = ["STEPS", "contributions"]

STEPS = 32
"""Number of points between the average sample and a sample at which gradients are computed."""


def contributions(network: TwinNetwork, samples: np.ndarray, average: np.ndarray) -> np.ndarray:
    """Return the contributions of the features to the predictions, ``(m, features, outputs)``.

    Integrated gradients (M. Sundararajan, A. Taly, Q. Yan, *Axiomatic attribution for deep networks*, 2017) along the
    straight line from the average training sample, by Gauss-Legendre quadrature. Those of the rows of a window are
    added up.

    Args:
        network: of the twin.
        samples: float32 ``(features, m)`` or ``(window, features, m)``.
        average: float32 ``(features,)``.
    """
    nodes, shares = np.polynomial.legendre.leggauss(STEPS)
    start = average[:, np.newaxis]
    way = samples - start
    points = way[..., np.newaxis] * ((nodes + 1) / 2).astype(way.dtype) + start[..., np.newaxis]
    gradients = network.gradients(points.reshape(*way.shape[:-1], -1))
    found = gradients.reshape(len(gradients), *way.shape, STEPS) @ (shares / 2) * way
    if way.ndim == 3:
        found = found.sum(axis=1)
    return found.transpose(2, 1, 0)
