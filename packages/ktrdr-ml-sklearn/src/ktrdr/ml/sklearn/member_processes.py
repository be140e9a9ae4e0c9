"""Processes that train members of a population; see :mod:`ktrdr.ml.sklearn.member_child`."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from ktrdr.core.errors import BadInputError, ErrorRecord, RemoteError
from ktrdr.core.limits import POPULATION_MEMORY, POPULATION_MEMORY_VARIABLE
from ktrdr.core.plugins import Member
from ktrdr.ml.sklearn.shared_matrices import SharedMatrices

__all__ = ["MemberProcesses"]

# Each process has its share of the cores; a library that started threads of its own would take those of the others.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class MemberProcesses:
    """Child processes, each of which trains a member at a time. Leaving the ``with`` block ends them at once.

    They are started by the command of this interpreter, not by :mod:`multiprocessing`: that needs an importable main
    module, refuses a daemonic parent, and leaves its children behind if the parent is killed.

    Args:
        count: number of processes.
        members: of the population.
        threads: that each of them may use.
    """

    def __init__(self, count: int, members: Sequence[Member], threads: int) -> None:
        self._members = members
        self._events: queue.SimpleQueue[tuple[int, tuple[Any, ...]]] = queue.SimpleQueue()
        self._training: dict[int, int] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        places = {id(member.data.features): member.data.features for member in members}
        numbers = {identity: number for number, identity in enumerate(places)}
        self._matrix_of = [numbers[id(member.data.features)] for member in members]
        self._matrices = SharedMatrices(list(places.values()))
        try:
            self._start(count, threads)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> MemberProcesses:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _start(self, count: int, threads: int) -> None:
        # The modules of the parent are found by the child, whatever has changed the path since the start.
        code = f"import sys; sys.path[:] = {sys.path!r}; from ktrdr.ml.sklearn.member_child import main; main()"
        for number in range(count):
            process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads))},
                pass_fds=self._matrices.descriptors,
            )
            self._processes.append(process)
            threading.Thread(target=self._listen, args=[number, process], daemon=True).start()
            self._send(number, "setup", self._matrices.reference, threads)

    def _listen(self, number: int, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        try:
            while True:
                self._events.put((number, pickle.load(process.stdout)))
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            # The process has ended, maybe inside a message.
            self._events.put((number, ("gone",)))

    def _send(self, number: int, *message: Any) -> None:
        pipe = self._processes[number].stdin
        assert pipe is not None
        # Of a process that has ended, `receive` tells.
        with contextlib.suppress(BrokenPipeError):
            pickle.dump(message, pipe, protocol=pickle.HIGHEST_PROTOCOL)
            pipe.flush()

    @property
    def idle(self) -> list[int]:
        """Numbers of the processes that train no member."""
        return [number for number in range(len(self._processes)) if number not in self._training]

    @property
    def training(self) -> list[int]:
        """Numbers of the members that are trained now."""
        return list(self._training.values())

    def train(self, process: int, number: int) -> None:
        """Let an idle process train member ``number``."""
        member = self._members[number]
        self._training[process] = number
        self._send(
            process, "train", number, member.task, self._matrix_of[number], member.data.train, member.data.validation
        )

    def cancel(self, number: int) -> None:
        """Ask the process that trains member ``number`` to stop."""
        for process, trained in self._training.items():
            if trained == number:
                self._send(process, "cancel", number)

    def receive(self, seconds: float) -> tuple[str, int, Any] | None:
        """Return ``("progress", member, fraction)`` or ``("ended", member, outcome)``; ``None`` after a time without.

        Raises:
            BadInputError: a process was killed.
            RemoteError: a process has ended with an error, which it has printed.
        """
        try:
            process, (kind, *rest) = self._events.get(timeout=seconds)
        except queue.Empty:
            return None
        if kind == "gone":
            raise self._error_of(process)
        if kind == "ended":
            del self._training[process]
        return kind, rest[0], rest[1]

    def _error_of(self, number: int) -> BadInputError | RemoteError:
        code = self._processes[number].wait()
        task = f"member {self._training[number] + 1} of the population" if number in self._training else "no member yet"
        if code == -getattr(signal, "SIGKILL", 0):
            return BadInputError(
                f"the process that trained {task} was killed, as the system does when memory runs out; close other "
                f"programs, or set {POPULATION_MEMORY_VARIABLE} to less than {POPULATION_MEMORY}, for fewer processes"
            )
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return RemoteError(ErrorRecord("fault", f"a fault of the program: the process that trained {task} {how}", 1))

    def close(self) -> None:
        """End all processes at once, and free the copies of the features."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                # What was not flushed is for nobody.
                with contextlib.suppress(OSError):
                    pipe.close()
        self._matrices.close()
