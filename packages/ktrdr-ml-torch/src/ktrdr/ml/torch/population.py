"""Training of a population: its members are cut into stacks, which are trained one after another."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ktrdr.core.errors import BadInputError, CancelledError, one_line
from ktrdr.core.plugins import CheckpointWriter, Member, MemberOutcome
from ktrdr.core.work import Cancellation
from ktrdr.ml.torch.alternation import Alternation, start_consequents
from ktrdr.ml.torch.anfis import Anfis
from ktrdr.ml.torch.checkpoints import Finished, State, fingerprint, read_state, write_state
from ktrdr.ml.torch.control import Snapshot, Take
from ktrdr.ml.torch.determinism import repeatable
from ktrdr.ml.torch.reporting import Reporter
from ktrdr.ml.torch.samples import Matrix
from ktrdr.ml.torch.stack import Stack
from ktrdr.ml.torch.stack_plan import StackPlan, plan_stacks
from ktrdr.ml.torch.stacked_networks import stacked
from ktrdr.ml.torch.tensors import on_cpu
from ktrdr.ml.torch.torch_model import check_tensors, finished_model
from ktrdr.ml.torch.training_member import TrainingMember

__all__ = ["Population"]

_SECONDS_BETWEEN_QUESTIONS = 1.0
# A checkpoint of a population contains all its members: more of them would cost more than they save.
_SECONDS_BETWEEN_CHECKPOINTS = 2.0


class Unit(Protocol):
    """Members that are trained together."""

    def train(self) -> None:
        """Train until every member is over."""
        ...


class Population:
    """Trains members of one architecture; implements :class:`~ktrdr.ml.torch.control.Control`.

    Args:
        members: to train.
        device: of the training.
        memory: bytes that stacks may take; ``None`` for no limit.
        single: whether progress and checkpoints count epochs of the only member, not members.
        reporter: of progress.
        cancellation: see the plugin contract.
        checkpoint: see the plugin contract.
    """

    def __init__(
        self,
        members: Sequence[Member],
        device: Any,
        *,
        memory: int | None,
        single: bool,
        reporter: Reporter,
        cancellation: Cancellation,
        checkpoint: CheckpointWriter | None,
    ) -> None:
        self._members, self._device, self._memory = members, device, memory
        self._reporter, self._cancellation, self._checkpoint = reporter, cancellation, checkpoint
        self._single = single
        self._fingerprint = "" if checkpoint is None else fingerprint(members, device)
        self._outcomes: dict[int, MemberOutcome] = {}
        self._state = State()
        # Epochs of all stacks, and the member whose model was made last.
        self._passes = 0
        self._model_of: TrainingMember | None = None
        self._asked, self._saved = time.monotonic(), -math.inf
        self._matrices: dict[tuple[int, int], Matrix] = {}

    def train(self) -> list[MemberOutcome]:
        """Train all members and return their outcomes.

        Raises:
            CancelledError: the population was cancelled; a checkpoint was written.
            BadInputError: the memory does not suffice for one member, or the checkpoint does not fit.
        """
        plans = plan_stacks(self._members, self._device, self._memory)
        if self._checkpoint is not None and (latest := self._checkpoint.latest()) is not None:
            self._resume(latest)
        for plan in plans:
            waiting = [number for number in plan.members if number not in self._outcomes]
            # A plan whose stack was resumed may be left with a few members.
            if waiting:
                self._train_stack(plan, waiting)
        self._finish()
        return [self._outcomes[number] for number in range(len(self._members))]

    def _resume(self, directory: Path) -> None:
        """Take the finished members from a checkpoint, and train those that were trained when it was written."""
        self._state = read_state(directory, self._fingerprint)
        current, self._state.current = self._state.current, None
        with _reported_as_damage(directory):
            for number, finished in self._state.finished.items():
                member = TrainingMember(number, self._members[number], self._device, self._matrix)
                for record in finished.history:
                    member.recall(record)
                if finished.error is None:
                    check_tensors(member, finished.tensors)
                self._take(member, finished)
        if current is None:
            return
        with _reported_as_damage(directory):
            (plan,) = plan_stacks([self._members[number] for number in current.members], self._device, None)
        with repeatable(self._device, plan.threads):
            with _reported_as_damage(directory):
                members = [
                    TrainingMember(number, self._members[number], self._device, self._matrix)
                    for number in current.members
                ]
                unit = self._unit(plan, members, current)
            unit.train()

    def _train_stack(self, plan: StackPlan, numbers: Sequence[int]) -> None:
        with repeatable(self._device, plan.threads):
            members = [member for number in numbers if (member := self._prepare(number)) is not None]
            if members:
                self._unit(plan, members, None).train()

    def _unit(self, plan: StackPlan, members: Sequence[TrainingMember], snapshot: Snapshot | None) -> Unit:
        """Return the training of some members of a plan, at its start or at ``snapshot``."""
        if plan.alternates:
            (member,) = members
            network: Any = plan.network()
            member.initialize(network)
            return Alternation(member, network.to(self._device), self, snapshot)
        stack = self._stack(plan, members, started=snapshot is not None)
        if snapshot is not None:
            stack.resume(snapshot)
        return stack

    def _prepare(self, number: int) -> TrainingMember | None:
        """Return the member, or ``None`` if it cannot be trained: the reason is its outcome."""
        try:
            return TrainingMember(number, self._members[number], self._device, self._matrix)
        except BadInputError as error:
            self._outcomes[number] = error
            return None

    def _matrix(self, features: np.ndarray, window: int) -> Matrix:
        """Return the features on the device; members with the same array share them."""
        key = id(features), window
        if key not in self._matrices:
            self._matrices[key] = Matrix(features, window, self._device)
        return self._matrices[key]

    def _stack(self, plan: StackPlan, members: Sequence[TrainingMember], *, started: bool) -> Stack:
        network = plan.network()
        kind = stacked(network)
        weights, buffers = [], []
        for member in members:
            member.initialize(network)
            if isinstance(network, Anfis) and not started:
                network.to(self._device)
                start_consequents(member, network, lambda: self.ask(None))
                network.to("cpu")
            state = network.state_dict()
            weights.append(kind.weights.row(state))
            buffers.append(kind.buffers.row(state))
        memberships = network.memberships if isinstance(network, Anfis) and network.learns_memberships else None
        return Stack(
            members,
            kind,
            torch.stack(weights).to(self._device),
            torch.stack(buffers).to(self._device),
            control=self,
            memberships=memberships,
            window=members[0].description.window,
        )

    def ask(self, take: Take | None) -> None:
        """Raise an error if the population was cancelled, after a checkpoint."""
        if not self._cancellation.requested:
            return
        # Before the first step there is no state to save.
        if take is not None or self._state.finished:
            self._save(take)
        self._cancellation.raise_if_requested()

    def after_batch(self, members: Sequence[TrainingMember], share: float, take: Take) -> None:
        """Report the batch, and write a checkpoint if an epoch takes long."""
        now = time.monotonic()
        if self._reporter.due(now):
            self._report(now, members, share)
        if now - self._asked >= _SECONDS_BETWEEN_QUESTIONS:
            self._asked = now
            self._save_if_due(now, members, take)

    def after_epoch(self, members: Sequence[TrainingMember], take: Take | None) -> None:
        """Report the epoch, and write a checkpoint if it is due."""
        self._passes += 1
        now = time.monotonic()
        if self._single or self._reporter.due(now):
            self._reporter.metrics = _mean([member.history[-1].metrics for member in members if member.history])
        self._report(now, members, 0.0)
        self._save_if_due(now, members, take)

    def end(self, member: TrainingMember, tensors: Mapping[str, Any]) -> None:
        """Make a model of the best weights, or take the error as the outcome."""
        error = member.error
        finished = Finished(
            on_cpu(tensors),
            list(member.history),
            member.stopping.best_epoch,
            None if error is None else str(error),
            isinstance(error, CancelledError),
        )
        self._state.finished[member.number] = finished
        self._take(member, finished)

    def _take(self, member: TrainingMember, finished: Finished) -> None:
        if finished.error is not None:
            kind = CancelledError if finished.cancelled else BadInputError
            self._outcomes[member.number] = kind(finished.error)
            return
        self._model_of = member
        self._outcomes[member.number] = finished_model(
            member, finished.tensors, finished.history, finished.best_epoch, self._device
        )

    def _report(self, now: float, members: Sequence[TrainingMember], share: float) -> None:
        if self._single:
            self._reporter.report(now, len(members[0].history), share)
            return
        parts = [(len(member.history) + share) / member.epochs for member in members if not member.over]
        self._reporter.report(now, len(self._outcomes), sum(min(part, 1.0) for part in parts))

    def _finish(self) -> None:
        if not self._single:
            self._reporter.finish(len(self._members), "")
        elif self._model_of is not None:
            done = len(self._model_of.history)
            reason = "stopped early" if self._model_of.stopping.over else "nothing left to learn"
            self._reporter.finish(done, reason if done < self._model_of.epochs else "")

    def _save_if_due(self, now: float, members: Sequence[TrainingMember], take: Take | None) -> None:
        if self._checkpoint is None or (not self._single and now - self._saved < _SECONDS_BETWEEN_CHECKPOINTS):
            return
        epoch = len(members[0].history) if self._single else self._passes
        if self._checkpoint.due(epoch):
            self._save(take)

    def _save(self, take: Take | None) -> None:
        if self._checkpoint is None:
            return
        state = State(self._state.finished, None if take is None else take())
        passes = self._passes
        if self._single:
            passes = len(state.current.histories[0]) if state.current else len(self._state.finished[0].history)
        self._checkpoint.save(passes, lambda directory: write_state(directory, state, self._fingerprint))
        self._saved = time.monotonic()


def _mean(records: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the means of the metrics of several members."""
    if not records:
        return {}
    return {name: sum(record[name] for record in records) / len(records) for name in records[0]}


@contextmanager
def _reported_as_damage(directory: Path) -> Iterator[None]:
    """Turn what a checkpoint of another shape raises into an error for a person."""
    try:
        yield
    except (KeyError, ValueError, RuntimeError, TypeError, IndexError) as error:
        reason = one_line(error).rstrip(".")
        raise BadInputError(
            f"the checkpoint in {directory} cannot be resumed: {reason}; train without resuming to start again"
        ) from error
