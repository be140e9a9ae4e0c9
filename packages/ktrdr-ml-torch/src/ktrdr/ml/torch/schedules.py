"""Learning rate schedules and early stopping. Their state follows from the history of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from ktrdr.core.errors import BadInputError

__all__ = ["EarlyStopping", "Schedule", "make_schedule"]


class Schedule(Protocol):
    """A learning rate for each epoch."""

    def rate(self, epoch: int) -> float:
        """Return the rate of ``epoch``, from 0."""
        ...

    def update(self, loss: float) -> None:
        """Take the ``loss`` of the finished epoch into account."""
        ...


class _Constant:
    def __init__(self, rate: float) -> None:
        self._rate = rate

    def rate(self, epoch: int) -> float:
        return self._rate

    def update(self, loss: float) -> None:
        pass


class _Step(_Constant):
    def __init__(self, rate: float, *, step_size: int, gamma: float) -> None:
        super().__init__(rate)
        self._step_size, self._gamma = step_size, gamma

    def rate(self, epoch: int) -> float:
        return self._rate * self._gamma ** (epoch // self._step_size)


class _Exponential(_Constant):
    def __init__(self, rate: float, *, gamma: float) -> None:
        super().__init__(rate)
        self._gamma = gamma

    def rate(self, epoch: int) -> float:
        return self._rate * self._gamma**epoch


class _Cosine(_Constant):
    """Half a cosine wave from the learning rate in the first epoch to ``min_lr`` in the last."""

    def __init__(self, rate: float, *, epochs: int, min_lr: float) -> None:
        super().__init__(rate)
        self._last, self._min_lr = max(epochs - 1, 1), min_lr

    def rate(self, epoch: int) -> float:
        return self._min_lr + (self._rate - self._min_lr) * (1 + math.cos(math.pi * epoch / self._last)) / 2


class _ReduceOnPlateau(_Constant):
    """Multiplies the rate by ``factor`` after more than ``patience`` epochs without improvement.

    An improvement is a loss that is lower than the best one by a share of more than ``threshold``.
    """

    def __init__(self, rate: float, *, factor: float, patience: int, threshold: float, min_lr: float) -> None:
        super().__init__(rate)
        self._factor, self._patience, self._threshold, self._min_lr = factor, patience, threshold, min_lr
        self._best, self._waited = math.inf, 0

    def update(self, loss: float) -> None:
        if loss < self._best * (1 - self._threshold):
            self._best, self._waited = loss, 0
            return
        self._waited += 1
        if self._waited > self._patience:
            self._rate, self._waited = max(self._rate * self._factor, self._min_lr), 0


def make_schedule(settings: Mapping[str, Any]) -> Schedule:
    """Return the schedule that ``settings["lr_scheduler"]`` describes.

    Raises:
        BadInputError: ``min_lr`` is above the learning rate.
    """
    rate = settings["learning_rate"]
    scheduler = settings["lr_scheduler"]
    if scheduler is None:
        return _Constant(rate)
    parameters = scheduler["parameters"]
    if parameters.get("min_lr", 0.0) > rate:
        raise BadInputError(
            f"`training.lr_scheduler.min_lr` ({parameters['min_lr']:g}) is above `training.learning_rate` ({rate:g})"
        )
    match scheduler["type"]:
        case "step":
            return _Step(rate, **parameters)
        case "exponential":
            return _Exponential(rate, **parameters)
        case "cosine":
            return _Cosine(rate, epochs=settings.get("schedule_epochs", settings["epochs"]), **parameters)
        case _:
            return _ReduceOnPlateau(rate, **parameters)


class EarlyStopping:
    """Finds the best epoch, and stops the training after ``patience`` epochs without improvement.

    The best epoch is the first with the best value of the monitored metric. Without ``early_stopping`` that is the
    validation loss, or the training loss without a validation part. An improvement is a change of more than
    ``min_delta``. With ``keep_last`` the best epoch is the last one.

    Raises:
        BadInputError: the monitored metric is not available: it needs validation samples, or classes.
    """

    def __init__(self, settings: Mapping[str, Any], *, validates: bool, classifies: bool) -> None:
        stopping = settings["early_stopping"]
        self.monitor: str = stopping["monitor"] if stopping else "val_loss" if validates else "train_loss"
        if self.monitor.startswith("val_") and not validates:
            raise BadInputError(
                f"`training.early_stopping`: `{self.monitor}` needs validation samples and there are none; "
                "raise `training.data_split.validation`, or monitor `train_loss`"
            )
        if self.monitor.endswith("accuracy") and not classifies:
            raise BadInputError(
                f"`training.early_stopping.monitor: {self.monitor}` is for classification; monitor `val_loss` or "
                "`train_loss`"
            )
        self._sign = -1.0 if self.monitor.endswith("accuracy") else 1.0
        self._patience = stopping["patience"] if stopping else None
        self._min_delta = stopping["min_delta"] if stopping else 0.0
        self._keep_last = bool(settings.get("keep_last", False))
        self._best = self._reference = math.inf
        self._waited = 0
        self.best_epoch = 0

    def update(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Record the metrics of ``epoch`` (from 1); return True if it is the best so far."""
        value = self._sign * metrics[self.monitor]
        if value < self._reference - self._min_delta:
            self._reference, self._waited = value, 0
        else:
            self._waited += 1
        if value < self._best or self._keep_last:
            self._best, self.best_epoch = value, epoch
            return True
        return False

    @property
    def over(self) -> bool:
        """True if the training should stop."""
        return self._patience is not None and self._waited >= self._patience
