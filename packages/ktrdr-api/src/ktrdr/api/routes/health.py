"""Is the API alive, and is it ready."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from ktrdr.api import __version__
from ktrdr.api.services import Opened
from ktrdr.core.files.disk_space import free_bytes

__all__ = ["router"]

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """``status`` is ``ok`` while the process answers."""

    status: Literal["ok"]
    version: str


class Readiness(BaseModel):
    """``status`` is ``ready`` when operations can be accepted; ``engine`` whether they can also run now."""

    status: Literal["ready", "not ready"]
    database: Literal["ok", "unreachable"]
    engine: Literal["connected", "none"]
    free_disk_bytes: int


@router.get("/health")
async def get_health() -> Health:
    """Say that the process is alive. Needs no token."""
    return Health(status="ok", version=__version__)


@router.get("/health/ready", responses={503: {"model": Readiness, "description": "Not ready"}})
async def get_readiness(response: Response, opened: Opened) -> Readiness:
    """Say whether the ledger answers, an engine is connected, and how much disk is left. Needs no token."""
    database: Literal["ok", "unreachable"] = "ok"
    try:
        await opened.ledger.last_event()
    except OSError:
        database = "unreachable"
        response.status_code = 503
    return Readiness(
        status="ready" if database == "ok" else "not ready",
        database=database,
        engine="connected" if await opened.operations.engine_healthy() else "none",
        free_disk_bytes=free_bytes(opened.home),
    )
