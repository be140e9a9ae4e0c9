"""Responses with a file that is created for the response and removed afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from ktrdr.core.files.temporary import new_temporary_directory

__all__ = ["FILE", "PARQUET", "ZIP", "temporary_file"]

PARQUET = "application/vnd.apache.parquet"
ZIP = "application/zip"
FILE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def temporary_file(make: Callable[[Path], Any], *, filename: str, media_type: str) -> FileResponse:
    """Return a response with the file that ``make`` writes to the given path; the file is removed after sending."""
    directory = new_temporary_directory("ktrdr-download-")
    try:
        make(directory / filename)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return FileResponse(
        directory / filename,
        media_type=media_type,
        filename=filename,
        background=BackgroundTask(shutil.rmtree, directory, ignore_errors=True),
    )
