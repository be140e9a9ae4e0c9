"""What commands with ``--server`` have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ktrdr.core.backtesting.results import BacktestResult
    from ktrdr.core.client import Client

__all__ = ["fetch_backtest", "run_on_server", "server_option"]


def server_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--server URL``."""
    return click.option(
        "--server", metavar="URL", help="Run it on that KTRDR server, which must have the data: http://127.0.0.1:8000."
    )(command)


def run_on_server(
    client: Client, kind: str, request: Mapping[str, Any], *, quiet: bool, resume: str | None = None
) -> tuple[str, dict[str, Any]]:
    """Start an operation, or go on with ``resume``, show its progress, and return its id and result.

    Ctrl+C cancels it and waits until it has stopped; pressed again, it leaves it alone to stop.
    """
    from ktrdr.core.cli.interrupt import cancel_on_interrupt
    from ktrdr.core.cli.progress_display import progress_display
    from ktrdr.core.client import follow

    with cancel_on_interrupt() as cancellation, progress_display(quiet=quiet) as progress:
        operation = client.start(kind, request) if resume is None else client.resume(resume)

        def say(sentence: str) -> None:
            if not quiet:
                click.echo(sentence, err=True)

        result = follow(client, operation["id"], progress=progress, say=say, cancellation=cancellation)
        return operation["id"], result


def fetch_backtest(client: Client, operation_id: str) -> BacktestResult:
    """Return a whole backtest from the server."""
    from ktrdr.core.backtesting.results import read_result
    from ktrdr.core.files.temporary import temporary_directory
    from ktrdr.core.runs.run_archive import unpack_run

    with temporary_directory("ktrdr-run-") as directory:
        archive = client.fetch(f"/backtests/{operation_id}/archive", directory / "run.zip")
        unpack_run(archive, directory / "run")
        return read_result(directory / "run")
