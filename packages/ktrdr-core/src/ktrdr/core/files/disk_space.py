"""Why the system did not let something be written, in words."""

from __future__ import annotations

import errno

__all__ = ["is_out_of_room", "why_not_written"]

# DuckDB's errors carry the system's text and no number.
_FULL = ("No space left", "Disk quota exceeded", "max_temp_directory_size")
_TOO_LARGE = "File too large"


def is_out_of_room(error: Exception) -> bool:
    """Tell whether ``error``, of the system or of DuckDB, means that there is no room for what was to be written."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return any(text in str(error) for text in (*_FULL, _TOO_LARGE))


def why_not_written(error: Exception) -> str:
    """Return the reason for a sentence: no path, no full stop."""
    text = str(error)
    if getattr(error, "errno", None) == errno.EFBIG or _TOO_LARGE in text:
        return "a file would be larger than is allowed here (see `ulimit -f`)"
    if is_out_of_room(error):
        return "the disk is full"
    return getattr(error, "strerror", None) or text.splitlines()[0]
