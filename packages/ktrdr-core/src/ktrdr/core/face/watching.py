"""What every function of the face does around long work: progress, and Ctrl+C as a request to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from ktrdr.core.data.python_words import python_messages
from ktrdr.core.face.notebook_progress import in_notebook, notebook_progress
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.interrupt import cancel_on_interrupt
from ktrdr.core.work.progress import NO_PROGRESS, Progress
from ktrdr.core.work.progress_display import progress_display

if TYPE_CHECKING:
    from ktrdr.core.workflows.on_server import ServerRuns

__all__ = ["display_of", "running_on", "watched"]


def display_of(progress: bool | Progress) -> AbstractContextManager[Progress]:
    """Return what yields the receiver of progress that the user asks for.

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
    """Yield a receiver of progress and a cancellation that Ctrl+C, or the interrupt of a kernel, requests.

    Messages of errors name parameters and functions instead of options and commands.
    """
    with python_messages(), cancel_on_interrupt([signal.SIGINT]) as cancellation, display_of(progress) as receive:
        yield receive, cancellation


@contextmanager
def running_on(server: str, progress: bool | Progress) -> Iterator[ServerRuns]:
    """Yield what runs jobs on the server at that address, watched alike."""
    from ktrdr.core.client import Client
    from ktrdr.core.work.progress import ProgressEvent
    from ktrdr.core.workflows.on_server import ServerRuns

    with Client(server) as client, watched(progress) as (receive, cancellation):

        def say(sentence: str) -> None:
            receive(ProgressEvent("waiting", message=sentence))

        yield ServerRuns(client, progress=receive, say=say, cancellation=cancellation)
