"""Checks of the arrays of decision trees, which may be hostile: every walk ends, and within the arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.inference.twin_error import TwinError
from ktrdr.core.inference.vocabulary import Trees

__all__ = ["DEEPEST_TREE", "check_trees"]

DEEPEST_TREE = 1_000
"""Largest number of nodes between a root and a leaf."""

_SUM_TO_ONE = 1e-9

_DTYPES = {
    "start": np.float64,
    "roots": np.int32,
    "columns": np.int32,
    "features": np.int32,
    "thresholds": np.float64,
    "left": np.int32,
    "right": np.int32,
    "values": np.float64,
}


def check_trees(node: Trees, arrays: Mapping[str, np.ndarray], inputs: int) -> tuple[int, bool]:
    """Check the arrays of a layer.

    Args:
        node: the layer.
        arrays: at least its arrays.
        inputs: width of the rows that the layer reads.

    Returns:
        The number of outputs, and whether they are probabilities for certain: the mean of leaves that are.

    Raises:
        TwinError: the arrays are not such trees.
    """
    trees = {field: arrays[getattr(node, field)] for field in node.arrays}
    _check_shapes(trees)
    outputs = len(trees["start"])
    _check_ranges(trees, inputs, outputs)
    _check_structure(trees["roots"], trees["left"], trees["right"])
    _check_values(trees)
    return outputs, node.combine == "mean" and _leaves_are_probabilities(trees)


def _check_shapes(trees: Mapping[str, np.ndarray]) -> None:
    for field, array in trees.items():
        axes = 2 if field == "values" else 1
        if array.dtype != _DTYPES[field] or array.ndim != axes or not array.size:
            raise TwinError(
                f"`{field}` is {array.dtype} {array.shape}, not {np.dtype(_DTYPES[field])} with"
                f" {axes} ax{'i' if axes == 1 else 'e'}s, none of them empty"
            )
    for like, fields in (("roots", ("columns",)), ("features", ("thresholds", "left", "right", "values"))):
        for field in fields:
            if len(trees[field]) != len(trees[like]):
                raise TwinError(f"`{field}` has {len(trees[field]):,} rows, `{like}` has {len(trees[like]):,}")


def _check_ranges(trees: Mapping[str, np.ndarray], inputs: int, outputs: int) -> None:
    nodes, width = trees["values"].shape
    if width > outputs:
        raise TwinError(f"`values` has {width:,} columns, more than the {outputs:,} outputs")
    ends = {"roots": nodes, "columns": outputs - width + 1, "features": inputs, "left": nodes, "right": nodes}
    for field, end in ends.items():
        low, high = int(trees[field].min()), int(trees[field].max())
        if low < 0 or high >= end:
            raise TwinError(f"`{field}` holds {low if low < 0 else high}, not only numbers from 0 to {end - 1}")


def _check_structure(roots: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """Refuse cycles, nodes that stand in no tree or twice, and trees that are too deep."""
    numbers = np.arange(len(left))
    inner = (left != numbers) | (right != numbers)
    if (backward := inner & ((left <= numbers) | (right <= numbers))).any():
        raise TwinError(f"a child of node {backward.argmax():,} does not stand behind it")
    places = np.bincount(np.concatenate([roots, left[inner], right[inner]]), minlength=len(left))
    if (wrong := places != 1).any():
        which = int(wrong.argmax())
        raise TwinError(f"node {which:,} stands in {'several places' if places[which] else 'no place'} of the trees")
    level = roots
    for _ in range(DEEPEST_TREE + 1):
        level = level[inner[level]]
        if not len(level):
            return
        level = np.concatenate([left[level], right[level]])
    raise TwinError(f"a tree is more than {DEEPEST_TREE:,} nodes deep")


def _check_values(trees: Mapping[str, np.ndarray]) -> None:
    for field in ("start", "thresholds", "values"):
        if not np.isfinite(trees[field]).all():
            raise TwinError(f"`{field}` holds a value that is not finite")
    largest = max(np.abs(trees["values"]).max(), np.abs(trees["start"]).max())
    if largest > np.finfo(np.float64).max / (len(trees["roots"]) + 1):
        raise TwinError(f"a value is {largest:g} in size, and the sum of all trees may not be finite")


def _leaves_are_probabilities(trees: Mapping[str, np.ndarray]) -> bool:
    values = trees["values"][trees["left"] == np.arange(len(trees["left"]))]
    return bool(
        values.shape[1] == len(trees["start"])  # hence all columns are 0
        and not trees["start"].any()
        and values.min() >= 0
        and np.abs(values.sum(axis=1) - 1).max() <= _SUM_TO_ONE
    )
