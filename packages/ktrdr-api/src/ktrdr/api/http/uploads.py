"""Uploads: a large request body is written to a temporary file."""

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
    """Run ``work`` in a thread; at most two uploads are processed at once, the others wait.

    Args:
        state: of the application.
        work: function to call.
        *arguments: of ``work``.
        **options: of ``work``.
    """
    limiter = getattr(state, "taking_in", None)
    if limiter is None:
        limiter = state.taking_in = anyio.CapacityLimiter(_AT_ONCE)
    return await anyio.to_thread.run_sync(partial(work, *arguments, **options), limiter=limiter)


@asynccontextmanager
async def receive(request: Request, filename: str) -> AsyncIterator[Path]:
    """Write the request body to ``filename`` in a temporary directory, which is removed afterwards.

    The caller has checked that ``filename`` contains no directory. The server's limit on uploads applies.
    """
    with temporary_directory(UPLOAD_PREFIX) as directory:
        path = directory / filename
        with path.open("wb") as file:
            async for chunk in request.stream():
                await run_in_threadpool(file.write, chunk)
        yield path
