"""Packing of a stored result into one zip file, which a worker sends to the API and a server to a client."""

from __future__ import annotations

from pathlib import Path

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.archives import ArchiveLimits, files_below, open_archive, write_archive
from ktrdr.core.files.reading import FileError

__all__ = ["pack_result", "unpack_result"]

_LIMITS = ArchiveLimits(files=64, size=4 * 2**30)


def pack_result(directory: Path, path: Path) -> None:
    """Write the files of a run or an evaluation to the zip file ``path``, without subdirectories.

    Raises:
        FileError: the directory holds files with invalid names, or more files than a result has.
        StoreError: the disk is full, or the place is not writable.
    """
    write_archive(path, directory, [name for name in files_below(directory) if "/" not in name], _LIMITS)


def unpack_result(path: Path, directory: Path, kind: str) -> None:
    """Write the files of the untrusted zip file ``path`` to ``directory``, which is made.

    Whether the files are a result is not checked. The message calls it ``kind``, such as ``run``.

    Raises:
        BadInputError: the zip file is damaged, or holds more or other files than a result has.
    """
    try:
        with open_archive(path, _LIMITS) as archive:
            archive.extract(directory)
    except FileError as error:
        raise BadInputError(f"the {kind} that was sent cannot be read: {error}") from None
