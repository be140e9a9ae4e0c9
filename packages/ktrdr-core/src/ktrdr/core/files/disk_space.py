"""How much room there is, and why the system did not let something be written, in words."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from ktrdr.core.errors import DiskFullError, StoreError

__all__ = ["cannot_write", "free_bytes", "is_out_of_room", "why_not_written"]

# DuckDB's errors carry the system's text and no number.
_FULL = ("No space left", "Disk quota exceeded", "max_temp_directory_size")
_TOO_LARGE = "File too large"


def free_bytes(directory: Path) -> int:
    """Return how many bytes can be written below ``directory`` (or beside it, where it is not made yet); 0: nowhere."""
    place = directory if directory.exists() else directory.parent
    return shutil.disk_usage(place).free if place.exists() else 0


def is_out_of_room(error: Exception) -> bool:
    """Tell whether ``error``, of the system or of DuckDB, means that there is no room for what was to be written."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return any(text in str(error) for text in (*_FULL, _TOO_LARGE))


def why_not_written(error: Exception) -> str:
    """Return the reason for a sentence: no path, no full stop."""
    text = str(error)
    if getattr(error, "errno", None) == errno.EFBIG or _TOO_LARGE in text:
        return "a file would be larger than is allowed here (see `ulimit -f`)"
    if is_out_of_room(error):
        return "the disk is full"
    return getattr(error, "strerror", None) or next(iter(text.splitlines()), type(error).__name__)


def cannot_write(place: object, error: Exception, outcome: str) -> StoreError:
    """Return the error to raise from ``error``, which came up when something was written to ``place``.

    ``outcome`` says what holds now, and perhaps what to do.
    """
    kind = DiskFullError if is_out_of_room(error) else StoreError
    return kind(f"cannot write {place}: {why_not_written(error)}; {outcome}")
