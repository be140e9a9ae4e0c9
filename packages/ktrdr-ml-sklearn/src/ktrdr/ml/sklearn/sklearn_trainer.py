"""The trainer of the plugin."""

from __future__ import annotations

from collections.abc import Sequence

from ktrdr.core.plugins import CheckpointWriter, Member, MemberOutcome, Resources, TrainingData, TrainingTask
from ktrdr.core.work import Cancellation, Progress
from ktrdr.ml.sklearn.population_run import PopulationRun
from ktrdr.ml.sklearn.single_training import train_single
from ktrdr.ml.sklearn.sklearn_model import SklearnModel

__all__ = ["SklearnTrainer"]


class SklearnTrainer:
    """Trains estimators of scikit-learn.

    A training is not resumed but repeated: it takes seconds, and with the same seed the result is the same model.
    Checkpoints are neither written nor read.
    """

    def train(
        self,
        task: TrainingTask,
        data: TrainingData,
        *,
        progress: Progress,
        cancellation: Cancellation,
        checkpoint: CheckpointWriter | None,
    ) -> SklearnModel:
        """Train; see the plugin contract.

        Raises:
            BadInputError: the device does not exist, or there are not enough samples or classes.
            CancelledError: on request; nothing is written.
        """
        return train_single(task, data, progress=progress, cancellation=cancellation)

    def train_many(
        self,
        members: Sequence[Member],
        *,
        progress: Progress,
        cancellation: Cancellation,
        checkpoint: CheckpointWriter | None,
        resources: Resources,
    ) -> Sequence[MemberOutcome]:
        """Train all members, in several processes if that is faster; see the plugin contract.

        Raises:
            BadInputError: ``resources`` do not suffice for one member, the device does not exist, or a process was
                killed.
            CancelledError: the population was cancelled; nothing is written.
        """
        return PopulationRun(members, progress, cancellation, resources).run()
