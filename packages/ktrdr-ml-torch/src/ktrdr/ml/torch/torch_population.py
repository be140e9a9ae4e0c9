"""Training of a population: its members are cut into stacks, which are trained in a thread for each core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ktrdr.core.errors import BadInputError, CancelledError, one_line
from ktrdr.core.plugins import CheckpointWriter, Member, MemberOutcome, Resources
from ktrdr.core.work import Cancellation
from ktrdr.ml.torch.alternation import Alternation, start_consequents
from ktrdr.ml.torch.anfis import Anfis
from ktrdr.ml.torch.checkpoints import State, fingerprint, read_state
from ktrdr.ml.torch.control import Snapshot
from ktrdr.ml.torch.determinism import repeatable
from ktrdr.ml.torch.population_keeper import Keeper, UnitControl
from ktrdr.ml.torch.reporting import Reporter
from ktrdr.ml.torch.samples import Matrix
from ktrdr.ml.torch.stack import Stack
from ktrdr.ml.torch.stack_plan import StackPlan, plan_stacks
from ktrdr.ml.torch.stacked_networks import stacked
from ktrdr.ml.torch.torch_model import check_tensors
from ktrdr.ml.torch.training_member import TrainingMember

__all__ = ["Population"]


class Unit(Protocol):
    """Members that are trained together."""

    def train(self) -> None:
        """Train until every member is over."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """Members to train together, from their start or from a snapshot in the checkpoint ``directory``."""

    plan: StackPlan
    numbers: Sequence[int]
    snapshot: Snapshot | None = None
    directory: Path | None = None


class Population:
    """Trains members of one architecture.

    Args:
        members: to train.
        device: of the training.
        resources: that stacks may take; ``None`` for a single training.
        reporter: of progress, in epochs for a single training, else in members.
        cancellation: see the plugin contract.
        checkpoint: see the plugin contract.
    """

    def __init__(
        self,
        members: Sequence[Member],
        device: Any,
        *,
        resources: Resources | None,
        reporter: Reporter,
        cancellation: Cancellation,
        checkpoint: CheckpointWriter | None,
    ) -> None:
        self._members, self._device, self._resources = members, device, resources
        self._cancellation, self._checkpoint = cancellation, checkpoint
        self._fingerprint = "" if checkpoint is None else fingerprint(members, device)
        self._keeper = Keeper(
            len(members),
            device,
            single=resources is None,
            reporter=reporter,
            cancellation=cancellation,
            checkpoint=checkpoint,
            fingerprint=self._fingerprint,
        )
        self._matrices: dict[tuple[int, int], Matrix] = {}

    def train(self) -> list[MemberOutcome]:
        """Train all members and return their outcomes.

        Raises:
            CancelledError: the population was cancelled; a checkpoint was written.
            BadInputError: the memory does not suffice for one member, or the checkpoint does not fit.
        """
        plans = plan_stacks(self._members, self._device, self._resources)
        jobs = self._interrupted(plans)
        taken = {number for job in jobs for number in job.numbers} | self._keeper.outcomes.keys()
        for plan in plans:
            # A plan whose stack was interrupted may be left with a few members.
            waiting = [number for number in plan.members if number not in taken]
            if waiting:
                jobs.append(_Job(plan, waiting))
        for number, job in enumerate(jobs):
            # Until it is trained again, the next checkpoint keeps what the last one had of it.
            self._keeper.leave(number, job.snapshot)
        try:
            self._train_jobs(jobs)
        except CancelledError:
            self._keeper.save()
            # With the reason.
            self._cancellation.raise_if_requested()
            raise
        self._keeper.finish()
        return [self._keeper.outcomes[number] for number in range(len(self._members))]

    def _interrupted(self, plans: Sequence[StackPlan]) -> list[_Job]:
        """Take the finished members from a checkpoint; return those that were trained when it was written."""
        if self._checkpoint is None or (directory := self._checkpoint.latest()) is None:
            return []
        state: State = read_state(directory, self._fingerprint)
        with _reported_as_damage(directory):
            for number, finished in state.finished.items():
                member = self._member(number)
                for record in finished.history:
                    member.recall(record)
                if finished.error is None:
                    check_tensors(member, finished.tensors)
                self._keeper.take(member, finished)
            jobs = []
            for snapshot in state.current:
                own = [self._members[number] for number in snapshot.members]
                (plan,) = plan_stacks(own, self._device, None)
                plan = replace(plan, at_once=min(each.at_once for each in plans))
                jobs.append(_Job(plan, snapshot.members, snapshot, directory))
        return jobs

    def _train_jobs(self, jobs: Sequence[_Job]) -> None:
        """Train stacks with one thread each at once, as many as there are cores, and then the others in turn."""
        waiting = list(enumerate(jobs))
        together = [(number, job) for number, job in waiting if job.plan.at_once > 1]
        if len(together) > 1:
            workers = min(job.plan.at_once for _, job in together)
            with repeatable(self._device, 1), ThreadPoolExecutor(workers) as pool:
                _wait([pool.submit(self._in_thread, number, job) for number, job in together])
            waiting = [(number, job) for number, job in waiting if job.plan.at_once == 1]
        for number, job in waiting:
            with repeatable(self._device, job.plan.threads):
                self._train_job(number, job)

    def _in_thread(self, number: int, job: _Job) -> None:
        # torch counts threads for each thread that calls it.
        torch.set_num_threads(1)
        try:
            self._train_job(number, job)
        except BaseException:
            # The others stop, too.
            self._keeper.stopping.set()
            raise

    def _train_job(self, number: int, job: _Job) -> None:
        if self._keeper.stopped:
            raise CancelledError("the population was cancelled")
        control = UnitControl(self._keeper, number)
        if job.snapshot is None:
            members = [member for number in job.numbers if (member := self._prepared(number)) is not None]
            if not members:
                return
            unit = self._unit(job.plan, members, None, control)
        else:
            assert job.directory is not None
            with _reported_as_damage(job.directory):
                unit = self._unit(job.plan, [self._member(number) for number in job.numbers], job.snapshot, control)
        unit.train()

    def _unit(
        self, plan: StackPlan, members: Sequence[TrainingMember], snapshot: Snapshot | None, control: UnitControl
    ) -> Unit:
        """Return the training of some members of a plan, at its start or at ``snapshot``."""
        if plan.alternates:
            (member,) = members
            network: Any = plan.network()
            member.initialize(network)
            return Alternation(member, network.to(self._device), control, snapshot)
        stack = self._stack(plan, members, control, started=snapshot is not None)
        if snapshot is not None:
            stack.resume(snapshot)
        return stack

    def _member(self, number: int) -> TrainingMember:
        return TrainingMember(number, self._members[number], self._device, self._matrix)

    def _prepared(self, number: int) -> TrainingMember | None:
        """Return the member, or ``None`` if it cannot be trained: the reason is its outcome."""
        try:
            return self._member(number)
        except BadInputError as error:
            self._keeper.outcomes[number] = error
            return None

    def _matrix(self, features: np.ndarray, window: int) -> Matrix:
        """Return the features on the device; members with the same array share them."""
        key = id(features), window
        if key not in self._matrices:
            self._matrices[key] = Matrix(features, window, self._device)
        return self._matrices[key]

    def _stack(
        self, plan: StackPlan, members: Sequence[TrainingMember], control: UnitControl, *, started: bool
    ) -> Stack:
        network = plan.network()
        kind = stacked(network)
        weights, buffers = [], []
        for member in members:
            member.initialize(network)
            if isinstance(network, Anfis) and not started:
                network.to(self._device)
                start_consequents(member, network, lambda: control.ask(None))
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
            control=control,
            memberships=memberships,
            window=members[0].description.window,
        )


def _wait(futures: Sequence[Future[None]]) -> None:
    """Wait for all, and raise the first error that is no cancellation, or else the cancellation."""
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, CancelledError)):
        raise error


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
