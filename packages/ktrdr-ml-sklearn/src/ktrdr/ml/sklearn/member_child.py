"""A process that trains members of a population: it reads messages from standard input and writes to standard output.

The messages are pickled tuples, between a process and the child that it started. The child exits at the end of its
input, so that it does not outlive its parent, however that one ends.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import threading
import time
from functools import partial
from typing import Any, BinaryIO

from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.plugins import Split, TrainingData, TrainingTask
from ktrdr.core.work import Cancellation, ProgressEvent
from ktrdr.ml.sklearn.reporting import SECONDS_BETWEEN
from ktrdr.ml.sklearn.single_training import train_single

__all__ = ["main"]


def main() -> None:
    """Train until the end of the input."""
    # Control-C in a terminal is for the parent, which then ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Files of its own: the interpreter locks the standard ones when it ends, also if a thread still reads.
    messages, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a library prints goes to standard error.
    os.dup2(2, 1)
    child = _Child(out)
    threading.Thread(target=child.listen, args=[messages], daemon=True).start()
    child.work()


class _Child:
    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._work: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._matrices: list[Any] = []
        self._threads = 1
        self._told = 0.0
        self._cancellations: dict[int, Cancellation] = {}

    def listen(self, stream: BinaryIO) -> None:
        """Receive messages, also while the other thread trains."""
        while True:
            try:
                kind, *rest = pickle.load(stream)
            except (EOFError, pickle.UnpicklingError):
                # The parent has ended, maybe inside a message.
                os._exit(1)
            if kind == "cancel":
                self._cancellations[rest[0]].cancel()
                continue
            if kind == "train":
                self._cancellations[rest[0]] = Cancellation()
            self._work.put((kind, *rest))

    def work(self) -> None:
        """Do what is asked, one after another."""
        while True:
            kind, *rest = self._work.get()
            if kind == "setup":
                reference, self._threads = rest
                self._matrices = reference.open()
            else:
                self._send("ended", rest[0], self._train(*rest))

    def _train(self, number: int, task: TrainingTask, matrix: int, train: Split, validation: Split) -> Any:
        """Return the model, or the error of the member; any other error ends this process."""
        try:
            return train_single(
                task,
                TrainingData(self._matrices[matrix], train, validation),
                progress=partial(self._tell, number),
                cancellation=self._cancellations[number],
                threads=self._threads,
                seconds=0.0,
            )
        except (BadInputError, CancelledError) as error:
            return error

    def _tell(self, number: int, event: ProgressEvent) -> None:
        now = time.monotonic()
        if now - self._told >= SECONDS_BETWEEN:
            self._told = now
            self._send("progress", number, event.fraction)

    def _send(self, *message: Any) -> None:
        try:
            pickle.dump(message, self._out, protocol=pickle.HIGHEST_PROTOCOL)
            self._out.flush()
        except BrokenPipeError:
            # The parent has ended, and `listen` has not seen it yet.
            os._exit(1)
