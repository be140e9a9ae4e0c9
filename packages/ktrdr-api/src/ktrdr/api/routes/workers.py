"""Connected workers, their capabilities and running operations, and the scheduler."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from ktrdr.api.services import Opened

__all__ = ["router"]

router = APIRouter(tags=["workers"])


class WorkerView(BaseModel):
    """A connected worker.

    ``running`` are ids of operations; ``/health`` and ``/metrics`` of the worker are below the URL ``facts.http``.
    """

    address: str
    name: str
    capabilities: list[str]
    running: list[str]
    facts: dict[str, Any]


class SchedulerView(BaseModel):
    """The scheduler: workers join ``address``; ``/health`` and ``/metrics`` are below the URL ``http``."""

    connected: bool
    address: str | None
    http: str | None


@router.get("/scheduler")
async def get_scheduler(opened: Opened) -> SchedulerView:
    """Return the address that workers join, and the URL of the scheduler's health and metrics."""
    found = await opened.operations.scheduler()
    if found is None:
        return SchedulerView(connected=False, address=None, http=None)
    return SchedulerView(connected=True, address=found.address, http=found.http)


@router.get("/workers")
async def list_workers(opened: Opened) -> list[WorkerView]:
    """List the connected workers."""
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
