"""Checkpoints of a training run: tensors as safetensors, numbers as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.reading import FileError, parse_json, read_plain
from ktrdr.core.limits import LARGEST_JSON, MOST_EPOCHS
from ktrdr.core.models.contents import BundleError
from ktrdr.core.plugins import EpochRecord, Split, TrainingData, TrainingTask
from ktrdr.ml.torch.tensors import read_tensors, write_tensors

__all__ = ["State", "fingerprint", "read_state", "write_state"]

_TENSORS = "state.safetensors"
_NUMBERS = "state.json"
_GROUPS = ("network", "best", "optimizer", "solver", "random")


@dataclass(slots=True)
class State:
    """The whole state of a run: a resumed run gives the same result as one that was not interrupted.

    Attributes:
        network: weights and buffers by name.
        best: those of the best epoch; empty during the first epoch.
        optimizer: ``"{number of the parameter}.{name}"`` -> tensor.
        solver: ``ridge``, if the consequents of rules are solved for.
        random: states of the generators ``shuffle`` (at the beginning of the current epoch) and ``dropout``.
        losses: float32 ``(batch,)``, of the finished batches of the current epoch.
        correct: number of correctly predicted samples in these batches.
        batch: number of finished batches of the current epoch.
        history: the finished epochs.
    """

    network: dict[str, Any]
    best: dict[str, Any]
    optimizer: dict[str, Any]
    solver: dict[str, Any]
    random: dict[str, Any]
    losses: Any
    correct: int
    batch: int
    history: list[EpochRecord] = field(default_factory=list)


def fingerprint(task: TrainingTask, data: TrainingData, device: Any) -> str:
    """Return a hash of everything that the result of a run depends on."""
    digest = hashlib.sha256()
    described = {**_plain(task), "device": device.type, "torch": torch.__version__}
    digest.update(json.dumps(described, sort_keys=True).encode())
    digest.update(repr(data.features.shape).encode())
    digest.update(np.ascontiguousarray(data.features).data)
    for split in (data.train, data.validation):
        _update(digest, split)
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (tuple, list)) else value


def _update(digest: Any, split: Split) -> None:
    for array in (split.rows, split.labels, split.weights):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)


def write_state(directory: Path, state: State, run: str) -> None:
    """Write ``state`` of the run with fingerprint ``run`` into ``directory``."""
    tensors = {f"{group}.{name}": tensor for group in _GROUPS for name, tensor in getattr(state, group).items()}
    write_tensors(directory / _TENSORS, {**tensors, "losses": state.losses})
    numbers = {
        "format": 1,
        "run": run,
        "batch": state.batch,
        "correct": state.correct,
        "history": [{"epoch": record.epoch, "metrics": dict(record.metrics)} for record in state.history],
    }
    (directory / _NUMBERS).write_text(json.dumps(numbers, allow_nan=False), encoding="utf-8")


def read_state(directory: Path, run: str) -> State:
    """Return the state in ``directory``.

    Raises:
        BadInputError: the state is damaged, or of another run.
    """
    try:
        # The limit allows for the largest number of epochs.
        numbers = parse_json(read_plain(directory / _NUMBERS, LARGEST_JSON), _NUMBERS, most=10 * MOST_EPOCHS)
        if not isinstance(numbers, dict) or numbers.get("format") != 1:
            raise BundleError(f"{_NUMBERS} is of another version of the plugin")
        if numbers["run"] != run:
            raise BundleError(
                "it is of a run with another strategy, other data, another kind of device or another version of torch"
            )
        groups: dict[str, dict[str, Any]] = {group: {} for group in (*_GROUPS, "losses")}
        for name, tensor in read_tensors(directory / _TENSORS).items():
            group, _, rest = name.partition(".")
            groups[group][rest] = tensor
        history = [EpochRecord(int(entry["epoch"]), dict(entry["metrics"])) for entry in numbers["history"]]
        return State(
            **{group: groups[group] for group in _GROUPS},
            losses=groups["losses"][""],
            correct=int(numbers["correct"]),
            batch=int(numbers["batch"]),
            history=history,
        )
    except (FileError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = str(error) if isinstance(error, FileError) else f"it is damaged ({type(error).__name__}: {error})"
        raise BadInputError(
            f"the checkpoint in {directory} cannot be resumed: {reason}; train without resuming to start again"
        ) from error
