"""Portable twins: an estimator in core's vocabulary of layers, see :mod:`ktrdr.core.inference`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ktrdr.core.errors import BadInputError
from ktrdr.core.inference import Dense, Pair, Softmax, Spread, Trees, TwinChain
from ktrdr.core.plugins import Twin
from ktrdr.core.plugins.contract import OutputKind

__all__ = ["make_twin"]


def make_twin(
    estimator: Any, model_type: str, output: OutputKind, input_size: int, classes: int, seen: Sequence[int]
) -> Twin:
    """Return a fitted estimator as data: arrays, which are copies, and a graph.

    Args:
        estimator: of scikit-learn.
        model_type: of this backend.
        output: kind of the prediction.
        input_size: number of features.
        classes: number of classes; 0 for a regression.
        seen: class of each column of the estimator's prediction, ascending; empty for a regression.

    Raises:
        BadInputError: the model is too large for the vocabulary, or has splits by category.
    """
    twin = TwinChain()
    if model_type == "random_forest":
        _add_forest(twin, estimator, len(seen) or 1)
    elif model_type == "gradient_boosting":
        _add_boosting(twin, estimator)
    else:
        _add_linear(twin, estimator)
    if seen and model_type != "random_forest":
        if len(seen) == 2:
            twin.add(Pair, "scores")
        twin.add(Softmax, "probabilities")
    if len(seen) < classes:
        twin.add(Spread, "classes", columns=tuple(seen), width=classes)
    return twin.twin(input_size=input_size, output=output, outputs=classes or 1)


def _add_linear(twin: TwinChain, estimator: Any) -> None:
    weights = estimator.coef_.astype(np.float64)
    # Without an intercept scikit-learn has one 0 for all scores.
    bias = np.zeros(len(weights)) + estimator.intercept_
    twin.add(Dense, "linear", {"weights": weights, "bias": bias})


def _add_forest(twin: TwinChain, estimator: Any, outputs: int) -> None:
    trees = [member.tree_ for member in estimator.estimators_]
    _add_trees(
        twin,
        combine="mean",
        start=np.zeros(outputs),
        columns=np.zeros(len(trees)),
        sizes=[tree.node_count for tree in trees],
        leaf=np.concatenate([tree.children_left < 0 for tree in trees]),
        features=np.concatenate([tree.feature for tree in trees]),
        thresholds=np.concatenate([tree.threshold for tree in trees]),
        left=np.concatenate([tree.children_left for tree in trees]),
        right=np.concatenate([tree.children_right for tree in trees]),
        # Of one target; the values of a classification are shares of the classes.
        values=np.concatenate([tree.value[:, 0] for tree in trees]),
    )


def _add_boosting(twin: TwinChain, estimator: Any) -> None:
    trees = [tree.nodes for trees in estimator._predictors for tree in trees]
    nodes = np.concatenate(trees)
    if nodes["is_categorical"].any():
        raise BadInputError("this gradient_boosting model splits by category, which a portable twin cannot")
    start = np.ravel(estimator._baseline_prediction).astype(np.float64)
    _add_trees(
        twin,
        combine="sum",
        start=start,
        columns=np.arange(len(trees)) % len(start),
        sizes=[len(tree) for tree in trees],
        leaf=nodes["is_leaf"] != 0,
        features=nodes["feature_idx"],
        thresholds=nodes["num_threshold"],
        left=nodes["left"],
        right=nodes["right"],
        values=nodes["value"][:, np.newaxis],
    )


def _add_trees(
    twin: TwinChain,
    *,
    combine: str,
    start: np.ndarray,
    columns: np.ndarray,
    sizes: Sequence[int],
    leaf: np.ndarray,
    features: np.ndarray,
    thresholds: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    values: np.ndarray,
) -> None:
    """Add trees whose children are numbered from the root of each; what leaves and inner nodes do not use becomes 0."""
    roots = np.cumsum([0, *sizes[:-1]])
    own, root_of = np.arange(len(leaf)), np.repeat(roots, sizes)
    twin.add(
        Trees,
        "trees",
        {
            "start": start,
            "roots": roots.astype(np.int32),
            "columns": columns.astype(np.int32),
            "features": np.where(leaf, 0, features).astype(np.int32),
            "thresholds": np.where(leaf, 0.0, thresholds),
            "left": np.where(leaf, own, root_of + left).astype(np.int32),
            "right": np.where(leaf, own, root_of + right).astype(np.int32),
            "values": np.where(leaf[:, np.newaxis], values, 0.0),
        },
        combine=combine,
    )
