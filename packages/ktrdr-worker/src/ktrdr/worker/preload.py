"""Preload that makes a Dask worker a worker of KTRDR.

``dask worker tcp://host:8786 --preload ktrdr.worker.preload --require torch``. ``ktrdr worker`` uses it too, so that
dask-jobqueue, dask-kubernetes and dask-cuda start the same worker.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any

import click

__all__ = ["dask_setup"]


@click.command()
@click.option("--require", multiple=True, envvar="KTRDR_WORKER_REQUIRE")
async def dask_setup(worker: Any, require: tuple[str, ...]) -> None:
    """Check the worker, then publish its capabilities as Dask resources and its versions as start-up information."""
    from ktrdr.core.cluster.dask_settings import PROTOCOL_RESOURCE, versions
    from ktrdr.core.plugins.manager import PluginManager
    from ktrdr.worker.self_check import UnfitError, capabilities, check_versions, validate

    if worker.nanny is not None:
        # Ctrl+C and service managers signal every process of a group. The nanny decides when this process ends: after
        # operations have written their checkpoints.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    plugins = PluginManager()
    try:
        validate(require, plugins)
        # The worker itself waits for a scheduler that does not answer yet.
        with contextlib.suppress(OSError, TimeoutError):
            await check_versions(worker.scheduler)
    except UnfitError as error:
        # An exception here would not keep the worker from joining (dask/distributed#8754).
        print(f"Error: {error}", file=sys.stderr, flush=True)
        os._exit(UnfitError.exit_status)
    offered = capabilities(plugins)
    resources = dict.fromkeys([PROTOCOL_RESOURCE, *offered], float(worker.state.nthreads))
    worker.state.total_resources.update(resources)
    worker.state.available_resources.update(resources)
    facts = {**versions(), "capabilities": offered}
    worker.startup_information["ktrdr"] = lambda _: facts
