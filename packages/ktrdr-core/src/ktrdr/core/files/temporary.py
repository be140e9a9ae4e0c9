"""Temporary directories, and why there is none."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ktrdr.core.errors import DiskFullError, StoreError
from ktrdr.core.files.disk_space import free_bytes

__all__ = ["new_temporary_directory", "temporary_directory"]

_TOO_LITTLE = 65_536
"""Bytes that a directory and the file that Python tries in it may take."""


def new_temporary_directory(prefix: str) -> Path:
    """Return an empty directory of the caller's, whose name begins with ``prefix``.

    Raises:
        DiskFullError: the disk of every place for temporary files is full.
        StoreError: no such place can be written to for another reason.
        OSError: the place in use cannot be written to now.
    """
    try:
        return Path(tempfile.mkdtemp(prefix=prefix))
    except FileNotFoundError as error:
        # Where Python looks for a place and can write to none, a full disk is a file that was not found.
        place = Path(os.environ.get("TMPDIR") or "/tmp")
        if free_bytes(place) < _TOO_LITTLE:
            message = f"cannot write to the temporary directory {place}: the disk is full; make room there, or name"
            raise DiskFullError(f"{message} another directory with TMPDIR") from error
        raise StoreError("no directory for temporary files can be written to; name one with TMPDIR") from error


@contextlib.contextmanager
def temporary_directory(prefix: str) -> Iterator[Path]:
    """Yield what :func:`new_temporary_directory` returns, and remove it afterwards."""
    directory = new_temporary_directory(prefix)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
