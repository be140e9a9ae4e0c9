"""What commands with ``--server`` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ktrdr.core.client import Client
    from ktrdr.core.workflows.on_server import ServerRuns

__all__ = ["running_on_server", "server_option"]


def server_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--server URL``."""
    return click.option(
        "--server", metavar="URL", help="Run it on that KTRDR server, which must have the data: http://127.0.0.1:8000."
    )(command)


@contextmanager
def running_on_server(client: Client, *, quiet: bool) -> Iterator[ServerRuns]:
    """Yield what runs jobs on a server, with their progress on standard error.

    Ctrl+C cancels an operation and waits until it has stopped; a second Ctrl+C does not wait.
    """
    from ktrdr.core.work.interrupt import cancel_on_interrupt
    from ktrdr.core.work.progress_display import progress_display
    from ktrdr.core.workflows.on_server import ServerRuns

    def say(sentence: str) -> None:
        if not quiet:
            click.echo(sentence, err=True)

    with cancel_on_interrupt() as cancellation, progress_display(quiet=quiet) as progress:
        yield ServerRuns(client, progress=progress, say=say, cancellation=cancellation)
