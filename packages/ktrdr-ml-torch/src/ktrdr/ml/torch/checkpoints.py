"""Checkpoints of a population: tensors as safetensors, numbers as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.reading import FileError, parse_json, read_plain
from ktrdr.core.limits import LARGEST_JSON, MOST_EPOCHS
from ktrdr.core.models.contents import BundleError
from ktrdr.core.plugins import EpochRecord, Member, Split
from ktrdr.ml.torch.control import Snapshot
from ktrdr.ml.torch.tensors import read_tensors, write_tensors

__all__ = ["Finished", "State", "fingerprint", "read_state", "write_state"]

_TENSORS = "state.safetensors"
_NUMBERS = "state.json"
_FORMAT = 2


@dataclass(slots=True)
class Finished:
    """A member whose training has ended.

    Attributes:
        tensors: of its network, in the best epoch; empty if it ended with an error.
        history: all epochs.
        best_epoch: number of the best one, from 1.
        error: the message with which the training ended, or ``None``.
        cancelled: whether the error is a cancellation of the member.
    """

    tensors: dict[str, Any]
    history: list[EpochRecord]
    best_epoch: int
    error: str | None = None
    cancelled: bool = False


@dataclass(slots=True)
class State:
    """The whole state of a population: a resumed run gives the same models as one that was not interrupted.

    Attributes:
        finished: members that have ended, by number.
        current: those that are trained at present, one snapshot for each stack.
    """

    finished: dict[int, Finished] = field(default_factory=dict)
    current: list[Snapshot] = field(default_factory=list)


def fingerprint(members: Sequence[Member], device: Any) -> str:
    """Return a hash of everything that the result of a run depends on."""
    digest, hashed = hashlib.sha256(), {}
    digest.update(json.dumps([device.type, str(torch.__version__)]).encode())
    for member in members:
        data = member.data
        digest.update(json.dumps(_plain(member.task), sort_keys=True).encode())
        # Members may share a large matrix.
        if id(data.features) not in hashed:
            hashed[id(data.features)] = hashlib.sha256(np.ascontiguousarray(data.features).data).digest()
        digest.update(repr(data.features.shape).encode() + hashed[id(data.features)])
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
    # Members of one architecture have the same tensors. One for all of them: their number in a file is limited.
    models = [finished.tensors for finished in state.finished.values() if finished.error is None]
    tensors = {f"finished.{name}": torch.stack([own[name] for own in models]) for name in (models[0] if models else ())}
    numbers: dict[str, Any] = {
        "format": _FORMAT,
        "run": run,
        "finished": {
            str(number): {
                "history": _history_to_json(finished.history),
                "best_epoch": finished.best_epoch,
                "error": finished.error,
                "cancelled": finished.cancelled,
            }
            for number, finished in state.finished.items()
        },
        "current": [
            {
                "members": snapshot.members,
                "numbers": snapshot.numbers,
                "histories": [_history_to_json(history) for history in snapshot.histories],
            }
            for snapshot in state.current
        ],
    }
    for place, snapshot in enumerate(state.current):
        tensors |= {f"current.{place}.{name}": tensor for name, tensor in snapshot.tensors.items()}
    write_tensors(directory / _TENSORS, tensors)
    (directory / _NUMBERS).write_text(json.dumps(numbers, allow_nan=False), encoding="utf-8")


def _history_to_json(history: Sequence[EpochRecord]) -> list[Any]:
    return [[record.epoch, dict(record.metrics)] for record in history]


def _history_from_json(entries: Any) -> list[EpochRecord]:
    return [EpochRecord(int(epoch), dict(metrics)) for epoch, metrics in entries]


def read_state(directory: Path, run: str) -> State:
    """Return the state in ``directory``.

    Raises:
        BadInputError: the state is damaged, or of another run.
    """
    try:
        # The limit allows for the largest number of epochs.
        numbers = parse_json(read_plain(directory / _NUMBERS, LARGEST_JSON), _NUMBERS, most=10 * MOST_EPOCHS)
        if not isinstance(numbers, dict) or numbers.get("format") != _FORMAT:
            raise BundleError(f"{_NUMBERS} is of another version of the plugin")
        if numbers["run"] != run:
            raise BundleError(
                "it is of a run with another strategy, other data, another kind of device or another version of torch"
            )
        current: list[dict[str, Any]] = [{} for _ in numbers["current"]]
        models: dict[str, dict[str, Any]] = {number: {} for number in numbers["finished"]}
        whole = [own for number, own in models.items() if numbers["finished"][number]["error"] is None]
        for name, tensor in read_tensors(directory / _TENSORS).items():
            group, _, rest = name.partition(".")
            if group == "current":
                place, _, rest = rest.partition(".")
                current[int(place)][rest] = tensor
            elif group == "finished" and len(tensor) == len(whole):
                for own, row in zip(whole, tensor, strict=True):
                    own[rest] = row.clone()
            else:
                raise ValueError(f"tensor {name!r}")
        return State(
            {
                int(number): Finished(
                    models[number],
                    _history_from_json(entry["history"]),
                    int(entry["best_epoch"]),
                    entry["error"],
                    bool(entry["cancelled"]),
                )
                for number, entry in numbers["finished"].items()
            },
            [_snapshot(entry, tensors) for entry, tensors in zip(numbers["current"], current, strict=True)],
        )
    except (FileError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        reason = str(error) if isinstance(error, FileError) else f"it is damaged ({type(error).__name__}: {error})"
        raise BadInputError(
            f"the checkpoint in {directory} cannot be resumed: {reason}; train without resuming to start again"
        ) from error


def _snapshot(entry: Any, tensors: dict[str, Any]) -> Snapshot:
    return Snapshot(
        [int(number) for number in entry["members"]],
        tensors,
        dict(entry["numbers"]),
        [_history_from_json(history) for history in entry["histories"]],
    )
