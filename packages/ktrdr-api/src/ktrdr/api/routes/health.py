"""Liveness and readiness of the server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from ktrdr.api import __version__
from ktrdr.api.ledger.records import LedgerDamagedError, LedgerUnavailableError
from ktrdr.api.services import Opened, Services
from ktrdr.core.files.disk_space import free_bytes
from ktrdr.core.limits import LEAST_FREE_DISK

__all__ = ["router"]

router = APIRouter(tags=["health"])

_SECONDS_TO_ANSWER = 3.0


class Health(BaseModel):
    """``status`` is ``ok`` while the process answers."""

    status: Literal["ok"]
    version: str


class Readiness(BaseModel):
    """``status`` is ``ready`` if the server accepts operations; ``engine`` says whether they can also run now.

    ``database`` is ``ok`` if the queries of requests and of the server succeed, ``damaged`` if the content of the
    ledger cannot be read. ``reason`` says, for people, why the server is not ready.
    """

    status: Literal["ready", "not ready"]
    database: Literal["ok", "unreachable", "damaged"]
    engine: Literal["connected", "none"]
    free_disk_bytes: int
    reason: str | None = None


@router.get("/health")
async def get_health() -> Health:
    """Return the liveness of the process. Needs no token."""
    return Health(status="ok", version=__version__)


@router.get("/health/ready", responses={503: {"model": Readiness, "description": "Not ready"}})
async def get_readiness(response: Response, opened: Opened) -> Readiness:
    """Return whether the server accepts operations, whether an engine is connected, and the free disk space.

    The server is not ready if its ledger cannot be read and written, if its disk is almost full, or if one of its
    tasks has ended. Needs no token.
    """
    database, reason = await _database(opened)
    free = _free(opened)
    if reason is None and free < LEAST_FREE_DISK:
        reason = f"less than {LEAST_FREE_DISK:,} bytes are free on the server's disk; make room"
    if reason is None and not opened.operations.working():
        reason = "a task of the server has ended, see the server's log; restart the server"
    if reason is not None:
        response.status_code = 503
    return Readiness(
        status="ready" if reason is None else "not ready",
        database=database,
        engine="connected" if await opened.operations.engine_healthy() else "none",
        free_disk_bytes=free,
        reason=reason,
    )


async def _database(opened: Services) -> tuple[Literal["ok", "unreachable", "damaged"], str | None]:
    try:
        async with asyncio.timeout(_SECONDS_TO_ANSWER):
            await opened.ledger.check()
        opened.operations.check()
    except LedgerDamagedError:
        return "damaged", "the ledger cannot be read, see the server's log; put back a backup of the ledger"
    except (LedgerUnavailableError, TimeoutError):
        return "unreachable", "the ledger cannot be reached, see the server's log; check that its database runs"
    return "ok", None


def _free(opened: Services) -> int:
    """Return the free bytes on the disk of the home or of the ledger, whichever has less; 0 if that is not known."""
    file = opened.database.writer.url.database if opened.database.writer.dialect.name == "sqlite" else None
    try:
        return min(free_bytes(place) for place in (opened.home, *([Path(file).parent] if file else [])))
    except OSError:
        return 0
