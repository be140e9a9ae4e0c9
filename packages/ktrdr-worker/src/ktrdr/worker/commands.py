"""Commands that this distribution adds to `ktrdr`."""

from __future__ import annotations

import click

__all__ = ["worker"]


@click.command()
@click.argument("address")
@click.option("--require", multiple=True, metavar="PLUGIN[:gpu]", help="Refuse to start without it; may be repeated.")
@click.option("--name", help="Name shown in lists (default: the worker's address).")
@click.option("--slots", type=click.IntRange(1, 64), default=1, show_default=True, help="Operations at once.")
@click.option("--host", help="Address other machines reach this worker at.")
@click.option("--grace", type=click.FloatRange(0, 3600), default=30.0, show_default=True, help="Seconds to stop in.")
def worker(
    address: str, require: tuple[str, ...], name: str | None, slots: int, host: str | None, grace: float
) -> None:
    """Join the cluster at ADDRESS (such as tcp://127.0.0.1:8786) and run operations.

    On SIGTERM or Ctrl+C running operations leave a checkpoint and are handed back.
    """
    import asyncio

    from ktrdr.core.errors import BadInputError
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.worker.configuration import configure
    from ktrdr.worker.main import WorkerOptions, run_worker
    from ktrdr.worker.validation import validate

    if "://" not in address:
        raise BadInputError(f"`{address}` is not the address of a scheduler; write for example tcp://127.0.0.1:8786")
    validate(require, default_manager())
    configure()
    asyncio.run(run_worker(WorkerOptions(address, name, slots, require, grace, host)))
