"""Take in a body that is too large for memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
from fastapi import Request
from starlette.concurrency import run_in_threadpool

from ktrdr.core.files.temporary import temporary_directory

__all__ = ["UPLOAD_PREFIX", "one_of_few", "receive"]

UPLOAD_PREFIX = "ktrdr-upload-"

_AT_ONCE = 2
_T = TypeVar("_T")


async def one_of_few(state: Any, work: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
    """Run ``work`` in a thread, as one of two at most that take in what was uploaded; the others wait their turn.

    Args:
        state: of the application.
        work: what is to be done.
        arguments, options: of it.
    """
    limiter = getattr(state, "taking_in", None)
    if limiter is None:
        limiter = state.taking_in = anyio.CapacityLimiter(_AT_ONCE)
    return await anyio.to_thread.run_sync(partial(work, *arguments, **options), limiter=limiter)


@asynccontextmanager
async def receive(request: Request, filename: str) -> AsyncIterator[Path]:
    """Write the body to ``filename`` in a directory of its own, which is removed afterwards.

    ``filename`` must have been checked to be a plain name. The server's limit on uploads holds.
    """
    with temporary_directory(UPLOAD_PREFIX) as directory:
        path = directory / filename
        with path.open("wb") as file:
            async for chunk in request.stream():
                await run_in_threadpool(file.write, chunk)
        yield path
