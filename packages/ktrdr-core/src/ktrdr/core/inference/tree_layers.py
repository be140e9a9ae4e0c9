"""Decision trees: the computation of :class:`~ktrdr.core.inference.vocabulary.Trees`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.inference.vocabulary import Trees

__all__ = ["TREE_ROWS", "TreesLayer", "rounded_down"]

TREE_ROWS = 16_384
"""Number of rows to predict at once: the more walk through a tree, the more of its nodes come from the cache.

With 512 rows deep trees take up to three times as long.
"""

# With half as many or four times as many the walks take up to a tenth longer.
_WALKS_AT_ONCE = 32_768

# Levels between two counts of the walks that have arrived, and their share that is not worth a copy of the others.
_LEVELS = 3
_FEW = 0.3


class TreesLayer:
    """Many rows walk through many trees, one level at a time.

    A walk goes on to ``children[2 * node + (x > threshold)]``. A leaf is its own child, so walks of different lengths
    need no branch; every few levels those that have arrived are put aside.

    Args:
        node: the layer.
        arrays: its arrays, checked by :func:`~ktrdr.core.inference.tree_checks.check_trees`.
    """

    def __init__(self, node: Trees, arrays: Mapping[str, np.ndarray]) -> None:
        left, right = arrays[node.left], arrays[node.right]
        self._mean = node.combine == "mean"
        self._start = arrays[node.start][:, np.newaxis]
        self._columns = arrays[node.columns].tolist()
        self._values = arrays[node.values]
        # numpy takes with indices of type `intp`, and would convert others at every level.
        self._roots = arrays[node.roots].astype(np.intp)
        self._features = arrays[node.features].astype(np.intp)
        self._children = np.stack([left, right], axis=1).astype(np.intp).ravel()
        self._inner = left != np.arange(len(left))
        # No value is above infinity: a walk that has arrived stays.
        self._thresholds = np.where(self._inner, arrays[node.thresholds], np.inf)
        self._rounded = rounded_down(self._thresholds)

    def forward(self, x: np.ndarray, *, reuse: bool) -> np.ndarray:
        """Return float64 ``(outputs, m)`` of float32 or float64 ``(inputs, m)``.

        The values of the trees are added one after another, in their order: the bits of a prediction do not depend on
        other rows.
        """
        total = np.zeros((len(self._start), x.shape[1]))
        if not self._mean:
            total += self._start
        rows = np.ascontiguousarray(x.T)
        width = self._values.shape[1]
        trees = max(1, _WALKS_AT_ONCE // max(1, len(rows)))
        for first in range(0, len(self._roots), trees):
            leaves = self._leaves(self._roots[first : first + trees], rows)
            for column, places in zip(self._columns[first : first + trees], leaves, strict=True):
                total[column : column + width] += self._values.take(places, axis=0, mode="clip").T
        if self._mean:
            total /= len(self._roots)
            total += self._start
        return total

    def backward(self, x: np.ndarray, y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Raise an error: trees have no gradients."""
        raise NotImplementedError("a twin with trees has no `average`, which gradients are for")

    def _leaves(self, roots: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the leaf of each tree and row: intp ``(trees, m)``."""
        m, inputs = rows.shape
        cells = rows.ravel()
        thresholds = self._rounded if rows.dtype == np.float32 else self._thresholds
        leaves = np.repeat(roots, m)
        walks = np.arange(len(leaves))
        nodes = leaves.copy()
        starts = np.tile(np.arange(m) * inputs, len(roots))  # of the row of each walk in `cells`
        while len(nodes):
            index = np.empty_like(nodes)
            values, limits = np.empty(len(nodes), rows.dtype), np.empty(len(nodes), rows.dtype)
            above = np.empty(len(nodes), np.bool_)
            for _ in range(_LEVELS):
                # No index is out of range; with `clip` numpy writes to `out` directly, without a buffer.
                self._features.take(nodes, out=index, mode="clip")
                index += starts
                cells.take(index, out=values, mode="clip")
                thresholds.take(nodes, out=limits, mode="clip")
                np.greater(values, limits, out=above)
                np.add(nodes, nodes, out=index)
                index += above
                self._children.take(index, out=nodes, mode="clip")
            going = np.flatnonzero(self._inner.take(nodes, mode="clip"))
            if len(going) <= (1 - _FEW) * len(nodes):
                leaves[walks] = nodes
                walks, nodes, starts = walks[going], nodes[going], starts[going]
        return leaves.reshape(len(roots), m)


def rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """Return the largest float32 that are at most the float64 ``thresholds``.

    A float32 is at most such a number if, and only if, it is at most the threshold.
    """
    with np.errstate(over="ignore"):
        rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
