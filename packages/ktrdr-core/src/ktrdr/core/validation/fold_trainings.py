"""Training of all folds with all seeds as one population, and the predictors that come out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ktrdr.core.errors import BadInputError
from ktrdr.core.models.ensemble_predictor import ensemble_predictor
from ktrdr.core.plugins.contract import Member, MemberOutcome, Predictor, TrainedModel, TrainingData, TrainingTask
from ktrdr.core.strategy.member_seeds import member_seeds
from ktrdr.core.strategy.model import EnsembleSection, ModelSection
from ktrdr.core.training.seeds import seed_tasks
from ktrdr.core.validation.fold_plan import Fold, FoldRows

__all__ = [
    "MOST_TRAININGS",
    "FoldTraining",
    "TrainedFolds",
    "check_number",
    "evaluation_seeds",
    "fold_members",
    "members_of",
]

MOST_TRAININGS = 10_000
"""Largest number of trainings of an evaluation, members of ensembles included."""


@dataclass(frozen=True, slots=True, eq=False)
class FoldTraining:
    """What the trainings of one fold have in common.

    Attributes:
        name: of the fold, for messages: ``fold 3``.
        fold: its bars; without a test part for the fold that is tested on the reserve.
        rows: samples of the fold.
        fitted: normalizers of each symbol, fitted on the training rows.
        data: samples to train and to choose the best epoch with.
    """

    name: str
    fold: Fold
    rows: FoldRows
    fitted: Mapping[str, np.ndarray]
    data: TrainingData


def evaluation_seeds(first: int, number: int, model: ModelSection | EnsembleSection) -> tuple[int, ...]:
    """Return the seeds of an evaluation: consecutive ones from ``first`` on.

    An ensemble trains with its seed and the seeds after it, so the next ensemble begins behind them: otherwise the
    ensembles would share members, and their spread would be too small.
    """
    apart = members_of(model)
    return member_seeds(first, number * apart)[::apart]


def check_number(folds: int, seeds: int, model: ModelSection | EnsembleSection) -> None:
    """Raise an error if the evaluation has too many trainings.

    Raises:
        BadInputError: there are more than :data:`MOST_TRAININGS`.
    """
    members = members_of(model)
    if (number := folds * seeds * members) > MOST_TRAININGS:
        of_ensembles = f" × {members} members of the ensemble" if members > 1 else ""
        raise BadInputError(
            f"the evaluation would have {number:,} trainings ({folds:,} folds × {seeds:,} seeds{of_ensembles}), and the"
            f" limit is {MOST_TRAININGS:,}; use fewer folds (`validation`) or fewer seeds"
        )


def fold_members(
    folds: Sequence[FoldTraining],
    task: TrainingTask,
    seeds: Sequence[int],
    model: ModelSection | EnsembleSection,
) -> list[Member]:
    """Return the trainings of all folds, fold by fold, seed by seed, and by the members of an ensemble.

    Args:
        folds: the folds.
        task: the training of the strategy; its seed is replaced.
        seeds: of the evaluation.
        model: the model of the strategy.
    """
    tasks = [own for seed in seeds for own in seed_tasks(replace(task, seed=seed), members_of(model))]
    return [Member(own, fold.data) for fold in folds for own in tasks]


@dataclass(frozen=True, slots=True, eq=False)
class TrainedFolds:
    """The trainings of all folds and seeds.

    Attributes:
        seeds: of the trainings that are used.
        models: trained models by ``(fold, seed)``, positions of the fold and of the seed; those of an ensemble are
            several.
        model: the model of the strategy.
        failures: one sentence for each seed that is left out.
    """

    seeds: tuple[int, ...]
    models: Mapping[tuple[int, int], tuple[TrainedModel, ...]]
    model: ModelSection | EnsembleSection
    failures: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        folds: Sequence[FoldTraining],
        outcomes: Sequence[MemberOutcome],
        seeds: Sequence[int],
        model: ModelSection | EnsembleSection,
    ) -> TrainedFolds:
        """Return the models of the seeds that could be trained in every fold.

        A path needs the models of all folds, so a seed whose training fails in one of them is left out.

        Args:
            folds: the folds.
            outcomes: of the trainings, in the order of :func:`fold_members`.
            seeds: of the evaluation.
            model: the model of the strategy.

        Raises:
            BadInputError: at least half of the seeds failed.
        """
        size = members_of(model)
        found: dict[tuple[int, int], tuple[TrainedModel, ...]] = {}
        failed: dict[int, str] = {}
        for place in range(len(folds) * len(seeds)):
            fold, seed = divmod(place, len(seeds))
            trained = []
            for number, outcome in enumerate(outcomes[place * size : (place + 1) * size]):
                if isinstance(outcome, BadInputError):
                    member = f", member {number + 1} of the ensemble" if size > 1 else ""
                    failed.setdefault(seed, f"{folds[fold].name}{member}: {outcome}")
                elif isinstance(outcome, Exception):
                    raise outcome
                else:
                    trained.append(outcome)
            found[fold, seed] = tuple(trained)
        if 2 * len(failed) >= len(seeds):
            first = min(failed)
            raise BadInputError(
                f"the training failed with {len(failed):,} of {len(seeds):,} seeds; the first of them, seed"
                f" {seeds[first]}, in {failed[first]}"
            )
        kept = [number for number in range(len(seeds)) if number not in failed]
        models = {(fold, place): found[fold, number] for fold in range(len(folds)) for place, number in enumerate(kept)}
        failures = tuple(
            f"seed {seeds[number]} is left out, because its training failed in {reason}"
            for number, reason in sorted(failed.items())
        )
        return cls(tuple(seeds[number] for number in kept), models, model, failures)

    def predictor(self, fold: int, seed: int) -> Predictor:
        """Return what predicts: the model of a fold and a seed, or the ensemble of its members."""
        predictors = [own.predictor() for own in self.models[fold, seed]]
        if isinstance(self.model, EnsembleSection):
            return ensemble_predictor(predictors, self.model.vote)
        return predictors[0]

    def best_epoch(self, fold: int, seed: int) -> int:
        """Return the epoch that was kept; of an ensemble the latest of its members."""
        return max(own.best_epoch for own in self.models[fold, seed])


def members_of(model: ModelSection | EnsembleSection) -> int:
    """Return the number of trainings of a model: of an ensemble the number of its members.

    Args:
        model: the model of a strategy.
    """
    return model.members.seeds if isinstance(model, EnsembleSection) else 1
