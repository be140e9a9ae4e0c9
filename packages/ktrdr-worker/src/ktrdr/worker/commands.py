"""The command `worker` of `ktrdr`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["worker"]


@click.command()
@click.argument("address")
@click.option(
    "--require",
    multiple=True,
    envvar="KTRDR_WORKER_REQUIRE",
    metavar="PLUGIN[:gpu]",
    help="Start only with this plugin; may be repeated (KTRDR_WORKER_REQUIRE).",
)
@click.option("--name", help="Name shown in lists (default: the worker's address).")
@click.option(
    "--slots", type=click.IntRange(1, 64), default=1, show_default=True, help="Number of operations that run at once."
)
@click.option("--host", help="Address at which other machines reach this worker.")
@click.option(
    "--grace",
    type=click.FloatRange(0, 3600),
    default=30.0,
    show_default=True,
    help="Seconds that running operations have to stop.",
)
@click.option("--http", default="127.0.0.1:0", show_default=True, help="HOST:PORT of /health and /metrics.")
@click.option(
    "--certificates",
    envvar="KTRDR_CERTIFICATES",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory with ca.pem, cert.pem and key.pem, for a scheduler at tls://... (KTRDR_CERTIFICATES).",
)
@click.option("--with-parent", is_flag=True, hidden=True, help="Stop at end of file on standard input.")
def worker(
    address: str,
    require: tuple[str, ...],
    name: str | None,
    slots: int,
    host: str | None,
    grace: float,
    http: str,
    certificates: Path | None,
    with_parent: bool,
) -> None:
    """Join the cluster at ADDRESS (such as tcp://127.0.0.1:8786) and run operations.

    On SIGTERM or Ctrl+C running operations write a checkpoint and return to the queue.
    """
    import asyncio

    from ktrdr.core.cache.default_cache import cache_limit
    from ktrdr.core.errors import BadInputError
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.core.training.population import default_resources
    from ktrdr.worker.main import WorkerOptions, run_worker
    from ktrdr.worker.self_check import validate

    if not address.startswith(("tcp://", "tls://")):
        raise BadInputError(f"`{address}` is not the address of a scheduler; write for example tcp://127.0.0.1:8786")
    if address.startswith("tls://") and certificates is None:
        raise BadInputError(f"{address} needs certificates; name their directory with --certificates")
    # With a wrong size in the environment the worker would join, and fail every operation.
    cache_limit()
    default_resources()
    validate(require, default_manager())
    asyncio.run(
        run_worker(
            WorkerOptions(
                address=address,
                name=name,
                slots=slots,
                require=require,
                grace=grace,
                host=host,
                http=http,
                certificates=certificates,
                with_parent=with_parent,
            )
        )
    )
