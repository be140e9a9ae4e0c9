"""Choice of the engine by the settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ktrdr.api.engine.port import ExecutionEngine, NoEngine
from ktrdr.api.settings import ApiSettings, is_loopback
from ktrdr.core.errors import BadInputError

if TYPE_CHECKING:
    from ktrdr.api.engine.embedded import EmbeddedEngine
    from ktrdr.core.cluster.exchange import Exchange

__all__ = ["choose_engine", "embedded_engine"]

_ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):(\d{1,5})", re.ASCII)


def choose_engine(settings: ApiSettings) -> ExecutionEngine:
    """Return the engine of the settings. `distributed` is imported only for an engine on Dask.

    Raises:
        BadInputError: an address or a certificate is wrong, or the settings name both kinds of scheduler.
    """
    if settings.scheduler is not None and settings.listen_workers is not None:
        raise BadInputError(
            "KTRDR_API_SCHEDULER names a scheduler to use and KTRDR_API_LISTEN_WORKERS starts another one; set only one"
            " of them"
        )
    if settings.listen_workers is not None:
        return embedded_engine(settings, settings.listen_workers, workers=0)
    if settings.scheduler is None:
        return NoEngine()
    _check(settings, settings.scheduler, "KTRDR_API_SCHEDULER")
    from ktrdr.api.engine.dask import DaskEngine

    return DaskEngine(
        settings.scheduler, grace=settings.grace, certificates=settings.certificates, exchange=_exchange()
    )


def embedded_engine(
    settings: ApiSettings, listen: str, *, workers: int, require: tuple[str, ...] = ()
) -> EmbeddedEngine:
    """Return an engine with its own scheduler at ``listen``, and local worker processes.

    Raises:
        BadInputError: the address is wrong, or other machines could reach it without certificates.
    """
    host = _check(settings, listen, "KTRDR_API_LISTEN_WORKERS")
    if not is_loopback(host) and not listen.startswith("tls://"):
        raise BadInputError(
            f"whoever reaches a scheduler can run code on its workers: refusing to listen at {listen} without"
            " certificates; use tls://... with KTRDR_API_CERTIFICATES, or listen on 127.0.0.1"
        )
    from ktrdr.api.engine.embedded import EmbeddedEngine

    return EmbeddedEngine(
        listen=listen,
        workers=workers,
        require=require,
        grace=settings.grace,
        certificates=settings.certificates,
        exchange=_exchange(),
    )


def _exchange() -> Exchange | None:
    """Return the exchange over the object store of ``KTRDR_STORE``; without that variable import nothing."""
    from ktrdr.core.cluster.object_store import store_url

    if store_url() is None:
        return None
    from ktrdr.core.cluster.exchange import Exchange

    return Exchange.from_environment()


def _check(settings: ApiSettings, address: str, variable: str) -> str:
    match = _ADDRESS.fullmatch(address)
    if not match:
        raise BadInputError(
            f"{variable}: `{address}` is not an address of a scheduler; write for example tcp://127.0.0.1:8786"
        )
    if match[1] == "tls" and settings.certificates is None:
        raise BadInputError(f"{address} needs certificates; name their directory in KTRDR_API_CERTIFICATES")
    return match[2]
