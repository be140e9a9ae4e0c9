"""Prediction from a portable twin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ktrdr.core.inference.integrated_gradients import STEPS, contributions
from ktrdr.core.inference.tree_layers import TREE_ROWS
from ktrdr.core.inference.twin_network import TwinNetwork
from ktrdr.core.inference.vocabulary import Gru, Lstm, Scale, Trees, TwinGraph
from ktrdr.core.plugins.contract import Rule
from ktrdr.core.plugins.prediction_refusals import check_features, not_finite

__all__ = ["PortablePredictor", "portable_predictor"]

# The values of the layers of a small network stay in the cache of a core.
_MOST_ROWS = 512
# A product is fastest with a multiple of as many rows, and with fewer rows it takes hardly less time.
_ROWS_TOGETHER = 16
# A recurrent layer has products for each step, whose calls cost as much as those of 64 rows.
_FEWEST_WINDOWS = 64
# Values of the largest layer of a block: 4 MiB of float32, and 64 MiB if that is less than the rows above.
_VALUES = 1 << 20
_MOST_VALUES = 1 << 24


class PortablePredictor:
    """A twin, ready for prediction. Several threads may use it at once.

    Args:
        graph: of the twin, checked.
        arrays: by name, checked.
    """

    def __init__(self, graph: TwinGraph, arrays: Mapping[str, np.ndarray]) -> None:
        self._graph = graph
        self._network = TwinNetwork(graph, arrays)
        self._block = _block_rows(graph, arrays)

    @property
    def input_size(self) -> int:
        """Number of feature columns."""
        return self._graph.input_size

    @property
    def window(self) -> int:
        """Number of rows that one prediction uses."""
        return self._graph.window

    @property
    def unit(self) -> float:
        """Standard deviation of the labels of a regression, which its network learns in units of; 0 if unknown."""
        last = self._graph.nodes[-1]
        return abs(last.factor) if isinstance(last, Scale) else 0.0

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict for every row of float32 ``(n, features)``; see the plugin contract.

        Raises:
            BadInputError: the number of columns is not that of the model, or a prediction is not finite.
        """
        check_features(features, self.input_size)
        values = self._graph.output == "regression"
        result = np.full(len(features) if values else (len(features), self._graph.outputs), np.nan)
        for at, columns, whole in self._blocks(features, self._block):
            found = self._network.forward(columns)
            answer = found[0] if values else found.T
            if whole is None:
                result[at] = answer
            else:
                result[at][whole] = answer = answer[whole]
            if not np.isfinite(answer).all():
                raise not_finite("model", at.start, at.stop - 1)
        return result

    def _blocks(self, features: np.ndarray, size: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray | None]]:
        """Yield the blocks of at most ``size`` predictions in which a window is finite.

        Yields:
            the rows of the predictions; the features of their windows, ``(features, rows)``, where what is not finite
            is 0; and which windows are finite, ``None`` for all.
        """
        before = self.window - 1
        for start in range(before, len(features), size):
            at = slice(start, min(start + size, len(features)))
            columns = np.array(features[start - before : at.stop].T, dtype=np.float32, order="C")
            finite = np.isfinite(columns)
            if finite.all():
                yield at, columns, None
                continue
            counts = np.cumsum(np.concatenate(([False], finite.all(axis=0))))
            whole = counts[self.window :] - counts[: -self.window] == self.window
            if whole.any():
                columns[~finite] = 0
                yield at, columns, whole


class _Explainable(PortablePredictor):
    """A twin with an average training sample."""

    def __init__(self, graph: TwinGraph, arrays: Mapping[str, np.ndarray], average: np.ndarray) -> None:
        super().__init__(graph, arrays)
        self._average = average

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """Return the contributions of the features to predictions; see :class:`~ktrdr.core.plugins.Explainable`.

        Raises:
            BadInputError: the number of columns is not that of the model.
        """
        check_features(features, self.input_size)
        result = np.full((len(features), self.input_size, self._graph.outputs), np.nan)
        for at, columns, whole in self._blocks(features, max(self._block // STEPS, 1)):
            samples = columns
            if self.window > 1:
                windows = np.lib.stride_tricks.sliding_window_view(columns, self.window, axis=1)
                samples = windows.transpose(2, 0, 1)
            found = contributions(self._network, samples, self._average)
            if whole is None:
                result[at] = found
            else:
                result[at][whole] = found[whole]
        return result


class _RuleBased(PortablePredictor):
    """A twin of rules."""

    def rules(self) -> Sequence[Rule]:
        """Return all rules, the largest weight first.

        Raises:
            TwinError: the graph has something else in their place.
        """
        return [Rule(each.conditions, each.weight, each.outputs, each.text) for each in self._graph.rule_records()]


class _ExplainableRuleBased(_Explainable, _RuleBased):
    """A twin of rules with an average training sample."""


def portable_predictor(graph: TwinGraph, arrays: Mapping[str, np.ndarray]) -> PortablePredictor:
    """Return what predicts from a twin that has been checked.

    It is :class:`~ktrdr.core.plugins.Explainable` if the twin has an average training sample, and
    :class:`~ktrdr.core.plugins.RuleBased` if it has rules.

    Args:
        graph: of the twin.
        arrays: by the names that the graph uses.
    """
    if graph.average is None:
        return (_RuleBased if graph.rules else PortablePredictor)(graph, arrays)
    return (_ExplainableRuleBased if graph.rules else _Explainable)(graph, arrays, arrays[graph.average])


def _block_rows(graph: TwinGraph, arrays: Mapping[str, np.ndarray]) -> int:
    """Return the number of rows to predict at once, so that the values of a layer take a bounded memory."""
    trees = [node for node in graph.nodes if isinstance(node, Trees)]
    # The nodes of trees are not values of a layer.
    nodes = {getattr(node, field) for node in trees for field in node.arrays if field != "start"}
    names = set(graph.array_names()) - nodes
    width = max([graph.input_size, *(max(len(arrays[name]), arrays[name][0].size) for name in names)])
    recurrent = any(isinstance(node, Lstm | Gru) for node in graph.nodes)
    values = width * (graph.window if recurrent else 1)
    rows = min(_VALUES // values, TREE_ROWS if trees else _MOST_ROWS) // _ROWS_TOGETHER * _ROWS_TOGETHER
    fewest = _FEWEST_WINDOWS if recurrent else _ROWS_TOGETHER
    return max(rows, min(max(_MOST_VALUES // values, 1), fewest))
