"""Is the API alive."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from ktrdr.api import __version__

__all__ = ["router"]

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """``status`` is ``ok`` while the process answers."""

    status: Literal["ok"]
    version: str


@router.get("/health")
async def health() -> Health:
    """Say that the process is alive. Needs no token."""
    return Health(status="ok", version=__version__)
