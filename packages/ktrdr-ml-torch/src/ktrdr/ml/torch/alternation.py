"""Training of rules whose consequents are solved for by least squares (Jang 1993), one member at a time.

An epoch takes one step of the optimizer for the memberships, if they are learned, and solves for the consequents. That
is arithmetic rather than overhead, so that a stack of members would gain nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ktrdr.ml.torch.anfis import Anfis
from ktrdr.ml.torch.consequents import ConsequentSolver
from ktrdr.ml.torch.control import Control, Snapshot, restore
from ktrdr.ml.torch.layout import Layout, Place
from ktrdr.ml.torch.membership_order import MembershipOrder, MembershipStack
from ktrdr.ml.torch.optimizers import Optimizer, clip, make_optimizer
from ktrdr.ml.torch.part_losses import PartLosses, block_rows
from ktrdr.ml.torch.samples import Samples
from ktrdr.ml.torch.tensors import on_cpu
from ktrdr.ml.torch.training_member import TrainingMember

__all__ = ["Alternation", "start_consequents"]

# With least squares only: training ends when an epoch lowers the loss by a smaller share than this.
_LEAST_GAIN = 1e-7


def _solver_of(member: TrainingMember, network: Anfis, ask: Callable[[], None]) -> ConsequentSolver:
    return ConsequentSolver(
        network,
        member.matrix,
        member.train,
        loss=member.loss,
        settings=member.task.settings,
        output=member.task.output,
        ask=ask,
    )


def start_consequents(member: TrainingMember, network: Anfis, ask: Callable[[], None]) -> ConsequentSolver:
    """Set the consequents of ``network`` to a least-squares solution, and return its solver.

    Args:
        member: to train.
        network: its network, initialized, on the device.
        ask: called before every block of samples; it may raise.
    """
    network.eval()
    solver = _solver_of(member, network, ask)
    validates = len(member.validation) > 0
    judged = _losses_of(member, network, member.validation if validates else member.train, ask)
    solver.start(lambda: judged.judge(_forward(network))[0][0], validates=validates)
    return solver


def _losses_of(member: TrainingMember, network: Anfis, samples: Samples, ask: Callable[[], None]) -> PartLosses:
    return PartLosses(
        [(member.matrix, samples)],
        loss=member.loss,
        classifies=member.task.output == "classification",
        inputs=member.description.input_size,
        width=network.width,
        window=1,
        ask=ask,
    )


def _forward(network: Anfis) -> Callable[[Any, slice], Any]:
    return lambda x, members: network(x[0]).unsqueeze(0)


class Alternation:
    """Trains one member.

    Args:
        member: to train.
        network: its network, initialized, on the device.
        control: of the population.
        snapshot: the state to continue from; ``None`` to start.

    Raises:
        KeyError, ValueError, RuntimeError, TypeError: the snapshot is not of such a training.
        CancelledError: the population was cancelled.
    """

    def __init__(self, member: TrainingMember, network: Anfis, control: Control, snapshot: Snapshot | None) -> None:
        self._member, self._network, self._control = member, network, control
        network.consequents.requires_grad_(False)
        self._learned = dict(network.memberships.named_parameters())
        self._layout = Layout(
            Place(name, tuple(tensor.shape), tuple(tensor.shape)) for name, tensor in self._learned.items()
        )
        self._row = self._layout.row(self._learned).unsqueeze(0).to(network.center.device)
        self._optimizer: Optimizer | None = None
        if self._learned:
            self._optimizer = make_optimizer(self._row, [member.task.settings], slice(0, 0))
            functions = {name: tensor.detach()[None, None] for name, tensor in self._learned.items()}
            self._functions = MembershipStack(network.memberships, functions)
            self._order = MembershipOrder(self._functions, *member.ranges())
        self._best: dict[str, Any] = {}
        # Whether the memberships have taken the step of the present epoch; the consequents before their solution.
        self._stepped = False
        self._unsolved: Any = None
        # The first solution is kept whole, not in parts: there is no state to save before its end.
        self._started = False
        self._solver = start_consequents(member, network, self._ask) if snapshot is None else self._resumed(snapshot)
        self._started = True
        network.eval()
        self._training = _losses_of(member, network, member.train, self._ask)
        self._validation = None
        if len(member.validation):
            self._validation = _losses_of(member, network, member.validation, self._ask)

    def _ask(self) -> None:
        self._control.ask(self.snapshot if self._started else None)

    def train(self) -> None:
        """Train until the member is over.

        Raises:
            CancelledError: the population was cancelled.
        """
        member = self._member
        while True:
            member.ask()
            if not self._over:
                self._epoch()
            if over := self._over:
                self._control.end(member, self._best if member.error is None else {})
            self._control.after_epoch([member], None if over else self.snapshot)
            if over:
                return

    @property
    def _over(self) -> bool:
        return self._member.over or self._solved

    @property
    def _solved(self) -> bool:
        """True if only consequents are learned, and further epochs would not improve them."""
        history = self._member.history
        if self._optimizer is not None or not history:
            return False
        losses = [record.metrics["train_loss"] for record in history[-2:]]
        return self._solver.exact or (len(losses) == 2 and losses[0] - losses[1] <= _LEAST_GAIN * abs(losses[0]))

    def _epoch(self) -> None:
        member, network = self._member, self._network
        if self._optimizer is not None and not self._stepped:
            self._step_memberships(self._optimizer)
        self._stepped = True
        self._unsolved = network.consequents.detach().clone()
        if not self._solver.step(moved=self._optimizer is not None):
            member.refuse("memberships")
            return
        metrics = member.named("train", *self._training.judge(_forward(network))[0])
        if self._validation is not None:
            metrics |= member.named("val", *self._validation.judge(_forward(network))[0])
        finite = all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters())
        if member.conclude(metrics, finite=finite, with_rate=self._optimizer is not None):
            self._best = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        self._stepped, self._unsolved = False, None

    def _step_memberships(self, optimizer: Optimizer) -> None:
        """Take one step along the gradient of all training samples, for which the consequents are optimal."""
        member, samples, rows = self._member, self._member.train, block_rows(self._network.width, 1)
        parameters = list(self._learned.values())
        total = torch.zeros_like(self._row)
        for start in range(0, len(samples), rows):
            self._ask()
            at = slice(start, start + rows)
            losses = member.loss(self._network(member.matrix.gather(samples.starts[at])), samples.labels[at])
            if samples.weights is not None:
                losses = losses * samples.weights[at]
            gradients = torch.autograd.grad(losses.sum() / len(samples), parameters)
            total += torch.cat([gradient.flatten() for gradient in gradients])
        if (largest := member.task.settings["gradient_clip"]) is not None:
            clip(total, largest)
        epoch = len(member.history)
        optimizer.rates = torch.full_like(self._row[:, :1], member.schedule.rate(epoch))
        optimizer.step(self._row, total, [epoch + 1])
        self._spread()
        self._order.restore(self._functions)
        self._row.copy_(self._layout.row(self._learned))

    @torch.no_grad()
    def _spread(self) -> None:
        for name, tensor in self._layout.tensors(self._row[0]).items():
            self._learned[name].copy_(tensor)

    def snapshot(self) -> Snapshot:
        """Return the present state."""
        network = self._network.state_dict()
        if self._unsolved is not None:
            # The resumed run solves for them again, so the state contains those from before the solution.
            network = {**network, "consequents": self._unsolved}
        tensors = {f"network.{name}": tensor for name, tensor in network.items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        if self._optimizer is not None:
            tensors |= {f"optimizer.{name}": tensor for name, tensor in self._optimizer.state.items()}
        tensors["ridge"] = torch.tensor(self._solver.ridge, dtype=torch.float64)
        return Snapshot(
            [self._member.number], on_cpu(tensors), {"stepped": self._stepped}, [list(self._member.history)]
        )

    def _resumed(self, snapshot: Snapshot) -> ConsequentSolver:
        groups: dict[str, dict[str, Any]] = {"network": {}, "best": {}, "optimizer": {}, "ridge": {}}
        for name, tensor in snapshot.tensors.items():
            group, _, rest = name.partition(".")
            groups[group][rest] = tensor
        self._network.load_state_dict(groups["network"])
        device = self._network.center.device
        self._best = {name: tensor.to(device) for name, tensor in groups["best"].items()}
        if self._optimizer is not None:
            self._row.copy_(self._layout.row(self._learned))
            for name, tensor in self._optimizer.state.items():
                restore(tensor, groups["optimizer"][name])
        for record in snapshot.histories[0]:
            self._member.recall(record)
        self._stepped = bool(snapshot.numbers["stepped"])
        solver = _solver_of(self._member, self._network, self._ask)
        solver.ridge = float(groups["ridge"][""])
        return solver
