"""Decision trees: the computation of :class:`~ktrdr.core.inference.vocabulary.Trees`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.inference.vocabulary import Trees

__all__ = ["TreesLayer", "rounded_down"]

# The walks of many rows through one tree read the same nodes, and the walks of one block fit into the cache of a core.
# Measured: from half of it to four times as many walks, and with fewer rows of more trees, it is at most a tenth slower.
_WALKS_AT_ONCE = 32_768
_MOST_ROWS = 16_384
_MOST_VALUES_AT_ONCE = 1 << 20

# The levels between two looks at which walks have arrived, and the share of them that is not worth a copy of the others.
_LEVELS = 3
_FEW_ARRIVED = 0.3


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
        self._start = arrays[node.start]
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

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return float64 ``(m, outputs)`` of float32 or float64 ``(m, inputs)``.

        The values of the trees are added one after another, in their order: the bits of a row do not depend on other
        rows.
        """
        total = np.zeros((len(x), len(self._start)))
        if not self._mean:
            total += self._start
        rows = max(1, min(_MOST_ROWS, _MOST_VALUES_AT_ONCE // len(self._start)))
        for first in range(0, len(x), rows):
            self._add(np.ascontiguousarray(x[first : first + rows]), total[first : first + rows])
        if self._mean:
            total /= len(self._roots)
            total += self._start
        return total

    def _add(self, x: np.ndarray, total: np.ndarray) -> None:
        """Add the values of all trees to float64 ``(m, outputs)``."""
        width = self._values.shape[1]
        trees = max(1, _WALKS_AT_ONCE // len(x))
        for first in range(0, len(self._roots), trees):
            leaves = self._leaves(self._roots[first : first + trees], x)
            for column, places in zip(self._columns[first : first + trees], leaves, strict=True):
                total[:, column : column + width] += self._values.take(places, axis=0, mode="clip")

    def _leaves(self, roots: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the leaf of each tree and row: intp ``(trees, m)``."""
        cells = x.ravel()
        thresholds = self._rounded if x.dtype == np.float32 else self._thresholds
        leaves = np.repeat(roots, len(x))
        walks = np.arange(len(leaves))
        nodes = leaves.copy()
        rows = np.tile(np.arange(len(x)) * x.shape[1], len(roots))  # position of each walk's row in `cells`
        while len(nodes):
            index = np.empty_like(nodes)
            values, limits = np.empty(len(nodes), x.dtype), np.empty(len(nodes), x.dtype)
            above = np.empty(len(nodes), np.bool_)
            for _ in range(_LEVELS):
                # Nothing is out of range; the mode `clip` of numpy is the one without a check and a second buffer.
                self._features.take(nodes, out=index, mode="clip")
                index += rows
                cells.take(index, out=values, mode="clip")
                thresholds.take(nodes, out=limits, mode="clip")
                np.greater(values, limits, out=above)
                np.add(nodes, nodes, out=index)
                index += above
                self._children.take(index, out=nodes, mode="clip")
            going = np.flatnonzero(self._inner.take(nodes, mode="clip"))
            if len(going) <= (1 - _FEW_ARRIVED) * len(nodes):
                leaves[walks] = nodes
                walks, nodes, rows = walks[going], nodes[going], rows[going]
        return leaves.reshape(len(roots), len(x))


def rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """Return the largest float32 that are at most the float64 ``thresholds``.

    A float32 is at most the one exactly if it is at most the other.
    """
    with np.errstate(over="ignore"):
        rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
