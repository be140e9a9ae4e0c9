"""Progress and interrupts around long work that a user calls from Python."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.interrupt import cancel_on_interrupt
from ktrdr.core.work.notebook_progress import in_notebook, notebook_progress
from ktrdr.core.work.progress import NO_PROGRESS, Progress
from ktrdr.core.work.progress_display import progress_display

__all__ = ["display_of", "watched"]


def display_of(progress: bool | Progress) -> AbstractContextManager[Progress]:
    """Return a context manager that yields the receiver of progress that the user asks for.

    Args:
        progress: True for a bar in a notebook or on a terminal and for lines elsewhere, False for nothing, or a
            function that is called with every :class:`~ktrdr.core.work.progress.ProgressEvent`.
    """
    if callable(progress):
        return nullcontext(progress)
    if not progress:
        return nullcontext(NO_PROGRESS)
    return notebook_progress() if in_notebook() else progress_display()


@contextmanager
def watched(progress: bool | Progress) -> Iterator[tuple[Progress, Cancellation]]:
    """Yield a receiver of progress and a cancellation that Ctrl+C, or the interrupt of a kernel, requests."""
    with cancel_on_interrupt([signal.SIGINT]) as cancellation, display_of(progress) as receive:
        yield receive, cancellation
