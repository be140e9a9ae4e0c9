"""Responses with a file that is created for the response and removed afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from ktrdr.core.files.temporary import new_temporary_directory

__all__ = ["FILE", "PARQUET", "ZIP", "report_page", "temporary_file"]

PARQUET = "application/vnd.apache.parquet"
ZIP = "application/zip"
FILE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}

# A report contains its scripts; it may run them, but must load nothing and connect to nothing.
_REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'none'; sandbox allow-scripts allow-downloads"
)


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


def report_page(make: Callable[[Path], Any], filename: str) -> FileResponse:
    """Return a response with the HTML report that ``make`` writes to the given path, to be shown by a browser."""
    answer = temporary_file(make, filename=filename, media_type="text/html")
    answer.headers["Content-Disposition"] = "inline"
    answer.headers["Content-Security-Policy"] = _REPORT_POLICY
    return answer
