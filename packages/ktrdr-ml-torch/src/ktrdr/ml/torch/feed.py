"""The batches of a stack: features, labels, weights and dropout masks of its members, step by step.

Everything is gathered for some batches at once: for single ones a call would cost as much as a small layer, and a whole
epoch would not stay in the caches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ktrdr.ml.torch.layout import BLOCK_VALUES
from ktrdr.ml.torch.masks import Masks
from ktrdr.ml.torch.samples import gather
from ktrdr.ml.torch.scratch import Scratch
from ktrdr.ml.torch.stacked_networks import Batch, StackedNetwork
from ktrdr.ml.torch.training_member import TrainingMember

__all__ = ["Feed", "Step"]

# Of all members together: samples whose labels are gathered at once, and values of their features. Features of several
# matrices need calls for each member, which cost more than features that leave the nearest cache.
_SAMPLES, _FEATURES, _FEATURES_APART = 1 << 17, 1 << 17, BLOCK_VALUES
# Bytes of the masks that are put side by side at once.
_MASKS = 4 * BLOCK_VALUES


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A batch of the first members of a stack.

    Attributes:
        x: features ``(members, samples, ..., inputs)``.
        labels: ``(members, samples)``.
        sizes: float32 ``(members,)``, the number of samples that count.
        factors: float32 ``(members, samples)`` of the losses, or ``None`` if all are 1.
        batch: what the network needs to know.
    """

    x: Any
    labels: Any
    sizes: Any
    factors: Any
    batch: Batch


class Feed:
    """Gathers batches; see :meth:`step`.

    Args:
        members: of the stack, those with more batches first.
        masks: of each member, or empty without dropout.
        network: of the members.
        window: number of rows of a sample.
        device: of the training.
    """

    def __init__(
        self,
        members: Sequence[TrainingMember],
        masks: Sequence[Masks],
        network: StackedNetwork,
        window: int,
        device: Any,
    ) -> None:
        self._members, self._masks, self._network, self._device = members, masks, network, device
        self._dropouts = network.dropouts(window)
        self._dropout_sizes = [math.prod(shape) for shape in self._dropouts]
        self._of_sample = window * members[0].description.input_size
        self._scratch = Scratch(device)
        self._alike = all(member.train.shares(members[0].train) for member in members)
        self._apart = any(member.matrix is not members[0].matrix for member in members)
        self.forget()

    def forget(self) -> None:
        """Forget what was gathered: the members begin another epoch."""
        # Batches that were gathered: numbers and labels, features, and masks.
        self._taken = self._gathered = self._kept = range(0)

    def step(self, number: int, active: int) -> Step:
        """Return the batch ``number`` of the first ``active`` members.

        Its tensors are valid until the next call.
        """
        if number not in self._taken:
            self._take(number, active)
        if number not in self._gathered:
            self._gather(number, active)
        at = number - self._taken.start
        counted = None if self._counted is None else self._counted[at]
        return Step(
            self._x[number - self._gathered.start],
            self._labels[at],
            self._sizes[at],
            None if self._factors is None else self._factors[at],
            Batch(
                self._sizes[at].view(-1, 1, 1),
                None if counted is None else counted.unsqueeze(2),
                self._masks_at(number, active),
            ),
        )

    def _take(self, first: int, active: int) -> None:
        """Gather the numbers of the samples, their labels and weights."""
        members = self._members[:active]
        samples = active * members[0].batch_size
        # The members of a step stay the same up to the end of the last one.
        self._taken = range(first, min(first + max(_SAMPLES // samples, 1), members[-1].batches))
        at = slice(self._taken.start, self._taken.stop)
        chosen = [member.batches_at(at) for member in members]
        self._starts, self._labels = (self._chosen(name, chosen) for name in ("starts", "labels"))
        self._sizes, self._counted = self._counts(members)
        self._factors = self._counted
        if any(member.train.weights is not None for member in members):
            self._factors = self._chosen("weights", chosen)
            if self._counted is not None:
                self._factors = self._factors * self._counted

    def _chosen(self, name: str, chosen: list[Any]) -> Any:
        """Return ``(batches, members, samples)`` of the members' samples; weights are 1 where there are none."""
        own = [getattr(member.train, name) for member in self._members[: len(chosen)]]
        if self._alike:
            return _at(own[0], torch.stack(chosen, 1))
        ones = torch.ones(chosen[0].shape, device=self._device)
        return torch.stack([ones if each is None else _at(each, at) for each, at in zip(own, chosen, strict=True)], 1)

    def _counts(self, members: Sequence[TrainingMember]) -> tuple[Any, Any]:
        """Return ``(batches, members)`` sizes, and which samples are no padding, or ``None`` if none is."""
        first = members[0]
        shape = (len(self._taken), len(members))
        sizes = torch.full(shape, float(first.batch_size))
        short = [
            (number, member.batches - 1, member.last_size)
            for number, member in enumerate(members)
            if member.last_size < member.batch_size and member.batches - 1 in self._taken
        ]
        if not short:
            return sizes.to(self._device), None
        counted = torch.ones(*shape, first.batch_size)
        for number, last, size in short:
            sizes[last - self._taken.start, number] = size
            counted[last - self._taken.start, number, size:] = 0.0
        return sizes.to(self._device), counted.to(self._device)

    def _gather(self, first: int, active: int) -> None:
        """Gather the features."""
        values = active * self._members[0].batch_size * self._of_sample
        most = max((_FEATURES_APART if self._apart else _FEATURES) // values, 1)
        self._gathered = range(first, min(first + most, self._taken.stop))
        starts = self._starts[first - self._taken.start : self._gathered.stop - self._taken.start]
        matrices = [member.matrix for member in self._members[:active]]
        self._x = gather(matrices, starts, self._network.inputs, self._scratch)

    def _masks_at(self, number: int, active: int) -> list[Any]:
        """Return the dropout masks of each layer, ``(members, samples, ...)``, scaled."""
        own = self._masks[:active]
        if not own:
            return []
        samples, values = self._members[0].batch_size, sum(self._dropout_sizes)
        if number not in self._kept:
            most = max(_MASKS // (active * samples * values), 1)
            self._kept = range(number, min(number + most, own[0].end_of_draw(number), self._taken.stop))
            side_by_side = self._scratch.tensor("kept", (len(self._kept), active, samples, values), torch.bool)
            drawn = [masks.kept(self._kept.start, self._kept.stop) for masks in own]
            self._side_by_side = torch.stack(drawn, 1, out=side_by_side)
            self._scales = torch.tensor([masks.scale for masks in own], device=self._device).view(-1, 1, 1)
        # As bytes, because torch converts booleans six times as slowly.
        parts = self._side_by_side[number - self._kept.start].view(torch.uint8).split(self._dropout_sizes, -1)
        found = []
        for layer, (part, shape) in enumerate(zip(parts, self._dropouts, strict=True)):
            scaled = self._scratch.tensor(f"mask {layer}", tuple(part.shape)).copy_(part).mul_(self._scales)
            found.append(scaled.unflatten(-1, shape))
        return found


def _at(values: Any, numbers: Any) -> Any:
    """Return ``values[numbers]``, in half the time."""
    return values.index_select(0, numbers.flatten()).view(numbers.shape)
