"""What every process of a Dask cluster of KTRDR must agree on: settings, certificates, versions.

Used by the API and by workers, which both depend on `distributed`; core does not, so it is imported inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ktrdr.core.errors import BadInputError

__all__ = [
    "ADJUSTABLE",
    "CERTIFICATE_FILES",
    "DASK_SETTINGS",
    "PROTOCOL_RESOURCE",
    "PROTOCOL_VERSION",
    "VERSIONS_KEY",
    "configure",
    "configure_scheduler",
    "tls_security",
    "versions",
    "versions_table",
]

PROTOCOL_VERSION = 3
"""Version of what API and workers say to each other. It changes when an older side could not follow."""

PROTOCOL_RESOURCE = f"ktrdr-protocol-{PROTOCOL_VERSION}"
"""Dask resource that every worker offers and every operation needs: a worker of another protocol is given nothing."""

VERSIONS_KEY = "ktrdr-versions"
"""Where in the scheduler's metadata the API leaves its :func:`versions`."""

CERTIFICATE_FILES = ("ca.pem", "cert.pem", "key.pem")
"""What a directory of certificates holds: the authority's certificate, this process's own, and its key."""

DASK_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
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
        # What joins and leaves is said in our own words; Dask is to speak when something is wrong.
        "logging.distributed": "warning",
        "distributed.admin.tick.interval": "500ms",
        "distributed.admin.system-monitor.interval": "5s",
    }
)
"""Settings of Dask that every process of a cluster is started with."""

ADJUSTABLE = (
    "distributed.comm.timeouts.tcp",
    "distributed.scheduler.worker-ttl",
    "distributed.admin.tick.interval",
    "distributed.admin.system-monitor.interval",
    "logging.distributed",
)
"""Those of the settings that an operator may know better; the others keep what the ledger relies on."""


def configure() -> None:
    """Apply :data:`DASK_SETTINGS` to this process. Call it before `distributed` is imported, which sets up logging.

    :data:`ADJUSTABLE` ones give way to the environment: ``DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=30s``.
    """
    import dask.config

    own = dask.config.collect_env()
    given = {name for name in ADJUSTABLE if dask.config.get(name, None, config=own) is not None}
    dask.config.set({name: value for name, value in DASK_SETTINGS.items() if name not in given})


def configure_scheduler(dask_scheduler: Any) -> None:
    """Apply the settings where a scheduler runs that somebody else started; ``dask_scheduler`` is filled in by Dask."""
    import dask.config
    from dask.utils import parse_timedelta

    configure()
    dask_scheduler.allowed_failures = DASK_SETTINGS["distributed.scheduler.allowed-failures"]
    dask_scheduler.worker_ttl = parse_timedelta(dask.config.get("distributed.scheduler.worker-ttl"))
    looking = dask_scheduler.periodic_callbacks.get("worker-ttl")
    if looking is not None and looking.callback_time != dask_scheduler.worker_ttl * 1000:
        looking.stop()
        looking.callback_time = dask_scheduler.worker_ttl * 1000
        looking.start()


def tls_security(directory: Path | None) -> Any:
    """Return what `distributed` calls ``Security``: mutual certificates from ``directory``, or ``None`` without one.

    Raises:
        BadInputError: a file is missing, with the command that makes a set.
    """
    if directory is None:
        return None
    missing = [name for name in CERTIFICATE_FILES if not (directory / name).is_file()]
    if missing:
        raise BadInputError(
            f"`{directory}` lacks {', '.join(missing)}; make a set of certificates with"
            " `ktrdr cluster certificates DIRECTORY`"
        )
    from distributed import Security

    authority, certificate, key = (str(directory / name) for name in CERTIFICATE_FILES)
    roles = {
        f"tls_{role}_{part}": path
        for role in ("scheduler", "worker", "client")
        for part, path in (("cert", certificate), ("key", key))
    }
    return Security(tls_ca_file=authority, require_encryption=True, **roles)


def versions() -> dict[str, str]:
    """Return what this side is: protocol, core and plugin contract."""
    from ktrdr.core import __version__
    from ktrdr.core.plugins.contract import CONTRACT_VERSION

    return {"protocol": str(PROTOCOL_VERSION), "core": __version__, "contract": CONTRACT_VERSION}


def versions_table(api: Mapping[str, str], worker: Mapping[str, str]) -> str:
    """Return both sides' versions as an aligned table, the line that does not fit marked."""
    rows = [("", "API", "worker")]
    rows += [(name, api.get(name, "?"), worker.get(name, "?")) for name in ("protocol", "core", "contract")]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for row in rows:
        mark = "  <- must be the same" if row[0] == "protocol" and row[1] != row[2] else ""
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        lines.append(("  " + "  ".join(cells)).rstrip() + mark)
    return "\n".join(lines)
