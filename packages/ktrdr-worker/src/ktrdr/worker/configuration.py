"""Settings of Dask that KTRDR depends on; API and worker set the same."""

from __future__ import annotations

from typing import Any

__all__ = ["DASK_SETTINGS", "configure"]

DASK_SETTINGS: dict[str, Any] = {
    # A network cut of a minute is no reason to lose a job that runs on regardless.
    "distributed.comm.timeouts.tcp": "600s",
    "distributed.scheduler.worker-ttl": "120s",
    # The ledger decides about running again, with the history of attempts in view.
    "distributed.scheduler.allowed-failures": 0,
    # Operations are children of the worker, and may have children of their own.
    "distributed.worker.daemon": False,
    # The worker itself holds little: its children's memory is theirs.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
}


def configure() -> None:
    """Apply the settings to this process."""
    import dask.config

    dask.config.set(DASK_SETTINGS)
