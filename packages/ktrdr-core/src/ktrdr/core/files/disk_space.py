"""Free disk space, and messages for failed writes."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from ktrdr.core.errors import DiskFullError, StoreError

__all__ = ["cannot_write", "free_bytes", "is_out_of_room", "why_not_written"]

# DuckDB's errors have the system's text but no error number.
_FULL = ("No space left", "Disk quota exceeded", "max_temp_directory_size")
_TOO_LARGE = "File too large"


def free_bytes(directory: Path) -> int:
    """Return the free bytes on the disk of ``directory``, or of its parent if it does not exist; 0 if neither does."""
    place = directory if directory.exists() else directory.parent
    return shutil.disk_usage(place).free if place.exists() else 0


def is_out_of_room(error: Exception) -> bool:
    """Return True if ``error``, of the system or of DuckDB, means that there was not enough space to write."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return any(text in str(error) for text in (*_FULL, _TOO_LARGE))


def why_not_written(error: Exception) -> str:
    """Return the reason of a failed write as part of a sentence, without path and full stop."""
    text = str(error)
    if getattr(error, "errno", None) == errno.EFBIG or _TOO_LARGE in text:
        return "a file would be larger than is allowed here (see `ulimit -f`)"
    if is_out_of_room(error):
        return "the disk is full"
    return getattr(error, "strerror", None) or next(iter(text.splitlines()), type(error).__name__)


def cannot_write(place: object, error: Exception, outcome: str) -> StoreError:
    """Return the error to raise from ``error``, which occurred while ``place`` was written.

    Args:
        place: the file or directory, for the message.
        error: the error of the system or of DuckDB.
        outcome: a clause with the state after the failure, and perhaps the remedy.
    """
    kind = DiskFullError if is_out_of_room(error) else StoreError
    return kind(f"cannot write {place}: {why_not_written(error)}; {outcome}")
