"""Random decision trees for tests, and a prediction of them that is slow and obvious."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ktrdr.core.inference import Trees

__all__ = ["INPUTS", "NODE", "predict_slowly", "tree_arrays"]

INPUTS = 3

_FIELDS = ("start", "roots", "columns", "features", "thresholds", "left", "right", "values")


def node_of(combine: str) -> Trees:
    """Return a node whose arrays have the names of its fields."""
    return Trees(name="trees", input="features", combine=combine, **{field: field for field in _FIELDS})


NODE = node_of("sum")


@st.composite
def tree_arrays(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Draw arrays of one to eight trees, with thresholds on a coarse grid that rows may lie on exactly."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    trees, outputs = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    width = draw(st.integers(1, outputs))
    most = draw(st.integers(0, 12))
    left, right, roots = [], [], []
    for _ in range(trees):
        # Nodes with children are drawn until there are enough; a new node is behind all others.
        roots.append(len(left))
        left.append(len(left))
        right.append(len(right))
        for _ in range(random.integers(0, most + 1)):
            leaves = [number for number in range(roots[-1], len(left)) if left[number] == number]
            parent = int(random.choice(leaves))
            children = [len(left), len(left) + 1]
            left += children
            right += children
            left[parent], right[parent] = random.permutation(children)
    leaf = np.array(left) == np.arange(len(left))
    return {
        "start": random.normal(size=outputs),
        "roots": np.array(roots, np.int32),
        "columns": random.integers(0, outputs - width + 1, trees).astype(np.int32),
        "features": random.integers(0, INPUTS, len(left)).astype(np.int32),
        "thresholds": np.where(leaf, 0.0, random.integers(-4, 5, len(left)) / 4),
        "left": np.array(left, np.int32),
        "right": np.array(right, np.int32),
        "values": random.normal(size=(len(left), width)),
    }


def predict_slowly(combine: str, arrays: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Return ``(outputs, m)`` of ``(inputs, m)``: every row walks alone."""
    width = arrays["values"].shape[1]
    answers = []
    for row in x.T:
        trees = np.zeros(len(arrays["start"])) if combine == "mean" else arrays["start"].copy()
        for root, column in zip(arrays["roots"], arrays["columns"], strict=True):
            node = root
            while arrays["left"][node] != node:
                goes_left = float(row[arrays["features"][node]]) <= arrays["thresholds"][node]
                node = arrays["left"][node] if goes_left else arrays["right"][node]
            trees[column : column + width] += arrays["values"][node]
        answers.append(trees / len(arrays["roots"]) + arrays["start"] if combine == "mean" else trees)
    return np.array(answers).reshape(x.shape[1], len(arrays["start"])).T
