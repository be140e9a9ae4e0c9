"""A member of a population while it is trained: its samples, its random numbers and its history."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.plugins import EpochRecord, Member
from ktrdr.ml.torch.initialization import initialize
from ktrdr.ml.torch.losses import make_loss
from ktrdr.ml.torch.masks import Masks
from ktrdr.ml.torch.model_description import Description, describe
from ktrdr.ml.torch.optimizers import check_optimizer
from ktrdr.ml.torch.samples import Matrix, class_weights, extremes, label_scaling, moments, prepare
from ktrdr.ml.torch.schedules import EarlyStopping, make_schedule

__all__ = ["TrainingMember", "batch_counts"]

# One random generator per purpose, so that the draws of one do not change the others.
_WEIGHTS, _SHUFFLE, _DROPOUT = range(3)


def batch_counts(task_batch: int, samples: int, *, normalizes: bool) -> tuple[int, int, int]:
    """Return the number of batches of an epoch, their size, and the number of samples of the last one.

    Raises:
        BadInputError: batches of one sample are normalized.
    """
    size = min(task_batch, samples)
    whole, rest = divmod(samples, size)
    if normalizes and size == 1:
        raise BadInputError(
            "`model.architecture.batch_norm` needs batches of at least two samples; raise `training.batch_size`"
        )
    # A batch of one sample has no variance: the sample that the shuffle puts last is left out of the epoch.
    if rest == 0 or (normalizes and rest == 1):
        return whole, size, size
    return whole + 1, size, rest


class TrainingMember:
    """A member and everything of its training but the weights.

    Args:
        number: of the member in its population, from 0.
        member: as the backend got it.
        device: of the training.
        matrix_of: returns the features on the device, for a number of rows per sample.

    Attributes:
        description: of its network.
        batches: number of batches of an epoch.
        batch_size: number of samples of each but the last.
        last_size: number of samples of the last batch.
        history: the finished epochs.
        error: the reason why the training has ended without a model.

    Raises:
        BadInputError: the settings do not fit, or there are not enough samples or classes.
    """

    def __init__(
        self, number: int, member: Member, device: Any, matrix_of: Callable[[np.ndarray, int], Matrix]
    ) -> None:
        task, data = member.task, member.data
        self.number, self.task, self._data, self._cancellation = number, task, data, member.cancellation
        # First, because it reports what is wrong with the samples in one sentence.
        per_class = class_weights(task, data.train)
        scaling = label_scaling(data.train) if task.output == "regression" else None
        self.description: Description = describe(task, scaling)
        settings = task.settings
        check_optimizer(settings)
        self.loss = make_loss(settings, task.output)
        self.schedule = make_schedule(settings)
        self.stopping = EarlyStopping(
            settings, validates=len(data.validation) > 0, classifies=task.output == "classification"
        )
        self.batches, self.batch_size, self.last_size = batch_counts(
            settings["batch_size"], len(data.train), normalizes=bool(task.architecture.get("batch_norm"))
        )
        window = self.description.window
        self.matrix = matrix_of(data.features, window)
        weights = data.train.weights if per_class is None else data.train.weights * per_class[data.train.labels]
        unit = float(weights.mean(dtype="float64"))
        self.train, self.validation = (
            prepare(split, window, device, scaling=scaling, per_class=per_class, unit=unit)
            for split in (data.train, data.validation)
        )
        self.mean, self.deviation = moments(data)
        self.shuffle = generator(task.seed, _SHUFFLE)
        self._dropout = generator(task.seed, _DROPOUT, device)
        self.history: list[EpochRecord] = []
        self.error: BadInputError | CancelledError | None = None
        # Of the present epoch: state of the shuffle at its start, and int64 numbers of samples, (batches, batch_size).
        self.epoch_start: Any = None
        self._order: Any = None

    def initialize(self, network: nn.Module) -> None:
        """Set the weights of ``network``, on the CPU, to those before the first step."""
        initialize(network, generator(self.task.seed, _WEIGHTS), self.mean.tolist(), self.deviation.tolist())

    def masks(self, values: int) -> Masks:
        """Return the dropout masks for ``values`` values of a sample."""
        return Masks(self.task.architecture["dropout"], self._dropout, self.batch_size, values)

    def ranges(self) -> tuple[list[float], list[float]]:
        """Return the minimum and maximum of the standardized training values of each fuzzy input."""
        columns = [variable.column for variable in self.description.fuzzy_variables]
        lowest, highest = ((values - self.mean) / self.deviation for values in extremes(self._data))
        return [float(lowest[at]) for at in columns], [float(highest[at]) for at in columns]

    def begin_epoch(self) -> None:
        """Shuffle the training samples into batches; the last one is padded with copies of its first sample."""
        self.epoch_start = self.shuffle.get_state()
        order = torch.randperm(len(self.train), generator=self.shuffle)[: self.batches * self.batch_size]
        missing = self.batches * self.batch_size - len(order)
        if missing:
            order = torch.cat([order, order[(self.batches - 1) * self.batch_size].expand(missing)])
        self._order = order.view(self.batches, self.batch_size).to(self.train.starts.device)

    def batches_at(self, at: slice) -> Any:
        """Return the numbers of the samples of some batches of the present epoch, ``(batches, batch_size)``."""
        return self._order[at]

    def train_metrics(self, losses: np.ndarray, correct: int) -> dict[str, float]:
        """Return the metrics of an epoch.

        Args:
            losses: float32 ``(batches,)``, mean loss of each batch.
            correct: number of correct predictions.
        """
        sizes = np.full(self.batches, self.batch_size)
        sizes[-1] = self.last_size
        samples = int(sizes.sum())
        return self.named("train", math.fsum(losses.astype(np.float64) * sizes) / samples, correct / samples)

    def named(self, part: str, loss: float, accuracy: float) -> dict[str, float]:
        """Return the metrics of one part by their names in a record."""
        found = {f"{part}_loss": loss}
        return {**found, f"{part}_accuracy": accuracy} if self.task.output == "classification" else found

    def conclude(self, metrics: Mapping[str, float], *, finite: bool, with_rate: bool = True) -> bool:
        """Add an epoch and return True if it is the best so far.

        An epoch with a number that is not finite, or weights that are not :``finite``, ends the member with an error.
        """
        epoch = len(self.history) + 1
        if with_rate:
            metrics = {**metrics, "learning_rate": self.schedule.rate(epoch - 1)}
        for name, value in metrics.items():
            if not math.isfinite(value):
                self.refuse({"train_loss": "training loss", "val_loss": "validation loss"}.get(name, name))
                return False
        if not finite:
            self.refuse("weights")
            return False
        return self.recall(EpochRecord(epoch, metrics))

    def recall(self, record: EpochRecord) -> bool:
        """Add an epoch whose numbers are known and return True if it is the best so far."""
        self.history.append(record)
        self.schedule.update(record.metrics.get("val_loss", record.metrics["train_loss"]))
        return self.stopping.update(record.epoch, record.metrics)

    def refuse(self, what: str) -> None:
        """End the member: ``what`` is not finite in its present epoch."""
        epoch = len(self.history) + 1
        self.error = BadInputError(
            f"the {what} became infinite or NaN in epoch {epoch}; lower `training.learning_rate` (it was "
            f"{self.schedule.rate(epoch - 1):g}) or set `training.gradient_clip: 1.0`"
        )

    def ask(self) -> None:
        """End the member if its own cancellation is requested."""
        if self._cancellation is not None and self._cancellation.requested and self.error is None:
            self.error = CancelledError(self._cancellation.reason)

    @property
    def epochs(self) -> int:
        """The largest number of epochs."""
        return int(self.task.settings["epochs"])

    @property
    def over(self) -> bool:
        """True if the training has ended."""
        return self.error is not None or len(self.history) >= self.epochs or self.stopping.over


def generator(seed: int, purpose: int, device: Any = "cpu") -> Any:
    """Return a generator whose numbers are independent of those of another seed or purpose."""
    made = torch.Generator(device=device)
    # Philox and the Mersenne twister both mix a seed well; the multiplier keeps purposes apart for all 32-bit seeds.
    made.manual_seed(int(seed) * 4 + purpose)
    return made
