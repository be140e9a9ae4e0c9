"""The trainer of the plugin."""

from __future__ import annotations

from collections.abc import Sequence

from ktrdr.core.plugins import CheckpointWriter, Member, MemberOutcome, Resources, TrainingData, TrainingTask
from ktrdr.core.work import Cancellation, Progress
from ktrdr.ml.torch.devices import resolve_device
from ktrdr.ml.torch.reporting import Reporter
from ktrdr.ml.torch.torch_model import TorchModel
from ktrdr.ml.torch.torch_population import Population

__all__ = ["TorchTrainer"]


class TorchTrainer:
    """Trains networks. A single training is a population of one.

    Labels of a regression are standardized for training, so its losses and ``huber_delta`` are in standard deviations
    of the training labels.
    """

    def train(
        self,
        task: TrainingTask,
        data: TrainingData,
        *,
        progress: Progress,
        cancellation: Cancellation,
        checkpoint: CheckpointWriter | None,
    ) -> TorchModel:
        """Train; see the plugin contract.

        Raises:
            BadInputError: the device does not exist, a setting does not fit, there are not enough samples or classes,
                the loss is not finite, or the checkpoint is of another run.
            CancelledError: on request, after a checkpoint was written.
        """
        reporter = Reporter(progress, task.settings["epochs"], "epochs")
        (outcome,) = self._train([Member(task, data)], None, reporter, cancellation, checkpoint)
        if not isinstance(outcome, TorchModel):
            assert isinstance(outcome, Exception)
            raise outcome
        return outcome

    def train_many(
        self,
        members: Sequence[Member],
        *,
        progress: Progress,
        cancellation: Cancellation,
        checkpoint: CheckpointWriter | None,
        resources: Resources,
    ) -> Sequence[MemberOutcome]:
        """Train all members; see the plugin contract.

        Members are stacked on the CPU if they are of type ``mlp``, or of type ``anfis`` with ``learning: gradient``.
        All others are trained one after another, as are members on a GPU.

        Raises:
            BadInputError: the device does not exist, the memory does not suffice for one member, or the checkpoint is
                of another run.
            CancelledError: on request, after a checkpoint was written.
        """
        reporter = Reporter(progress, len(members), "members")
        return self._train(members, resources, reporter, cancellation, checkpoint)

    @staticmethod
    def _train(
        members: Sequence[Member],
        resources: Resources | None,
        reporter: Reporter,
        cancellation: Cancellation,
        checkpoint: CheckpointWriter | None,
    ) -> list[MemberOutcome]:
        cancellation.raise_if_requested()
        population = Population(
            members,
            resolve_device(members[0].task.device),
            resources=resources,
            reporter=reporter,
            cancellation=cancellation,
            checkpoint=checkpoint,
        )
        return population.train()
