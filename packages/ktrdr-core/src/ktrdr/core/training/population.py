"""Training of a population: by the backend if it is able to, else one member after another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.limits import POPULATION_MEMORY
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
from ktrdr.core.work.cancellation import Cancellation, EitherCancellation
from ktrdr.core.work.progress import Progress, ProgressEvent

__all__ = ["default_resources", "train_members"]


def default_resources() -> Resources:
    """Return all cores of this machine, and :data:`~ktrdr.core.limits.POPULATION_MEMORY`."""
    return Resources(memory=POPULATION_MEMORY, cores=os.cpu_count() or 1)


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
