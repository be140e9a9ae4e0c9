"""Check of the path that a user exports something to."""

from __future__ import annotations

from pathlib import Path

from ktrdr.core.errors import BadInputError

__all__ = ["check_export_path"]


def check_export_path(path: Path, *, overwrite: bool, remedy: str = "--force") -> None:
    """Check that a file can be written to ``path``.

    Args:
        path: of the file, which need not exist.
        overwrite: True if an existing file may be replaced.
        remedy: what the user adds to overwrite the file: an option of the command, or an argument of the function.

    Raises:
        BadInputError: ``path`` is a directory, its directory does not exist, or the file exists.
    """
    if path.is_dir():
        raise BadInputError(f"{path} is a directory; name a file to write")
    if not path.parent.is_dir():
        raise BadInputError(f"there is no directory {path.parent} to export to; create it first")
    if path.exists() and not overwrite:
        raise BadInputError(f"{path} exists; choose another file, or overwrite it with {remedy}")
