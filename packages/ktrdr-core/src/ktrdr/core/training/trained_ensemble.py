"""The trained members of an ensemble as one model, and their evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ktrdr.core.errors import BadInputError
from ktrdr.core.models.ensemble_predictor import ensemble_predictor
from ktrdr.core.plugins.contract import EpochRecord, MemberOutcome, Predictor, TrainedModel, TrainingTask
from ktrdr.core.training.seeds import Judged, member_record
from ktrdr.core.work.cancellation import Cancellation

__all__ = ["TrainedEnsemble", "judge_ensemble", "trainings_of"]


@dataclass(frozen=True, slots=True, eq=False)
class TrainedEnsemble:
    """Trained models that predict together; implements :class:`~ktrdr.core.plugins.TrainedModel`.

    Attributes:
        members: the models, in the order of their seeds.
        vote: how they predict together.
    """

    members: tuple[TrainedModel, ...]
    vote: Literal["average", "majority"]

    @property
    def history(self) -> Sequence[EpochRecord]:
        """Empty: each member has a history of its own."""
        return ()

    @property
    def best_epoch(self) -> int:
        """The latest epoch of which a member kept the weights."""
        return max(member.best_epoch for member in self.members)

    def predictor(self) -> Predictor:
        """Return a predictor over all members."""
        return ensemble_predictor([member.predictor() for member in self.members], self.vote)


def trainings_of(model: TrainedModel) -> tuple[TrainedModel, ...]:
    """Return the members of an ensemble, or the model itself."""
    return model.members if isinstance(model, TrainedEnsemble) else (model,)


def judge_ensemble(
    tasks: Sequence[TrainingTask],
    outcomes: Sequence[MemberOutcome],
    vote: Literal["average", "majority"],
    evaluate: Callable[[TrainedModel, TrainingTask], Mapping[str, Any]],
    *,
    cancellation: Cancellation,
) -> Judged:
    """Evaluate all members, and the ensemble of them.

    Args:
        tasks: of the members.
        outcomes: of their trainings, in the same order.
        vote: how the members predict together.
        evaluate: returns the metrics by part of a model.
        cancellation: checked before each evaluation.

    Raises:
        BadInputError: the training of a member failed; the message names it.
        CancelledError: on request.
    """
    models = tuple(_trained(number, task, outcomes) for number, task in enumerate(tasks))
    members = []
    for task, model in zip(tasks, models, strict=True):
        cancellation.raise_if_requested()
        members.append(member_record(task, model, evaluate(model, task)))
    cancellation.raise_if_requested()
    ensemble = TrainedEnsemble(models, vote)
    return Judged(tasks[0], ensemble, evaluate(ensemble, tasks[0]), tuple(members))


def _trained(number: int, task: TrainingTask, outcomes: Sequence[MemberOutcome]) -> TrainedModel:
    outcome = outcomes[number]
    if isinstance(outcome, BadInputError):
        raise BadInputError(
            f"member {number + 1} of {len(outcomes)} of the ensemble (seed {task.seed}) could not be trained: {outcome}"
        ) from outcome
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
