"""Take in a body that is too large for memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from ktrdr.core.files.temporary import temporary_directory

__all__ = ["UPLOAD_PREFIX", "receive"]

UPLOAD_PREFIX = "ktrdr-upload-"


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
