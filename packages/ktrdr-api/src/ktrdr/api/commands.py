"""The commands `serve`, `up` and `cluster` of `ktrdr`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ktrdr.core.cli.command_groups import CommandGroup

if TYPE_CHECKING:
    from ktrdr.api.engine.port import ExecutionEngine
    from ktrdr.api.server import Server
    from ktrdr.api.settings import ApiSettings

__all__ = ["cluster", "serve", "up"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _address_options(command: _Command) -> _Command:
    command = click.option(
        "--port", type=click.IntRange(0, 65535), help="Port (default KTRDR_API_PORT or 8000; 0 takes a free one)."
    )(command)
    return click.option("--host", help="Address to listen on (default KTRDR_API_HOST or 127.0.0.1).")(command)


@click.command()
@_address_options
@click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler to run operations on (KTRDR_API_SCHEDULER).")
@click.option(
    "--listen-workers",
    metavar="ADDRESS",
    help="Run a scheduler here, such as tcp://127.0.0.1:8786, for workers to join (KTRDR_API_LISTEN_WORKERS).",
)
def serve(host: str | None, port: int | None, scheduler: str | None, listen_workers: str | None) -> None:
    """Run the API server.

    Without a scheduler the server accepts operations, keeps them queued and shows what they wait for. On an address
    other than loopback it starts only with KTRDR_API_TOKEN or KTRDR_API_TOKEN_FILE.
    """
    from ktrdr.api.engine.choose import choose_engine

    settings = _settings(host=host, port=port, scheduler=scheduler, listen_workers=listen_workers)
    _run(settings, choose_engine(settings))


@click.command()
@_address_options
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes (default: one for every two cores).")
@click.option("--require", multiple=True, metavar="PLUGIN[:gpu]", help="What every worker must have; may be repeated.")
def up(host: str | None, port: int | None, workers: int | None, require: tuple[str, ...]) -> None:
    """Run everything on this machine: API, scheduler and workers.

    Ctrl+C lets running operations leave a checkpoint and stops everything; the next `ktrdr up` goes on with them. Exit
    status 78 says that a worker lacks what --require names.
    """
    import importlib.util
    import os
    import sys
    from functools import partial

    from ktrdr.api.engine.choose import embedded_engine
    from ktrdr.core.cache.default_cache import cache_limit
    from ktrdr.core.errors import BadInputError
    from ktrdr.core.training.population import default_resources

    # With a wrong size in the environment the workers would start, and fail every operation.
    cache_limit()
    default_resources()
    if importlib.util.find_spec("ktrdr.worker") is None:
        raise BadInputError("workers need ktrdr-worker, which is not installed; `pip install ktrdr-worker`")
    settings = _settings(host=host, port=port)
    count = workers or max(1, (os.cpu_count() or 2) // 2)
    listen = settings.listen_workers or "tcp://127.0.0.1:0"
    engine = embedded_engine(settings, listen, workers=count, require=require)
    unfit = False

    def connect(server: Server) -> None:
        def give_up() -> None:
            nonlocal unfit
            unfit = server.should_exit = True

        engine.on_unfit = give_up
        server.on_started = partial(engine.announce, partial(click.echo, err=True))

    _run(settings, engine, connect)
    if unfit:
        from ktrdr.api.engine.embedded import UNFIT

        sys.exit(UNFIT)


@click.group(cls=CommandGroup)
def cluster() -> None:
    """Prepare a cluster of several machines."""


@cluster.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="How long they are valid.")
def certificates(directory: Path, days: int) -> None:
    """Make a set of mutual certificates in DIRECTORY: ca.pem, cert.pem and key.pem.

    Copy the three files to every machine of the cluster. Whoever has them can run code there: keep them secret.
    """
    from ktrdr.core.errors import BadInputError

    try:
        from ktrdr.api.engine.certificates import make_certificates
    except ImportError:
        raise BadInputError(
            "making certificates needs the library cryptography; `pip install 'ktrdr-api[tls]'`"
        ) from None
    make_certificates(directory, days=days)
    click.echo(f"Wrote ca.pem, cert.pem and key.pem to {directory}; they are valid for {days} days.")


def _settings(**given: Any) -> ApiSettings:
    from ktrdr.api.settings import load_settings

    settings = load_settings({key: value for key, value in given.items() if value is not None})
    settings.check_exposure()
    return settings


def _check_address(settings: ApiSettings) -> None:
    """Raise ``BadInputError`` if the server cannot listen on the address: it is in use, or of another machine."""
    import errno
    import socket

    from ktrdr.core.errors import BadInputError

    failures: list[OSError] = []
    free = False
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        found, failures = [], [error]
    for family, kind, _, _, address in found:
        try:
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
            free = True
        except OSError as error:
            failures.append(error)
    # A name may resolve to an address, such as one of IPv6, that this machine does not have.
    serious = [error for error in failures if error.errno in (errno.EADDRINUSE, errno.EACCES) or not free]
    if serious:
        raise BadInputError(
            f"the server cannot listen on {settings.host} port {settings.port}: {serious[0].strerror};"
            " choose another with --host or --port"
        )


def _run(settings: ApiSettings, engine: ExecutionEngine, connect: Callable[[Server], None] | None = None) -> None:
    import asyncio
    import sys

    from ktrdr.api.app import create_app
    from ktrdr.api.ledger.database import prepare_database
    from ktrdr.api.ledger.one_server import server_hold
    from ktrdr.api.server import make_server
    from ktrdr.core.errors import KtrdrError
    from ktrdr.core.home import home_directory

    # Checked before the server starts, so that the user sees one sentence instead of a failed start. The locks come
    # first: another server of this home probably uses the address too.
    hold = server_hold(settings, home_directory())
    hold.take()
    try:
        hold.announce(f"http://{settings.host}:{settings.port}" if settings.port else "")
        _check_address(settings)
        asyncio.run(prepare_database(settings.database_url()))
        server = make_server(create_app(settings, engine, hold), settings)
        if connect is not None:
            connect(server)
        server.run()
    finally:
        hold.release()
    if server.gave_up:
        raise KtrdrError(f"{server.gave_up}; this server has stopped")
    if not server.started:
        sys.exit(1)
