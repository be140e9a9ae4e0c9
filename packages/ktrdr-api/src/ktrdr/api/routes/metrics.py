"""Metrics for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ktrdr.api.ledger.states import STATES
from ktrdr.api.services import Opened
from ktrdr.core.files.disk_space import free_bytes

__all__ = ["router"]

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text"}},
)
async def get_metrics(request: Request, opened: Opened) -> Response:
    """Return metrics for Prometheus: requests, operations by state, workers and event streams."""
    from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

    workers = await opened.operations.workers()
    text = request.app.state.metrics.text(
        operations=dict.fromkeys(STATES, 0) | await opened.ledger.counts(),
        workers=len(workers),
        running=sum(len(worker.running) for worker in workers),
        listeners=opened.operations.broadcast.listeners,
        free_bytes=free_bytes(opened.home),
    )
    return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)
