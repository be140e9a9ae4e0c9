"""The layers of a twin, run one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ktrdr.core.inference.activation_layers import activation_layer
from ktrdr.core.inference.dense_layers import DenseLayer, StandardizeLayer
from ktrdr.core.inference.layer import Layer
from ktrdr.core.inference.output_layers import PairLayer, ScaleLayer, SoftmaxLayer, SpreadLayer
from ktrdr.core.inference.recurrent_layers import GruLayer, LastLayer, LstmLayer
from ktrdr.core.inference.rules_layer import RulesLayer
from ktrdr.core.inference.tree_layers import TreesLayer
from ktrdr.core.inference.vocabulary import (
    FEATURES,
    Activation,
    Dense,
    Gru,
    Last,
    Lstm,
    Mean,
    Node,
    Pair,
    Rules,
    Scale,
    Softmax,
    Spread,
    Standardize,
    Trees,
    TwinGraph,
)

__all__ = ["TwinNetwork"]


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """A node.

    Attributes:
        name: of the node.
        reads: names of the nodes it reads.
        layer: what computes it; ``None`` for the mean of what it reads.
        reuse: True if it may overwrite what it reads, as nothing else reads it.
        last_of: names of the nodes that no later node reads.
    """

    name: str
    reads: tuple[str, ...]
    layer: Layer | None
    reuse: bool
    last_of: tuple[str, ...]


class TwinNetwork:
    """The layers of a checked twin. It has no state: several threads may use it at once.

    Args:
        graph: of the twin.
        arrays: by name.
    """

    def __init__(self, graph: TwinGraph, arrays: Mapping[str, np.ndarray]) -> None:
        readers = Counter(name for node in graph.nodes for name in node.reads)
        last_reader = {name: node.name for node in graph.nodes for name in node.reads}
        self._steps = tuple(
            _Step(
                node.name,
                node.reads,
                _layer(node, arrays, graph.window),
                reuse=node.reads[0] != FEATURES and readers[node.reads[0]] == 1,
                last_of=tuple(name for name in set(node.reads) if last_reader[name] == node.name),
            )
            for node in graph.nodes
        )

    # Logarithms of degrees of 0 are meant; what else is out of range shows in the predictions.
    @np.errstate(all="ignore")
    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the predictions ``(outputs, m)``.

        Args:
            x: features ``(features, m)``; of a model with a window consecutive rows ``(features, m + window - 1)``, or
                sequences ``(window, features, m)``.
        """
        values = {FEATURES: x}
        for step in self._steps:
            values[step.name] = _output(step, values, reuse=step.reuse)
            for name in step.last_of:
                del values[name]
        return values[self._steps[-1].name]

    @np.errstate(all="ignore")
    def gradients(self, x: np.ndarray) -> np.ndarray:
        """Return the gradients ``(outputs, *x.shape)`` of each output with respect to the features.

        Args:
            x: as for :meth:`forward`.
        """
        values = {FEATURES: x}
        for step in self._steps:
            values[step.name] = _output(step, values, reuse=False)
        last = values[self._steps[-1].name]
        found = {self._steps[-1].name: np.eye(len(last), dtype=last.dtype)[:, :, np.newaxis] + np.zeros_like(last)}
        for step in reversed(self._steps):
            # Each node is read by a later one, so all of its gradient is there.
            gradient = found.pop(step.name)
            for name in step.reads:
                if step.layer is None:
                    share = gradient / len(step.reads)
                else:
                    share = step.layer.backward(values[name], values[step.name], gradient)
                found[name] = found[name] + share if name in found else share
        return found[FEATURES]


def _output(step: _Step, values: Mapping[str, np.ndarray], *, reuse: bool) -> np.ndarray:
    if step.layer is not None:
        return step.layer.forward(values[step.reads[0]], reuse=reuse)
    total = values[step.reads[0]].astype(np.float64)
    for name in step.reads[1:]:
        total += values[name]
    total /= len(step.reads)
    return total


def _layer(node: Node, arrays: Mapping[str, np.ndarray], window: int) -> Layer | None:
    match node:
        case Standardize():
            return StandardizeLayer(node, arrays)
        case Dense():
            return DenseLayer(node, arrays)
        case Activation():
            return activation_layer(node)
        case Lstm():
            return LstmLayer(node, arrays, window)
        case Gru():
            return GruLayer(node, arrays, window)
        case Last():
            return LastLayer(window)
        case Rules():
            return RulesLayer(node, arrays)
        case Pair():
            return PairLayer()
        case Softmax():
            return SoftmaxLayer()
        case Spread():
            return SpreadLayer(node)
        case Scale():
            return ScaleLayer(node)
        case Trees():
            return TreesLayer(node, arrays)
        case Mean():
            return None
