"""Products of matrices on one thread."""

from __future__ import annotations

import numpy as np

__all__ = ["product"]

# numpy's OpenBLAS divides a product among threads from this many multiplications on. Measured on two cores, products of
# layers of 64 units then take twice the CPU time, and up to fifty times as long where other programs use the cores,
# because the threads wait for each other without sleeping. A product in tiles below the limit takes as long as a whole
# one on one thread.
_LEAST_OF_THREADS = 1 << 19
_LEAST_SIDE = 32


def product(weights: np.ndarray, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return ``weights @ x``, ``(..., outputs, m)``, of ``(outputs, inputs)`` and ``(..., inputs, m)``.

    Args:
        weights: a matrix.
        x: one or more matrices of the same dtype.
        out: receives the product; it is not ``x``.
    """
    outputs, inputs = weights.shape
    if out is None:
        out = np.empty((*x.shape[:-2], outputs, x.shape[-1]), weights.dtype)
    high, wide = outputs, _width(outputs, inputs)
    while wide < _LEAST_SIDE < high:
        high = (high + 1) // 2
        wide = _width(high, inputs)
    for top in range(0, outputs, high):
        for left in range(0, x.shape[-1], wide):
            rows, columns = slice(top, top + high), slice(left, left + wide)
            np.matmul(weights[rows], x[..., columns], out=out[..., rows, columns])
    return out


def _width(outputs: int, inputs: int) -> int:
    """Return the largest number of columns of a product without threads."""
    return max((_LEAST_OF_THREADS - 1) // (outputs * inputs), 1)
