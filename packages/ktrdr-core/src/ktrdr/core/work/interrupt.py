"""Ctrl+C: the first asks the work to stop and leave things whole, the second stops it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType

from ktrdr.core.work.cancellation import Cancellation

__all__ = ["cancel_on_interrupt"]


@contextmanager
def cancel_on_interrupt(
    signals: Collection[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
) -> Iterator[Cancellation]:
    """Yield a cancellation that the ``signals`` request while the block runs; a second one interrupts at once.

    Python lets only the main thread receive signals: in any other the cancellation is requested by nobody.
    """
    cancellation = Cancellation()
    before = {}

    def ask(number: int, frame: FrameType | None) -> None:
        if cancellation.requested:
            raise KeyboardInterrupt
        cancellation.cancel("cancelled on request")
        # From a thread: the signal may have come in the middle of a write to the same stream.
        threading.Thread(target=_tell, daemon=True).start()

    if threading.current_thread() is threading.main_thread():
        for number in signals:
            before[number] = signal.signal(number, ask)
    try:
        yield cancellation
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell() -> None:
    print("Stopping; press Ctrl+C again to stop at once.", file=sys.stderr, flush=True)
