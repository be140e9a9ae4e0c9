"""The training of a population: here as long as that is short, and else in several processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.limits import POPULATION_MEMORY_VARIABLE
from ktrdr.core.plugins import Member, MemberOutcome, Resources
from ktrdr.core.work import Cancellation, Progress, ProgressEvent
from ktrdr.core.work.cancellation import EitherCancellation
from ktrdr.ml.sklearn.member_memory import bytes_of_member, most_processes
from ktrdr.ml.sklearn.member_processes import MemberProcesses
from ktrdr.ml.sklearn.reporting import SECONDS_BETWEEN
from ktrdr.ml.sklearn.single_training import import_estimators, train_single

__all__ = ["PopulationRun"]

_SECONDS_OF_START = 5.0
"""CPU seconds that a process takes to import scikit-learn on a slow machine.

As long are members trained here before other processes are considered, and these must save twice as much.
"""

_SECONDS_BETWEEN_QUESTIONS = 0.05


class PopulationRun:
    """One call of :meth:`~ktrdr.ml.sklearn.sklearn_trainer.SklearnTrainer.train_many`."""

    def __init__(
        self, members: Sequence[Member], progress: Progress, cancellation: Cancellation, resources: Resources
    ) -> None:
        self._members = members
        self._cancellation = cancellation
        self._resources = resources
        self._outcomes: dict[int, MemberOutcome] = {}
        self._progress = _Progress(progress, len(members))

    def run(self) -> list[MemberOutcome]:
        """Train all members.

        Raises:
            BadInputError: the memory does not suffice for one member, or a process was killed.
            CancelledError: the population was cancelled.
        """
        self._cancellation.raise_if_requested()
        needed = max(bytes_of_member(member) for member in self._members)
        if needed > self._resources.memory:
            raise BadInputError(
                f"one member of the population needs {needed:,} bytes of memory, and the budget is "
                f"{self._resources.memory:,}; set {POPULATION_MEMORY_VARIABLE} to {needed}, or use smaller trees"
            )
        # An interpreter inside another program has no command that starts a second one.
        most = most_processes(self._members, self._resources) if sys.executable else 1
        # Its import takes as long here as in a process.
        import_estimators(self._members[0].task.model_type)
        here = _TimeHere(_SECONDS_OF_START)
        while waiting := self._waiting:
            count = min(most, len(waiting))
            if here.requested and self._pays(here.seconds, here.busy, count):
                self._train_in_processes(waiting, count)
            else:
                # The first member ends here too early if it alone takes so long that processes may pay.
                first = not (self._outcomes or here.requested) and self._pays(_SECONDS_OF_START, 1.0, count)
                self._train_here(waiting[0], here if first else None)
        return [self._outcomes[number] for number in range(len(self._members))]

    @property
    def _waiting(self) -> list[int]:
        return [number for number in range(len(self._members)) if number not in self._outcomes]

    def _pays(self, seconds: float, busy: float, count: int) -> bool:
        """Return True if ``count`` processes save much more than they cost.

        Args:
            seconds: of CPU, of the trainings here.
            busy: cores that they kept busy.
            count: number of processes.
        """
        trained = sum(not isinstance(outcome, Exception) for outcome in self._outcomes.values())
        left = seconds / max(trained, 1) * len(self._waiting)
        return left * (1 / busy - 1 / max(count, 1)) > 2 * _SECONDS_OF_START

    def _end(self, number: int, outcome: MemberOutcome) -> None:
        self._outcomes[number] = outcome
        self._progress.end(number)

    def _train_here(self, number: int, here: _TimeHere | None) -> None:
        """Train a member in this process, unless the time here ends before it does."""
        member = self._members[number]
        cancellation = EitherCancellation(self._cancellation, member.cancellation, here)
        try:
            outcome: MemberOutcome = train_single(
                member.task,
                member.data,
                progress=partial(self._advance, number),
                cancellation=cancellation,
                threads=self._resources.cores,
                seconds=0.0,
            )
        except _TimeOver:
            return
        except CancelledError as error:
            self._cancellation.raise_if_requested()
            outcome = error
        except BadInputError as error:
            outcome = error
        self._end(number, outcome)

    def _advance(self, number: int, event: ProgressEvent) -> None:
        self._progress.advance(number, event.fraction)

    def _train_in_processes(self, waiting: list[int], count: int) -> None:
        threads = max(1, self._resources.cores // count)
        with MemberProcesses(count, self._members, threads) as processes:
            while len(self._outcomes) < len(self._members):
                self._cancellation.raise_if_requested()
                self._drop_cancelled(processes)
                for process in processes.idle:
                    started = set(processes.training)
                    rest = [number for number in waiting if number not in self._outcomes and number not in started]
                    if rest:
                        processes.train(process, rest[0])
                self._receive(processes)

    def _drop_cancelled(self, processes: MemberProcesses) -> None:
        """End members whose own cancellation is requested, those that are trained and those that wait."""
        for number in self._waiting:
            own = self._members[number].cancellation
            if own is not None and own.requested:
                processes.cancel(number)
                self._end(number, CancelledError(own.reason))

    def _receive(self, processes: MemberProcesses) -> None:
        message = processes.receive(_SECONDS_BETWEEN_QUESTIONS)
        if message is None:
            return
        kind, number, content = message
        if kind == "progress":
            self._progress.advance(number, content)
        elif number not in self._outcomes:
            self._end(number, content)


class _TimeOver(CancelledError):
    """A training goes on in another process."""


class _TimeHere(Cancellation):
    """Requested when this process has taken its time, in seconds of CPU: a busy machine is no reason."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._began, self._elapsed = time.process_time(), time.monotonic()
        self._seconds = seconds

    @property
    def seconds(self) -> float:
        """CPU seconds of this process until now."""
        return time.process_time() - self._began

    @property
    def busy(self) -> float:
        """Number of cores that this process has kept busy, at least 1."""
        return max(1.0, self.seconds / max(time.monotonic() - self._elapsed, 1e-9))

    @property
    def requested(self) -> bool:
        """True if the time is over."""
        return self.seconds >= self._seconds

    def raise_if_requested(self) -> None:
        """Raise an error if the time is over."""
        if self.requested:
            raise _TimeOver("the time for trainings in this process is over")


class _Progress:
    """Reports of the number of finished members, at most ten a second."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._fractions = [0.0] * total
        self._ended = 0
        self._last = time.monotonic()

    def advance(self, number: int, fraction: float) -> None:
        """Report the fraction of a member; it never falls, also if its training is begun again."""
        self._fractions[number] = max(self._fractions[number], fraction)
        if time.monotonic() - self._last >= SECONDS_BETWEEN:
            self._send()

    def end(self, number: int) -> None:
        """Report that a member has ended."""
        self._ended += 1
        self.advance(number, 1.0)
        if self._ended == len(self._fractions):
            self._send()

    def _send(self) -> None:
        self._last = time.monotonic()
        total = len(self._fractions)
        fraction = 1.0 if self._ended == total else min(sum(self._fractions) / total, 1.0)
        self._progress(ProgressEvent("training", self._ended, total, "members", fraction))
