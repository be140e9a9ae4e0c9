"""Samples on the device: one feature matrix, and an index into it for each sample."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ktrdr.core.errors import BadInputError
from ktrdr.core.plugins import Split, TrainingData, TrainingTask
from ktrdr.ml.torch.model_description import Scaling
from ktrdr.ml.torch.scratch import Scratch

__all__ = [
    "Matrix",
    "Samples",
    "as_tensor",
    "class_weights",
    "extremes",
    "gather",
    "label_scaling",
    "moments",
    "prepare",
]

_ROWS_AT_ONCE = 1 << 14


def as_tensor(array: np.ndarray) -> Any:
    """Return a tensor that shares the memory of ``array``; the array must outlive it and is only read."""
    array = np.ascontiguousarray(array)
    if array.flags.writeable or array.size == 0:
        return torch.from_numpy(array if array.size else array.copy())
    # Avoids the warning of torch about read-only arrays, such as those shared between processes.
    memory = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    return torch.frombuffer(memory, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype).view(array.shape)


class Matrix:
    """Features on the device; on the CPU they share the memory of ``features``, which is only read.

    Args:
        features: float32 ``(n, features)``.
        window: number of rows of a sample.
        device: of the matrix.
    """

    def __init__(self, features: np.ndarray, window: int, device: Any) -> None:
        self._array = np.ascontiguousarray(features, dtype=np.float32)
        tensor = as_tensor(self._array).to(device)
        if window == 1:
            self._source = tensor
        else:
            rows, columns = tensor.shape
            # All windows, each one row further, as views of the same memory.
            shape, strides = (max(rows - window + 1, 0), window, columns), (columns, columns, 1)
            self._source = tensor.as_strided(shape, strides)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a sample."""
        return tuple(self._source.shape[1:])

    def gather(self, starts: Any, out: Any = None) -> Any:
        """Return ``(m, features)``, or ``(m, window, features)``, of the windows that start at ``starts``."""
        return torch.index_select(self._source, 0, starts, out=out)


def gather(matrices: Sequence[Matrix], starts: Any, width: int, scratch: Scratch) -> Any:
    """Return ``(..., members, n, width)`` of the rows ``starts`` ``(..., members, n)``, each of its own matrix.

    Features that a matrix does not have are 0. With a window of ``w`` rows there is an axis of ``w`` before the last.
    """
    first = matrices[0]
    inner, features = first.shape[:-1], first.shape[-1]
    if any(matrix is not first for matrix in matrices):
        # The samples of a member lie side by side, so that they are copied in one piece.
        axis = starts.ndim - 2
        by_member = starts.movedim(axis, 0).flatten(1)
        found = scratch.tensor("features", (*by_member.shape, *inner, width))
        own = scratch.tensor("rows", (by_member.shape[1], *first.shape))
        for matrix, rows, out in zip(matrices, by_member, found[..., :features], strict=True):
            out.copy_(matrix.gather(rows, out=own))
        return found.unflatten(1, (*starts.shape[:axis], starts.shape[-1])).movedim(0, axis)
    found = scratch.tensor("features", (*starts.shape, *inner, width))
    if width == features:
        first.gather(starts.flatten(), out=found.flatten(0, starts.ndim - 1))
    else:
        rows = scratch.tensor("rows", (starts.numel(), *first.shape))
        found[..., :features] = first.gather(starts.flatten(), out=rows).view(*starts.shape, *first.shape)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Samples of one part.

    Attributes:
        starts: int64 ``(m,)``, first row of each window.
        labels: int64 ``(m,)`` class numbers, or float32 ``(m,)`` standardized values.
        weights: float32 ``(m,)``, or ``None`` if all are equal.
    """

    starts: Any
    labels: Any
    weights: Any

    def __len__(self) -> int:
        return len(self.starts)

    def shares(self, other: Samples) -> bool:
        """Return True if ``other`` is a view of the same samples, as for members that differ in seeds alone."""
        pairs = ((self.starts, other.starts), (self.labels, other.labels), (self.weights, other.weights))
        return all(_same(one, another) for one, another in pairs)


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape and one.dtype == other.dtype


def prepare(
    split: Split, window: int, device: Any, *, scaling: Scaling | None, per_class: np.ndarray | None, unit: float
) -> Samples:
    """Return the samples of ``split``, with weights times the factors ``per_class``, divided by ``unit``."""
    starts = as_tensor(split.rows - (window - 1) if window > 1 else split.rows)
    if scaling is None:
        labels = as_tensor(split.labels)
    else:
        labels = as_tensor(((split.labels.astype(np.float64) - scaling.mean) / scaling.scale).astype(np.float32))
    weights = split.weights if per_class is None else split.weights * per_class[split.labels]
    plain = len(weights) == 0 or bool(np.all(weights == weights[0]))
    scaled = None if plain else as_tensor((weights / unit).astype(np.float32)).to(device)
    return Samples(starts.to(device), labels.to(device), scaled)


def class_weights(task: TrainingTask, split: Split) -> np.ndarray | None:
    """Return float64 ``(classes,)`` factors that give all classes the same total weight, or ``None``.

    Raises:
        BadInputError: there are no samples with a weight, or all are of one class.
    """
    if not len(split):
        raise BadInputError("there are no training samples; choose a longer date range or a larger training part")
    if not float(split.weights.sum(dtype=np.float64)) > 0:
        raise BadInputError("the weights of all training samples are 0; use `training.sample_weights: none`")
    if task.output == "regression":
        return None
    counts = np.bincount(split.labels, minlength=len(task.classes))
    seen = np.flatnonzero(counts)
    if len(seen) < 2:
        raise BadInputError(
            f"every training label is {task.classes[seen[0]]}: there is nothing to tell apart; "
            "change the parameters of `training.labels`"
        )
    if task.settings["class_weights"] != "balanced":
        return None
    factors = np.ones(len(counts))
    factors[seen] = len(split) / (len(seen) * counts[seen])
    return factors


def label_scaling(split: Split) -> Scaling:
    """Return mean and standard deviation of the labels, to standardize labels of any magnitude."""
    labels = split.labels.astype(np.float64)
    if not np.isfinite(labels).all():
        raise BadInputError("the training labels are not finite; check the data with `ktrdr data check`")
    mean, scale = float(labels.mean()), float(labels.std())
    return Scaling(mean=mean, scale=scale if scale > 1e-12 * max(abs(mean), 1e-12) else 1.0)


def moments(data: TrainingData) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 ``(features,)`` mean and standard deviation over the training samples' last rows.

    A column that does not vary has standard deviation 1.
    """
    rows, features = data.train.rows, data.features
    blocks = [rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE)]
    mean = sum(features[block].sum(axis=0, dtype=np.float64) for block in blocks) / len(rows)
    squares = sum(np.square(features[block] - mean).sum(axis=0) for block in blocks)
    deviation = np.sqrt(squares / len(rows))
    return mean, np.where(deviation > 1e-7 * np.abs(mean), deviation, 1.0)


def extremes(data: TrainingData) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 ``(features,)`` minimum and maximum over the training samples' last rows."""
    rows = data.train.rows
    blocks = [data.features[rows[start : start + _ROWS_AT_ONCE]] for start in range(0, len(rows), _ROWS_AT_ONCE)]
    least, most = [block.min(axis=0) for block in blocks], [block.max(axis=0) for block in blocks]
    return np.min(least, axis=0), np.max(most, axis=0)
