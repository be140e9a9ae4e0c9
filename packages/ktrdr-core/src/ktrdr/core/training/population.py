"""Training of a population: by the backend if it is able to, else one member after another."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.limits import POPULATION_MEMORY, POPULATION_MEMORY_VARIABLE
from ktrdr.core.plugins.contract import (
    CheckpointWriter,
    Member,
    MemberOutcome,
    ModelTrainer,
    ModelType,
    PopulationTrainer,
    Resources,
)
from ktrdr.core.plugins.population_rules import check_members
from ktrdr.core.sizes import size_from_environment
from ktrdr.core.training.checkpoint import DirectoryCheckpoint
from ktrdr.core.training.stored_members import MemberStore
from ktrdr.core.work.cancellation import Cancellation, EitherCancellation
from ktrdr.core.work.progress import Progress, ProgressEvent

__all__ = ["SECONDS_BETWEEN_CHECKPOINTS", "default_resources", "train_members", "train_population"]

_AT_ONCE = 64
"""Members of a chunk for each core: a larger stack saves little more time per member, and takes more memory."""

_MOST_RECORDS = 200_000
"""Epochs of all members of a chunk: the histories of more would not fit into a checkpoint."""

SECONDS_BETWEEN_CHECKPOINTS = 1.0
"""Least time between two checkpoints of a chunk: what a kill may lose, beside an epoch."""

_CHUNK_FILE = "population.json"
_DEFAULT_MEMORY = f"{POPULATION_MEMORY // 1_000_000}MB"


def default_resources() -> Resources:
    """Return all cores of this machine, and the memory budget of a population.

    Raises:
        BadInputError: the budget in the environment is not a size.
    """
    memory = size_from_environment(POPULATION_MEMORY_VARIABLE, _DEFAULT_MEMORY)
    return Resources(memory=memory, cores=os.cpu_count() or 1)


def train_members(
    trainer: ModelTrainer,
    model_type: ModelType,
    members: Sequence[Member],
    *,
    progress: Progress,
    cancellation: Cancellation,
    checkpoint: CheckpointWriter | None,
    resources: Resources,
) -> list[MemberOutcome]:
    """Train all members and return their outcomes, in the same order; see :class:`PopulationTrainer`.

    Args:
        trainer: of a backend; one without the ability trains one member after another.
        model_type: the backend's declaration of the members' model type.
        members: to train.
        progress: receives the number of finished members.
        cancellation: of the whole population.
        checkpoint: of the whole population. A backend without the ability uses it for a population of one only; more
            members are trained again by a resumed run.
        resources: that the backend may use.

    Raises:
        BadInputError: the members do not fit together, or the resources do not suffice for one of them.
        CancelledError: the population was cancelled.
    """
    check_members(model_type, members)
    if isinstance(trainer, PopulationTrainer):
        outcomes = trainer.train_many(
            members, progress=progress, cancellation=cancellation, checkpoint=checkpoint, resources=resources
        )
        return list(outcomes)
    own = checkpoint if len(members) == 1 else None
    return [
        _train_one(trainer, member, number, len(members), progress, cancellation, own)
        for number, member in enumerate(members)
    ]


def train_population(
    trainer: ModelTrainer,
    model_type: ModelType,
    members: Sequence[Member],
    *,
    store: MemberStore,
    checkpoint: DirectoryCheckpoint,
    progress: Progress,
    cancellation: Cancellation,
    resources: Resources,
) -> list[MemberOutcome]:
    """Train all members in chunks, store each when its chunk is finished, and return their outcomes in the same order.

    A resumed run takes the finished members from ``store`` and continues the chunk that ``checkpoint`` is of; the
    models are the same as without the interruption. A chunk has 64 members per core if the backend trains populations
    and writes checkpoints of them; two per core if it trains populations without checkpoints; else one member.

    Args:
        trainer: of a backend.
        model_type: the backend's declaration of the members' model type.
        members: to train; those of an interrupted run, in the same order.
        store: finished members of this run.
        checkpoint: of this run; the backend's checkpoints are those of one chunk.
        progress: receives the number of finished members.
        cancellation: of the whole population.
        resources: that the backend may use.

    Returns:
        The outcomes; trained models are :class:`~ktrdr.core.training.stored_members.StoredMember`.

    Raises:
        BadInputError: the members do not fit together, or the resources do not suffice for one of them.
        CancelledError: the population was cancelled; finished chunks and a checkpoint are left.
        StoreError: a member cannot be stored.
    """
    check_members(model_type, members)
    store.tidy()
    found = {number: store.find(number) for number in range(len(members))}
    outcomes = {number: outcome for number, outcome in found.items() if outcome is not None}
    message = f"{len(outcomes):,} of {len(members):,} are already trained" if outcomes else ""
    share = len(outcomes) / len(members)
    progress(ProgressEvent("training", len(outcomes), len(members), "members", share, message))
    waiting = [number for number in found if number not in outcomes]
    for chunk in _chunks(waiting, _chunk_of(checkpoint.latest()), _chunk_size(trainer, members, model_type, resources)):
        ended = train_members(
            trainer,
            model_type,
            [members[number] for number in chunk],
            progress=_shifted(progress, len(outcomes.keys() - set(chunk)), len(chunk), len(members)),
            cancellation=cancellation,
            checkpoint=_ChunkCheckpoint(checkpoint, chunk),
            resources=resources,
        )
        outcomes |= {number: store.put(number, outcome) for number, outcome in zip(chunk, ended, strict=True)}
    return [outcomes[number] for number in range(len(members))]


def _chunk_size(trainer: ModelTrainer, members: Sequence[Member], model_type: ModelType, resources: Resources) -> int:
    if not isinstance(trainer, PopulationTrainer):
        return 1
    epochs = max(int(member.task.settings.get("epochs", 1)) for member in members)
    wanted = (_AT_ONCE if model_type.writes_checkpoints else 2) * resources.cores
    return max(min(wanted, _MOST_RECORDS // epochs), 1)


def _chunks(waiting: Sequence[int], interrupted: Sequence[int], size: int) -> Iterator[list[int]]:
    """Yield the numbers of ``waiting`` in chunks, first the interrupted chunk, unless all of its members are finished.

    That chunk has finished members if the process was killed while it stored them: only the whole chunk can be
    continued from its checkpoint.
    """
    left = list(waiting)
    if not set(interrupted).isdisjoint(left):
        yield list(interrupted)
        left = [number for number in left if number not in set(interrupted)]
    for start in range(0, len(left), size):
        yield left[start : start + size]


def _shifted(progress: Progress, before: int, own: int, total: int) -> Progress:
    """Return a receiver of the progress of ``own`` members that reports it as that of all ``total`` members."""

    def receive(event: ProgressEvent) -> None:
        share = (before + event.fraction * own) / total
        progress(replace(event, done=before + event.done, total=total, unit="members", fraction=share))

    return receive


def _chunk_of(latest: Path | None) -> list[int]:
    """Return the members that a checkpoint is of; empty without a checkpoint."""
    if latest is None or not (latest / _CHUNK_FILE).is_file():
        return []
    numbers: list[int] = json.loads((latest / _CHUNK_FILE).read_text(encoding="utf-8"))
    return numbers


class _ChunkCheckpoint:
    """The checkpoints of one chunk: those of another chunk do not exist for it."""

    def __init__(self, checkpoint: DirectoryCheckpoint, chunk: Sequence[int]) -> None:
        self._checkpoint = checkpoint
        self._chunk = list(chunk)
        self._last = time.monotonic()

    def due(self, epoch: int) -> bool:
        # Small members are trained faster than a disk syncs; one that is finished is stored anyway.
        return self._checkpoint.due(epoch) and time.monotonic() - self._last >= SECONDS_BETWEEN_CHECKPOINTS

    def save(self, epoch: int, write: Callable[[Path], None]) -> None:
        def write_chunk(directory: Path) -> None:
            write(directory)
            (directory / _CHUNK_FILE).write_text(json.dumps(self._chunk), encoding="utf-8")

        self._checkpoint.save(epoch, write_chunk)
        self._last = time.monotonic()

    def latest(self) -> Path | None:
        latest = self._checkpoint.latest()
        return latest if latest is not None and _chunk_of(latest) == self._chunk else None


def _train_one(
    trainer: ModelTrainer,
    member: Member,
    number: int,
    total: int,
    progress: Progress,
    cancellation: Cancellation,
    checkpoint: CheckpointWriter | None,
) -> MemberOutcome:
    def forward(event: ProgressEvent) -> None:
        done = number + (event.fraction >= 1)
        progress(
            replace(event, done=done, total=total, unit="members", fraction=min((number + event.fraction) / total, 1.0))
        )

    try:
        return trainer.train(
            member.task,
            member.data,
            progress=forward,
            cancellation=EitherCancellation(cancellation, member.cancellation),
            checkpoint=checkpoint,
        )
    except CancelledError as error:
        cancellation.raise_if_requested()
        return error
    except BadInputError as error:
        return error
