"""The ML backends installed in the environment of the API; they are listed without being imported."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

__all__ = ["router"]

router = APIRouter(tags=["plugins"])


class Plugin(BaseModel):
    """An installed plugin; ``message`` says why its state is not ``available``."""

    name: str
    distribution: str
    version: str
    state: Literal["available", "blocked", "clash"]
    message: str


@router.get("/plugins")
def list_plugins() -> list[Plugin]:
    """List the plugins in the environment of the API; those of workers may differ."""
    from ktrdr.core.plugins.manager import PluginManager

    return [
        Plugin(
            name=record.name,
            distribution=record.distribution,
            version=record.version,
            state=record.state,
            message=record.message,
        )
        for record in PluginManager().records()
    ]
