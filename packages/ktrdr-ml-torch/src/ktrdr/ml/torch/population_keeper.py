"""What the units of a population have in common while they are trained: outcomes, progress and checkpoints.

Units may be trained in several threads. Each leaves a snapshot of its state from time to time, between two batches; a
checkpoint contains the last ones. So a checkpoint may be behind a unit, and never between two of its states.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.plugins import CheckpointWriter, MemberOutcome
from ktrdr.core.work import Cancellation
from ktrdr.ml.torch.checkpoints import Finished, State, write_state
from ktrdr.ml.torch.control import Snapshot, Take
from ktrdr.ml.torch.reporting import Reporter
from ktrdr.ml.torch.tensors import on_cpu
from ktrdr.ml.torch.torch_model import finished_model
from ktrdr.ml.torch.training_member import TrainingMember

__all__ = ["Keeper", "UnitControl"]

_SECONDS_BETWEEN_QUESTIONS = 1.0
# A checkpoint of a population contains all its members: more of them would cost more than they save.
_SECONDS_BETWEEN_CHECKPOINTS = 2.0


class Keeper:
    """Outcomes, progress and checkpoints of a population.

    Args:
        members: number of members.
        device: of the training.
        single: whether progress and checkpoints count epochs of the only member, not members.
        reporter: of progress.
        cancellation: see the plugin contract.
        checkpoint: see the plugin contract.
        fingerprint: of the run.

    Attributes:
        outcomes: of the members that have ended, by number.
        stopping: set it to end all units as cancelled.
    """

    def __init__(
        self,
        members: int,
        device: Any,
        *,
        single: bool,
        reporter: Reporter,
        cancellation: Cancellation,
        checkpoint: CheckpointWriter | None,
        fingerprint: str,
    ) -> None:
        self.outcomes: dict[int, MemberOutcome] = {}
        self.stopping = threading.Event()
        self._members, self._device, self._single = members, device, single
        self._reporter, self._cancellation = reporter, cancellation
        self._checkpoint, self._fingerprint = checkpoint, fingerprint
        self._lock = threading.RLock()
        self._finished: dict[int, Finished] = {}
        self._snapshots: dict[int, Snapshot] = {}
        # Of each unit: when its snapshot was taken, and the finished share of its members, in members.
        self._taken: dict[int, float] = {}
        self._shares: dict[int, float] = {}
        self._share = 0.0
        # Epochs of all units, and the member whose model was made last.
        self._passes = 0
        self._model_of: TrainingMember | None = None
        self._saved = -math.inf

    @property
    def stopped(self) -> bool:
        """True if the population was cancelled, or a unit has failed."""
        return self._cancellation.requested or self.stopping.is_set()

    def leave(self, unit: int, snapshot: Snapshot | None) -> None:
        """Take the present state of a unit, or ``None`` if it has ended."""
        with self._lock:
            self._snapshots.pop(unit, None)
            if snapshot is not None:
                self._snapshots[unit] = snapshot
                self._taken[unit] = time.monotonic()

    def report(self, unit: int, members: Sequence[TrainingMember], share: float) -> None:
        """Report that a ``share`` of the present epoch of the members is complete, if a report is due."""
        now = time.monotonic()
        if not self._reporter.due(now):
            return
        with self._lock:
            if self._single:
                self._reporter.report(now, len(members[0].history), share)
                return
            self._shares[unit] = _finished_share(members, share)
            done = len(self.outcomes)
            # Between the end of a member and the next report of its unit the sum may be too small.
            self._share = max(self._share, done + sum(self._shares.values()))
            self._reporter.report(now, done, self._share - done)

    def after_epoch(self, unit: int, members: Sequence[TrainingMember], take: Take | None) -> None:
        """Report an epoch, and write a checkpoint if it is due."""
        with self._lock:
            self._passes += 1
            if self._single or self._reporter.due(time.monotonic()):
                self._reporter.metrics = _mean([member.history[-1].metrics for member in members if member.history])
            self._shares[unit] = _finished_share(members, 0.0)
        self.report(unit, members, 0.0)
        self.save_if_due(unit, members, take)

    def save_if_due(self, unit: int, members: Sequence[TrainingMember], take: Take | None) -> None:
        """Take the state of a unit and write a checkpoint, if one is due."""
        if self._checkpoint is None:
            return
        if self._single:
            epoch = len(members[0].history)
            if self._checkpoint.due(epoch):
                self.leave(unit, None if take is None else take())
                self.save(epoch)
            return
        now = time.monotonic()
        if take is None:
            self.leave(unit, None)
        elif now - self._taken.get(unit, -math.inf) >= _SECONDS_BETWEEN_CHECKPOINTS:
            # Also if another unit writes the checkpoint.
            self.leave(unit, take())
        with self._lock:
            due = take is None or now - self._saved >= _SECONDS_BETWEEN_CHECKPOINTS
            if due and self._checkpoint.due(self._passes):
                self.save(self._passes)

    def save(self, epoch: int | None = None) -> None:
        """Write a checkpoint, unless there is no state yet."""
        with self._lock:
            if self._checkpoint is None or not (self._finished or self._snapshots):
                return
            state = State(dict(self._finished), list(self._snapshots.values()))
            number = self._passes if epoch is None else epoch
            self._checkpoint.save(number, lambda directory: write_state(directory, state, self._fingerprint))
            self._saved = time.monotonic()

    def end(self, unit: int, member: TrainingMember, tensors: Mapping[str, Any]) -> None:
        """Make a model of the best weights, or take the error as the outcome."""
        with self._lock:
            # The member counts as a whole from now on.
            self._shares.pop(unit, None)
        error = member.error
        finished = Finished(
            on_cpu(tensors),
            list(member.history),
            member.stopping.best_epoch,
            None if error is None else str(error),
            isinstance(error, CancelledError),
        )
        self.take(member, finished)

    def take(self, member: TrainingMember, finished: Finished) -> None:
        """Take a member that has ended."""
        if finished.error is not None:
            kind = CancelledError if finished.cancelled else BadInputError
            outcome: MemberOutcome = kind(finished.error)
        else:
            outcome = finished_model(member, finished.tensors, finished.history, finished.best_epoch, self._device)
        with self._lock:
            self._finished[member.number] = finished
            self.outcomes[member.number] = outcome
            if finished.error is None:
                self._model_of = member

    def finish(self) -> None:
        """Report the end of the training."""
        if not self._single:
            self._reporter.finish(self._members, "")
        elif self._model_of is not None:
            done = len(self._model_of.history)
            reason = "stopped early" if self._model_of.stopping.over else "nothing left to learn"
            self._reporter.finish(done, reason if done < self._model_of.epochs else "")


class UnitControl:
    """The keeper as one unit sees it; implements :class:`~ktrdr.ml.torch.control.Control`.

    Args:
        keeper: of the population.
        unit: number of the unit.
    """

    def __init__(self, keeper: Keeper, unit: int) -> None:
        self._keeper, self._unit = keeper, unit
        self._asked = time.monotonic()

    def ask(self, take: Take | None) -> None:
        """Raise an error if the population was cancelled, after the unit's state was taken."""
        if self._keeper.stopped:
            if take is not None:
                self._keeper.leave(self._unit, take())
            raise CancelledError("the population was cancelled")

    def after_batch(self, members: Sequence[TrainingMember], share: float, take: Take) -> None:
        """Report the batch, and write a checkpoint if an epoch takes long."""
        self._keeper.report(self._unit, members, share)
        now = time.monotonic()
        if now - self._asked >= _SECONDS_BETWEEN_QUESTIONS:
            self._asked = now
            self._keeper.save_if_due(self._unit, members, take)

    def after_epoch(self, members: Sequence[TrainingMember], take: Take | None) -> None:
        """Report the epoch, and write a checkpoint if it is due."""
        self._keeper.after_epoch(self._unit, members, take)

    def end(self, member: TrainingMember, tensors: Mapping[str, Any]) -> None:
        """Take a member that is over."""
        self._keeper.end(self._unit, member, tensors)


def _finished_share(members: Sequence[TrainingMember], share: float) -> float:
    """Return the finished share of the members that are not over, in members."""
    parts = [(len(member.history) + share) / member.epochs for member in members if not member.over]
    return sum(min(part, 1.0) for part in parts)


def _mean(records: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the means of the metrics of several members."""
    if not records:
        return {}
    return {name: sum(record[name] for record in records) / len(records) for name in records[0]}
