"""Runs on a server, from Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ktrdr.core.client import Client
from ktrdr.core.data.python_words import python_messages
from ktrdr.core.work.progress import Progress, ProgressEvent
from ktrdr.core.work.watching import watched
from ktrdr.core.workflows.on_server import ServerRuns

__all__ = ["running_on"]


@contextmanager
def running_on(server: str, progress: bool | Progress) -> Iterator[ServerRuns]:
    """Yield what runs jobs on the server at that address, with progress, interrupts and messages of a local run."""
    with python_messages(), Client(server) as client, watched(progress) as (receive, cancellation):

        def say(sentence: str) -> None:
            receive(ProgressEvent("waiting", message=sentence))

        yield ServerRuns(client, progress=receive, say=say, cancellation=cancellation)
