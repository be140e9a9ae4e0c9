"""Memory of the training of a population, estimated before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ktrdr.core.plugins import Member, Resources

__all__ = ["BYTES_OF_PROCESS", "bytes_of_member", "most_processes"]

BYTES_OF_PROCESS = 150_000_000
"""Own memory of a process that has imported scikit-learn."""

_BYTES_OF_VALUE = {"gradient_boosting": 10, "random_forest": 8, "logistic_regression": 16}
_BYTES_OF_SAMPLE = 200
_BYTES_OF_NODE = 150
_BYTES_AT_LEAST = 1_000_000


def bytes_of_member(member: Member) -> int:
    """Return the bytes for the copies of a member's samples, and for its model."""
    samples = len(member.data.train) + len(member.data.validation)
    values = samples * member.data.features.shape[1]
    task = member.task
    return (
        _BYTES_AT_LEAST
        + values * _BYTES_OF_VALUE[task.model_type]
        + samples * _BYTES_OF_SAMPLE
        + _nodes(task.model_type, task.architecture, task.settings["epochs"], member) * _BYTES_OF_NODE
    )


def _nodes(model_type: str, architecture: Any, epochs: int, member: Member) -> int:
    """Return the largest number of nodes of all trees."""
    if model_type == "logistic_regression":
        return 0
    trees = architecture["n_estimators"] if model_type == "random_forest" else epochs * max(len(member.task.classes), 1)
    leaves = len(member.data.train) // architecture["min_samples_leaf"] + 1
    if model_type == "gradient_boosting":
        leaves = min(leaves, architecture["max_leaf_nodes"])
    if architecture["max_depth"] is not None:
        leaves = min(leaves, 2 ** architecture["max_depth"])
    return int(trees * 2 * leaves)


def most_processes(members: Sequence[Member], resources: Resources) -> int:
    """Return the number of processes for which cores and memory suffice, beside one copy of the features."""
    copies = sum({id(member.data.features): member.data.features.nbytes for member in members}.values())
    each = BYTES_OF_PROCESS + max(bytes_of_member(member) for member in members)
    return min(resources.cores, max(0, resources.memory - copies) // each)
