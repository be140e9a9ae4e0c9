"""Training of a stack: networks of one architecture in one program, each as if it were alone.

A step of a small network costs overhead, not arithmetic; a stack pays it once for all members. All members are in the
same epoch. Those with fewer batches rest at the end of an epoch, and those that are over leave the stack.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch

from ktrdr.ml.torch.control import Control, Snapshot, restore
from ktrdr.ml.torch.feed import Feed
from ktrdr.ml.torch.gradients import make_gradients
from ktrdr.ml.torch.membership_order import MembershipOrder, MembershipStack
from ktrdr.ml.torch.memberships import Memberships
from ktrdr.ml.torch.optimizers import clip, make_optimizer
from ktrdr.ml.torch.part_losses import PartLosses
from ktrdr.ml.torch.scratch import Scratch
from ktrdr.ml.torch.stacked_networks import StackedNetwork
from ktrdr.ml.torch.training_member import TrainingMember

__all__ = ["Stack"]

# Losses and correct predictions of so many batches are counted at once.
_BATCHES_BETWEEN_COUNTS = 32
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
        precision = partial(torch.autocast, weights.device.type, torch.bfloat16) if reduced else None
        self._gradients = make_gradients(network, self._loss, weights.device, precision)
        self._best, self._best_buffers = self._weights.clone(), self._buffers.clone()
        values = sum(math.prod(shape) for shape in network.dropouts(window))
        self._masks = [member.masks(values) for member in self.members] if values else []
        self._scratch = Scratch(weights.device)
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
        self._feed = Feed(self.members, self._masks, self._network, self._window, self._weights.device)
        judged = [(member.matrix, member.validation) for member in self.members]
        self._validation = None
        if len(judged[0][1]):
            self._validation = PartLosses(
                judged,
                loss=self._loss,
                classifies=self._classifies,
                inputs=self._network.inputs,
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
        self._feed.forget()
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
            last = self.members[active - 1].batches
            self._train_some(active, min(self._batch + _BATCHES_BETWEEN_COUNTS, last))

    @property
    def _all_failed(self) -> bool:
        return all(member.error is not None for member in self.members)

    def _train_some(self, active: int, end: int) -> None:
        """Train the first members up to the batch ``end``."""
        weights, buffers = self._views(active)
        for number in range(self._batch, end):
            self._control.ask(self.snapshot)
            step = self._feed.step(number, active)
            loss, score, gradients = self._gradients(weights, buffers, step)
            flat = self._scratch.tensor("gradient", (active, self._network.weights.size))
            self._step(active, torch.cat([gradient.flatten(1) for gradient in gradients], 1, out=flat))
            self._trained.append((loss, score, step.labels, step.batch.counted))
            self._control.after_batch(self.members, (number + 1) / len(self._losses), self.snapshot)
        self._count()

    def _views(self, active: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the weights of the first members as leaves of a graph, and their buffers."""
        if self._leaves is None or self._leaves[0] != active:
            weights = self._network.weights.views(self._weights[:active])
            leaves = {name: view.detach().requires_grad_(True) for name, view in weights.items()}
            self._leaves = active, leaves, self._network.buffers.views(self._buffers[:active])
        return self._leaves[1], self._leaves[2]

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
            for batch, part in enumerate(counted):
                if part is not None:
                    hits[batch] &= part.squeeze(-1) > 0
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
        return self._network.scores(weights, buffers, x)

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
