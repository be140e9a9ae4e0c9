"""Training of a stack: networks of one architecture in one program, each as if it were alone.

A step of a small network costs overhead, not arithmetic; a stack pays it once for all members. All members are in the
same epoch. Those with fewer batches rest at the end of an epoch, and those that are over leave the stack.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch

from ktrdr.ml.torch.control import Control, Snapshot, restore
from ktrdr.ml.torch.layout import BLOCK_VALUES
from ktrdr.ml.torch.membership_order import MembershipOrder, MembershipStack
from ktrdr.ml.torch.memberships import Memberships
from ktrdr.ml.torch.optimizers import clip, make_optimizer
from ktrdr.ml.torch.part_losses import PartLosses
from ktrdr.ml.torch.samples import Samples, gather
from ktrdr.ml.torch.stacked_networks import Batch, StackedNetwork
from ktrdr.ml.torch.training_member import TrainingMember

__all__ = ["Stack"]

# Features of some batches are gathered at once: for single batches the cost would be that of a small layer, and for the
# whole epoch the memory would be that of the features.
_BLOCK_BATCHES = 256
# Attributes with a row per member that a snapshot contains.
_ROWS = ("weights", "buffers", "best", "best_buffers")


class Stack:
    """Trains members of one architecture, and of settings that differ only in numbers.

    Args:
        members: to train.
        network: the stack of their networks.
        weights: float32 ``(members, size)`` before the first step, on the device.
        buffers: likewise, the tensors that are not learned.
        control: of the population.
        memberships: of the rules, if the members learn them.
        window: number of rows of a sample.
    """

    def __init__(
        self,
        members: Sequence[TrainingMember],
        network: StackedNetwork,
        weights: Any,
        buffers: Any,
        *,
        control: Control,
        memberships: Memberships | None = None,
        window: int = 1,
    ) -> None:
        # Those with fewer batches come last, so that the members of a step are always the first ones.
        order = sorted(range(len(members)), key=lambda number: -members[number].batches)
        self.members = [members[number] for number in order]
        self._network, self._window, self._control = network, window, control
        self._memberships = memberships
        self._weights, self._buffers = weights[order], buffers[order]
        task = self.members[0].task
        self._classifies, self._loss = task.output == "classification", self.members[0].loss
        settings = [member.task.settings for member in self.members]
        self._optimizer = make_optimizer(self._weights, settings, network.decayed)
        clips = [own["gradient_clip"] for own in settings]
        self._clip = None if clips[0] is None else self._column(clips)
        self._start = self._weights.clone() if memberships is not None else None
        # bfloat16 has the range of float32, so losses need no scaling.
        reduced = task.architecture.get("precision") == "bfloat16"
        self._precision = partial(torch.autocast, weights.device.type, torch.bfloat16) if reduced else nullcontext
        self._best, self._best_buffers = self._weights.clone(), self._buffers.clone()
        self._dropouts = network.dropouts(window)
        self._dropout_values = values = sum(math.prod(shape) for shape in self._dropouts)
        self._masks = [member.masks(values) for member in self.members] if values else []
        self._epoch, self._batch, self._begun = 0, 0, False
        self._compose()

    def _column(self, values: Sequence[float]) -> Any:
        return torch.tensor(values, dtype=torch.float32, device=self._weights.device).unsqueeze(1)

    def _compose(self) -> None:
        """Prepare what depends on which members are in the stack."""
        most, members = max((member.batches for member in self.members), default=0), len(self.members)
        # Of the present epoch: mean loss of each batch, and the number of correct predictions.
        self._losses, self._correct = np.zeros((most, members), np.float32), [0] * members
        # Loss, scores, labels and counted samples of each batch that is not counted yet.
        self._trained: list[tuple[Any, Any, Any, Any]] = []
        self._leaves: tuple[int, dict[str, Any], dict[str, Any]] | None = None
        self._order: MembershipOrder | None = None
        if not members:
            return
        judged = [(member.matrix, member.validation) for member in self.members]
        self._validation = None
        if len(judged[0][1]):
            self._validation = PartLosses(
                judged,
                loss=self._loss,
                classifies=self._classifies,
                width=self._network.width,
                window=self._window,
                ask=lambda: self._control.ask(self.snapshot),
            )
        if self._memberships is not None:
            ranges = [member.ranges() for member in self.members]
            lowest, highest = (list(chain.from_iterable(each)) for each in zip(*ranges, strict=True))
            self._order = MembershipOrder(self._functions(self._start), lowest, highest)

    def _functions(self, weights: Any) -> MembershipStack:
        assert self._memberships is not None
        prefix = "memberships."
        views = self._network.weights.views(weights)
        own = {name.removeprefix(prefix): view for name, view in views.items() if name.startswith(prefix)}
        return MembershipStack(self._memberships, own)

    def train(self) -> None:
        """Train until every member is over.

        Raises:
            CancelledError: the population was cancelled.
        """
        while self.members:
            if not self._begun:
                self._begin()
            self._train_batches()
            self._conclude()

    def _begin(self) -> None:
        for member in self.members:
            member.begin_epoch()
        self._begun = True

    def _train_batches(self) -> None:
        """Train the remaining batches of the present epoch."""
        self._optimizer.rates = self._column([member.schedule.rate(self._epoch) for member in self.members])
        while self._batch < len(self._losses):
            for member in self.members:
                member.ask()
            if self._all_failed:
                return
            active = sum(member.batches > self._batch for member in self.members)
            self._train_block(active, self._end_of_block(active))

    @property
    def _all_failed(self) -> bool:
        return all(member.error is not None for member in self.members)

    def _end_of_block(self, active: int) -> int:
        """Return the batch up to which the present members of a step stay the same, and features are gathered."""
        first = self.members[0]
        of_sample = max(self._window * first.description.input_size, self._dropout_values)
        values = active * first.batch_size * of_sample
        most = min(max(BLOCK_VALUES // values, 1), _BLOCK_BATCHES)
        ends = [masks.end_of_draw(self._batch) for masks in self._masks[:1]]
        return min(self._batch + most, self.members[active - 1].batches, *ends)

    def _train_block(self, active: int, end: int) -> None:
        members, at = self.members[:active], slice(self._batch, end)
        taken = [member.batches_at(at) for member in members]
        starts, labels = (torch.stack([getattr(own, name) for own in taken], 1) for name in ("starts", "labels"))
        sizes, counted = self._sizes(members, at)
        factors = self._factors(taken, counted)
        matrices = [member.matrix for member in members]
        x = self._network.prepare(gather(matrices, starts))
        weights, buffers = self._views(active)
        leaves = list(weights.values())
        masks = self._masks_at(active, at)
        for number in range(end - at.start):
            self._control.ask(self.snapshot)
            size = sizes[number]
            part = None if counted is None else counted[number].unsqueeze(2)
            batch = Batch(size.view(-1, 1, 1), part, [mask[number] for mask in masks])
            with self._precision():
                score = self._network.scores(weights, buffers, x[number], batch)
            score = score.float()
            each = self._loss(score, labels[number])
            if factors is not None:
                # Weights have mean 1 over all samples, so a batch of small weights makes a small step.
                each = each * factors[number]
            loss = each.sum(1) / size
            # The sum gives each member the gradient of its own loss. Gradients of the vector would be the same, but at
            # their first use torch imports its compiler, which takes seconds.
            gradients = torch.autograd.grad(loss.sum(), leaves)
            self._step(active, torch.cat([gradient.flatten(1) for gradient in gradients], 1))
            self._trained.append((loss.detach(), score.detach(), labels[number], part))
            share = (at.start + number + 1) / len(self._losses)
            self._control.after_batch(self.members, share, self.snapshot)
        self._count()

    def _sizes(self, members: Sequence[TrainingMember], at: slice) -> tuple[Any, Any]:
        """Return ``(batches, members)`` sizes, and which samples are no padding, or ``None`` if none is."""
        first, device = members[0], self._weights.device
        shape = (at.stop - at.start, len(members))
        sizes = torch.full(shape, float(first.batch_size))
        short = [
            (number, member.last_size)
            for number, member in enumerate(members)
            if member.last_size < member.batch_size and at.start < member.batches <= at.stop
        ]
        if not short:
            return sizes.to(device), None
        counted = torch.ones(*shape, first.batch_size)
        for number, size in short:
            last = members[number].batches - 1 - at.start
            sizes[last, number] = size
            counted[last, number, size:] = 0.0
        return sizes.to(device), counted.to(device)

    @staticmethod
    def _factors(taken: Sequence[Samples], counted: Any) -> Any:
        """Return factors ``(batches, members, samples)`` of the losses, or ``None`` if all are 1."""
        if all(own.weights is None for own in taken):
            return counted
        ones = torch.ones(taken[0].starts.shape, device=taken[0].starts.device)
        weights = torch.stack([ones if own.weights is None else own.weights for own in taken], 1)
        return weights if counted is None else weights * counted

    def _views(self, active: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the weights of the first members as leaves of a graph, and their buffers."""
        if self._leaves is None or self._leaves[0] != active:
            weights = self._network.weights.views(self._weights[:active])
            leaves = {name: view.detach().requires_grad_(True) for name, view in weights.items()}
            self._leaves = active, leaves, self._network.buffers.views(self._buffers[:active])
        return self._leaves[1], self._leaves[2]

    def _masks_at(self, active: int, at: slice) -> list[Any]:
        """Return the dropout masks of each layer, ``(batches, members, samples, ...)``, scaled."""
        own = self._masks[:active]
        if not own:
            return []
        kept = torch.stack([masks.kept(at.start, at.stop) for masks in own], 1)
        # As bytes, because torch converts booleans six times as slowly.
        scaled = kept.view(torch.uint8) * self._column([masks.scale for masks in own]).unsqueeze(2)
        sizes = [math.prod(shape) for shape in self._dropouts]
        parts = scaled.split(sizes, -1)
        return [part.unflatten(-1, shape) for part, shape in zip(parts, self._dropouts, strict=True)]

    @torch.no_grad()
    def _step(self, active: int, gradient: Any) -> None:
        if self._clip is not None:
            clip(gradient, self._clip[:active])
        batch = self._batch + len(self._trained) + 1
        count = [self._epoch * member.batches + batch for member in self.members[:active]]
        self._optimizer.step(self._weights[:active], gradient, count)
        if self._order is not None:
            self._order.restore(self._functions(self._weights))

    def _count(self) -> None:
        """Count the batches that were trained since the last call: one transfer from the device for all of them."""
        if not self._trained:
            return
        losses, scores, labels, counted = zip(*self._trained, strict=True)
        found = torch.stack(losses).cpu()
        stop, active = self._batch + len(found), found.shape[1]
        self._losses[self._batch : stop, :active] = found.numpy()
        for number in (~torch.isfinite(found).all(0)).nonzero().flatten().tolist():
            if self.members[number].error is None:
                self.members[number].refuse("training loss")
        if self._classifies:
            hits = torch.stack(scores).argmax(-1) == torch.stack(labels)
            if counted[0] is not None:
                hits &= torch.stack(counted).squeeze(-1) > 0
            for number, correct in enumerate(hits.sum((0, 2)).tolist()):
                self._correct[number] += correct
        self._batch = stop
        self._trained = []

    def snapshot(self) -> Snapshot:
        """Return the present state, between two batches."""
        self._count()
        tensors = {name: getattr(self, f"_{name}") for name in _ROWS}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self._optimizer.state.items()}
        starts = [member.epoch_start if self._begun else member.shuffle.get_state() for member in self.members]
        tensors["shuffle"] = torch.stack(starts)
        if self._masks:
            tensors["dropout"] = torch.stack(
                [
                    masks.state_at(min(self._batch, member.batches))
                    for masks, member in zip(self._masks, self.members, strict=True)
                ]
            )
        tensors["losses"] = torch.from_numpy(self._losses[: self._batch])
        # Everything is copied: the snapshot may be written long after the next step.
        numbers = {"epoch": self._epoch, "batch": self._batch, "begun": self._begun, "correct": list(self._correct)}
        return Snapshot(
            [member.number for member in self.members],
            {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()},
            numbers,
            [list(member.history) for member in self.members],
        )

    def resume(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot of the same members.

        Raises:
            KeyError, ValueError, RuntimeError, TypeError: the snapshot is not of such a stack.
        """
        tensors, numbers = snapshot.tensors, snapshot.numbers
        for name in _ROWS:
            restore(getattr(self, f"_{name}"), tensors[name])
        for name, tensor in self._optimizer.state.items():
            restore(tensor, tensors[f"optimizer.{name}"])
        for number, member in enumerate(self.members):
            # Cloned, because torch reads a state from the beginning of its memory, not of its row.
            member.shuffle.set_state(tensors["shuffle"][number].clone())
            for record in snapshot.histories[number]:
                member.recall(record)
        self._epoch, self._batch = int(numbers["epoch"]), int(numbers["batch"])
        self._correct = [int(correct) for correct in numbers["correct"]]
        self._losses[: self._batch] = tensors["losses"].numpy()
        if numbers["begun"]:
            self._begin()
        for number, masks in enumerate(self._masks):
            batch = min(self._batch, self.members[number].batches)
            masks.resume(tensors["dropout"][number].clone(), batch)

    def _conclude(self) -> None:
        """End the present epoch: judge the members, keep the best weights, and let those that are over leave."""
        validated: list[tuple[float, float]] | None = None
        if self._validation is not None and not self._all_failed:
            validated = self._validation.judge(self._forward)
        # Running variances overflow before the weights that they belong to.
        finite = (torch.isfinite(self._weights).all(1) & torch.isfinite(self._buffers).all(1)).tolist()
        improved: list[int] = []
        for number, member in enumerate(self.members):
            member.ask()
            if member.error is not None:
                continue
            metrics = member.train_metrics(self._losses[: member.batches, number], self._correct[number])
            if validated is not None:
                metrics |= member.named("val", *validated[number])
            if member.conclude(metrics, finite=finite[number]):
                improved.append(number)
        if improved:
            self._best[improved] = self._weights[improved]
            self._best_buffers[improved] = self._buffers[improved]
        self._epoch, self._batch, self._begun = self._epoch + 1, 0, False
        for masks in self._masks:
            masks.end_epoch()
        present = list(self.members)
        self._leave()
        self._control.after_epoch(present, self.snapshot if self.members else None)

    def _forward(self, x: Any, members: slice) -> Any:
        weights = self._network.weights.views(self._weights[members])
        buffers = self._network.buffers.views(self._buffers[members])
        return self._network.scores(weights, buffers, self._network.prepare(x))

    def _leave(self) -> None:
        """Hand over the members that are over."""
        staying = [number for number, member in enumerate(self.members) if not member.over]
        for number, member in enumerate(self.members):
            if member.over:
                self._control.end(member, self._tensors(number) if member.error is None else {})
        if len(staying) == len(self.members):
            self._correct = [0] * len(staying)
            return
        self.members = [self.members[number] for number in staying]
        self._masks = [self._masks[number] for number in staying] if self._masks else []
        for name in ("_weights", "_buffers", "_best", "_best_buffers", "_clip", "_start"):
            if (rows := getattr(self, name)) is not None:
                setattr(self, name, rows[staying])
        self._optimizer.keep(staying)
        self._compose()

    def _tensors(self, number: int) -> dict[str, Any]:
        return {
            **self._network.weights.tensors(self._best[number]),
            **self._network.buffers.tensors(self._best_buffers[number]),
        }
