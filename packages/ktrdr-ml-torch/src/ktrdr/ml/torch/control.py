"""What a training unit of a population (a stack, or a member with least squares) reports to, and its state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ktrdr.core.plugins import EpochRecord
from ktrdr.ml.torch.training_member import TrainingMember

__all__ = ["Control", "Snapshot", "Take", "restore"]


@dataclass(slots=True)
class Snapshot:
    """The state of a unit between two batches.

    Attributes:
        members: numbers of its members in the population.
        tensors: by name, on the CPU.
        numbers: JSON-ready.
        histories: the finished epochs of each member.
    """

    members: list[int]
    tensors: dict[str, Any]
    numbers: dict[str, Any]
    histories: list[list[EpochRecord]]


Take = Callable[[], Snapshot]
"""Returns the present state of a unit."""


class Control(Protocol):
    """What a unit reports to, and asks whether it should go on."""

    def ask(self, take: Take | None) -> None:
        """Raise :class:`~ktrdr.core.errors.CancelledError` if it is requested, after the state was taken.

        ``take`` is ``None`` before the first step, when there is nothing to save.
        """
        ...

    def after_batch(self, members: Sequence[TrainingMember], share: float, take: Take) -> None:
        """Report that a ``share`` of the members' present epoch is complete."""
        ...

    def after_epoch(self, members: Sequence[TrainingMember], take: Take | None) -> None:
        """Report a complete epoch; ``take`` is ``None`` if no member is left."""
        ...

    def end(self, member: TrainingMember, tensors: Mapping[str, Any]) -> None:
        """Take the best weights and buffers of a member that is over; empty if it ended with an error."""
        ...


def restore(tensor: Any, values: Any) -> None:
    """Set ``tensor`` to ``values``, which must have its shape."""
    if tensor.shape != values.shape:
        raise ValueError(f"a tensor has the shape {tuple(values.shape)}, not {tuple(tensor.shape)}")
    tensor.copy_(values)
