"""Temporary directories, with clear errors if none can be created."""

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
"""Bytes that a directory and the test file that Python writes to it may take."""


def new_temporary_directory(prefix: str) -> Path:
    """Create an empty temporary directory whose name begins with ``prefix``, and return it; the caller removes it.

    Raises:
        DiskFullError: the disks of all directories for temporary files are full.
        StoreError: no directory for temporary files is writable, for another reason.
        OSError: the directory in use is not writable now.
    """
    try:
        return Path(tempfile.mkdtemp(prefix=prefix))
    except FileNotFoundError as error:
        # If Python can write to no directory, for example on a full disk, it raises FileNotFoundError.
        place = Path(os.environ.get("TMPDIR") or "/tmp")
        if free_bytes(place) < _TOO_LITTLE:
            message = f"cannot write to the temporary directory {place}: the disk is full; make room there, or name"
            raise DiskFullError(f"{message} another directory with TMPDIR") from error
        raise StoreError("no directory for temporary files can be written to; name one with TMPDIR") from error


@contextlib.contextmanager
def temporary_directory(prefix: str) -> Iterator[Path]:
    """Yield a new temporary directory, and remove it afterwards."""
    directory = new_temporary_directory(prefix)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
