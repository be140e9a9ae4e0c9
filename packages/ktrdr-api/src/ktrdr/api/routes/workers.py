"""Workers: who is there, what each can do, what it runs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from ktrdr.api.services import Opened

__all__ = ["router"]

router = APIRouter(tags=["workers"])


class WorkerView(BaseModel):
    """A connected worker; ``running`` are ids of operations."""

    address: str
    name: str
    capabilities: list[str]
    running: list[str]
    facts: dict[str, Any]


@router.get("/workers")
async def list_workers(opened: Opened) -> list[WorkerView]:
    """List the workers connected now."""
    return [
        WorkerView(
            address=worker.address,
            name=worker.name,
            capabilities=list(worker.capabilities),
            running=[attempt.operation_id for attempt in worker.running],
            facts=dict(worker.facts),
        )
        for worker in await opened.operations.workers()
    ]
