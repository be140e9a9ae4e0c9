"""Makes any Dask worker a KTRDR worker: ``dask worker tcp://host:8786 --preload ktrdr.worker.preload --require torch``.

Used by ``ktrdr worker`` too, so that dask-jobqueue, dask-kubernetes and dask-cuda get the same worker.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

__all__ = ["dask_setup"]


@click.command()
@click.option("--require", multiple=True, envvar="KTRDR_WORKER_REQUIRE")
def dask_setup(worker: Any, require: tuple[str, ...]) -> None:
    """Validate, then announce capabilities as Dask resources and versions as start-up information."""
    from ktrdr.core import __version__
    from ktrdr.core.plugins.contract import CONTRACT_VERSION
    from ktrdr.core.plugins.manager import PluginManager
    from ktrdr.worker.validation import UnfitError, capabilities, validate

    plugins = PluginManager()
    try:
        validate(require, plugins)
    except UnfitError as error:
        # An exception here would not keep the worker from joining (dask/distributed#8754).
        print(f"Error: {error}", file=sys.stderr, flush=True)
        os._exit(UnfitError.exit_status)
    offered = capabilities(plugins)
    resources = dict.fromkeys(offered, float(worker.state.nthreads))
    worker.state.total_resources.update(resources)
    worker.state.available_resources.update(resources)
    facts = {"core": __version__, "contract": CONTRACT_VERSION, "capabilities": offered}
    worker.startup_information["ktrdr"] = lambda _: facts
