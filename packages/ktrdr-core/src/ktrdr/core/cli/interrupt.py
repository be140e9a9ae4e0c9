"""Ctrl+C: the first asks the work to stop and leave things whole, the second stops it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ktrdr.core.operations.cancellation import Cancellation

__all__ = ["cancel_on_interrupt"]


@contextmanager
def cancel_on_interrupt() -> Iterator[Cancellation]:
    """Yield a cancellation that SIGINT and SIGTERM request while the block runs; a second one interrupts at once."""
    cancellation = Cancellation()
    before = {}

    def ask(number: int, frame: FrameType | None) -> None:
        if cancellation.requested:
            raise KeyboardInterrupt
        print("\nStopping; press Ctrl+C again to stop at once.", file=sys.stderr, flush=True)
        cancellation.cancel("cancelled on request")

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, ask)
    try:
        yield cancellation
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
