"""Twins of every kind, small and correct, for tests to use and to break."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from ktrdr.core.inference import (
    Activation,
    Dense,
    FuzzyInput,
    Gru,
    Last,
    Lstm,
    Mean,
    Pair,
    Rules,
    Scale,
    Softmax,
    Spread,
    Standardize,
    Trees,
    TwinGraph,
)

Arrays = dict[str, np.ndarray]


class Made:
    """Collects arrays under the names of their nodes."""

    def __init__(self, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        self.arrays: Arrays = {}

    def add(self, name: str, *shape: int, dtype: Any = np.float32) -> str:
        """Add an array of normal numbers, and return its name."""
        self.arrays[name] = (0.5 * self.random.normal(size=shape)).astype(dtype)
        return name

    def put(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        """Add an array of these values, and return its name."""
        self.arrays[name] = np.asarray(values, dtype=dtype)
        return name

    def dense(self, name: str, read: str, inputs: int, outputs: int, dtype: Any = np.float32) -> Dense:
        """Return a linear layer."""
        weights, bias = (
            self.add(f"{name}.weights", outputs, inputs, dtype=dtype),
            self.add(f"{name}.bias", outputs, dtype=dtype),
        )
        return Dense(name=name, input=read, weights=weights, bias=bias)


def mlp() -> tuple[TwinGraph, Arrays]:
    made = Made()
    nodes = (
        made.dense("a", "features", 4, 6),
        Activation(name="b", input="a", function="tanh"),
        made.dense("c", "b", 6, 3),
        Softmax(name="d", input="c"),
    )
    average = made.add("average", 4)
    return TwinGraph(input_size=4, output="classification", outputs=3, nodes=nodes, average=average), made.arrays


def recurrent(kind: str) -> tuple[TwinGraph, Arrays]:
    made = Made()
    gates = {"lstm": 4, "gru": 3}[kind]
    parts = {"input_weights": (gates * 5, 2), "hidden_weights": (gates * 5, 5)}
    biases = {"lstm": ("bias",), "gru": ("input_bias", "hidden_bias")}[kind]
    names = {field: made.add(f"cell.{field}", *shape) for field, shape in parts.items()}
    names |= {field: made.add(f"cell.{field}", gates * 5) for field in biases}
    cell = (Lstm if kind == "lstm" else Gru)(name="cell", input="features", **names)
    nodes = (
        cell,
        Last(name="last", input="cell"),
        made.dense("score", "last", 5, 1),
        Scale(name="value", input="score", factor=2.0, offset=-1.0),
    )
    return TwinGraph(input_size=2, window=4, output="regression", outputs=1, nodes=nodes), made.arrays


def rules() -> tuple[TwinGraph, Arrays]:
    made = Made()
    center, scale = made.add("center", 2), made.put("scale", [1.0, 2.0])
    standardize = Standardize(name="z", input="features", center=center, scale=scale)
    inputs = (
        FuzzyInput(column=0, functions=("trapezoidal", "gaussian")),
        FuzzyInput(column=1, functions=("sigmoid", "bell", "trapezoidal")),
    )
    sizes = [[1, 0, 1], [0.5, 0, 0], [-2, 0, 0], [1, 2, 0], [0, 1, 0.5]]
    node = Rules(
        name="rules", input="z", fuzzy_inputs=inputs, places=made.add("places", 5), sizes=made.put("sizes", sizes),
        consequents=made.add("consequents", 6, 3, 2),
    )  # fmt: skip
    nodes = (standardize, node, Softmax(name="p", input="rules"))
    return TwinGraph(input_size=2, output="classification", outputs=2, nodes=nodes), made.arrays


def trees() -> tuple[TwinGraph, Arrays]:
    made = Made()
    whole = np.int32
    node = Trees(
        name="forest", input="features", combine="mean",
        start=made.put("start", [0, 0], np.float64), roots=made.put("roots", [0, 3], whole),
        columns=made.put("columns", [0, 0], whole), features=made.put("splits", [1, 0, 0, 0], whole),
        thresholds=made.put("thresholds", [0.5, 0, 0, 0], np.float64), left=made.put("left", [1, 1, 2, 3], whole),
        right=made.put("right", [2, 1, 2, 3], whole),
        values=made.put("values", [[0, 0], [0.25, 0.75], [1, 0], [0.5, 0.5]], np.float64),
    )  # fmt: skip
    nodes = (node, Spread(name="p", input="forest", columns=(0, 2), width=3))
    return TwinGraph(input_size=2, output="classification", outputs=3, nodes=nodes), made.arrays


def logistic() -> tuple[TwinGraph, Arrays]:
    made = Made()
    nodes = (
        made.dense("a", "features", 3, 1, np.float64),
        Pair(name="b", input="a"),
        Softmax(name="c", input="b"),
        made.dense("d", "features", 3, 2, np.float64),
        Softmax(name="e", input="d"),
        Mean(name="f", inputs=("c", "e")),
    )
    return TwinGraph(input_size=3, output="classification", outputs=2, nodes=nodes), made.arrays


_TWINS: Mapping[str, Callable[[], tuple[TwinGraph, Arrays]]] = {
    "mlp": mlp,
    "lstm": lambda: recurrent("lstm"),
    "gru": lambda: recurrent("gru"),
    "rules": rules,
    "trees": trees,
    "logistic": logistic,
}


@pytest.fixture(scope="session")
def twins() -> Mapping[str, Callable[[], tuple[TwinGraph, Arrays]]]:
    """Return functions that make a small twin of each kind."""
    return _TWINS
