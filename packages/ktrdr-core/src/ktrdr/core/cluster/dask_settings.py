"""Settings, certificates and versions that all processes of a Dask cluster of KTRDR must agree on.

The API and workers use this module. Both depend on `distributed`, but core does not, so it is imported inside
functions.
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

PROTOCOL_VERSION = 7
"""Version of the protocol between API and workers; raised when an older side would not understand a newer one."""

PROTOCOL_RESOURCE = f"ktrdr-protocol-{PROTOCOL_VERSION}"
"""Dask resource that every worker offers and every operation requires, so a worker of another version gets no work."""

VERSIONS_KEY = "ktrdr-versions"
"""Key in the scheduler's metadata under which the API stores its :func:`versions`."""

CERTIFICATE_FILES = ("ca.pem", "cert.pem", "key.pem")
"""Files in a directory of certificates: certificate of the authority, own certificate, and own key."""

DASK_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        # A job keeps running during a network failure of a minute, and must not be lost.
        "distributed.comm.timeouts.tcp": "600s",
        "distributed.scheduler.worker-ttl": "120s",
        # The ledger decides whether to run an operation again, as it knows all attempts.
        "distributed.scheduler.allowed-failures": 0,
        # Operations are child processes of the worker, and may have child processes of their own.
        "distributed.worker.daemon": False,
        # The worker itself uses little memory; Dask does not measure that of its child processes.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": False,
        "distributed.worker.profile.enabled": False,
        # KTRDR logs itself which workers join and leave; Dask should only log problems.
        "logging.distributed": "warning",
        "distributed.admin.tick.interval": "500ms",
        "distributed.admin.system-monitor.interval": "5s",
    }
)
"""Settings of Dask for every process of a cluster."""

ADJUSTABLE = (
    "distributed.comm.timeouts.tcp",
    "distributed.scheduler.worker-ttl",
    "distributed.admin.tick.interval",
    "distributed.admin.system-monitor.interval",
    "logging.distributed",
)
"""Settings that an operator may override; the ledger relies on the others."""


def configure() -> None:
    """Apply :data:`DASK_SETTINGS` to this process. Call it before `distributed` is imported, which sets up logging.

    Environment variables override :data:`ADJUSTABLE` settings: ``DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=30s``.
    """
    import dask.config

    own = dask.config.collect_env()
    given = {name for name in ADJUSTABLE if dask.config.get(name, None, config=own) is not None}
    dask.config.set({name: value for name, value in DASK_SETTINGS.items() if name not in given})


def configure_scheduler(dask_scheduler: Any) -> None:
    """Apply the settings to a scheduler that KTRDR did not start; Dask passes ``dask_scheduler``."""
    import dask.config
    from dask.utils import parse_timedelta

    configure()
    dask_scheduler.allowed_failures = DASK_SETTINGS["distributed.scheduler.allowed-failures"]
    dask_scheduler.worker_ttl = parse_timedelta(dask.config.get("distributed.scheduler.worker-ttl"))
    check = dask_scheduler.periodic_callbacks.get("worker-ttl")
    if check is not None and check.callback_time != dask_scheduler.worker_ttl * 1000:
        check.stop()
        check.callback_time = dask_scheduler.worker_ttl * 1000
        check.start()


def tls_security(directory: Path | None) -> Any:
    """Return a ``distributed.Security`` for mutual TLS with the certificates in ``directory``.

    ``None`` for no encryption if ``directory`` is ``None``.

    Raises:
        BadInputError: a file is missing; the message has the command that makes the certificates.
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
    """Return the versions of this side: protocol, core and plugin contract."""
    from ktrdr.core import __version__
    from ktrdr.core.plugins.contract import CONTRACT_VERSION

    return {"protocol": str(PROTOCOL_VERSION), "core": __version__, "contract": CONTRACT_VERSION}


def versions_table(api: Mapping[str, str], worker: Mapping[str, str]) -> str:
    """Return the versions of both sides as an aligned table, with a mark at a protocol that differs."""
    rows = [("", "API", "worker")]
    rows += [(name, api.get(name, "?"), worker.get(name, "?")) for name in ("protocol", "core", "contract")]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for row in rows:
        mark = "  <- must be the same" if row[0] == "protocol" and row[1] != row[2] else ""
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        lines.append(("  " + "  ".join(cells)).rstrip() + mark)
    return "\n".join(lines)
