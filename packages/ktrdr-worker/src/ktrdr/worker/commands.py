"""Commands that this distribution adds to `ktrdr`."""

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
    help="Refuse to start without it; may be repeated (KTRDR_WORKER_REQUIRE).",
)
@click.option("--name", help="Name shown in lists (default: the worker's address).")
@click.option("--slots", type=click.IntRange(1, 64), default=1, show_default=True, help="Operations at once.")
@click.option("--host", help="Address other machines reach this worker at.")
@click.option("--grace", type=click.FloatRange(0, 3600), default=30.0, show_default=True, help="Seconds to stop in.")
@click.option("--http", default="127.0.0.1:0", show_default=True, help="Where /health and /metrics are served.")
@click.option(
    "--certificates",
    envvar="KTRDR_CERTIFICATES",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory with ca.pem, cert.pem and key.pem, for a scheduler at tls://... (KTRDR_CERTIFICATES).",
)
@click.option("--with-parent", is_flag=True, hidden=True, help="Leave when standard input ends.")
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

    On SIGTERM or Ctrl+C running operations leave a checkpoint and are handed back.
    """
    import asyncio

    from ktrdr.core.errors import BadInputError
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.worker.main import WorkerOptions, run_worker
    from ktrdr.worker.self_check import validate

    if not address.startswith(("tcp://", "tls://")):
        raise BadInputError(f"`{address}` is not the address of a scheduler; write for example tcp://127.0.0.1:8786")
    if address.startswith("tls://") and certificates is None:
        raise BadInputError(f"{address} needs certificates; name their directory with --certificates")
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
