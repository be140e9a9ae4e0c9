"""Atomic and durable writes: a file on disk is complete or does not exist.

A file or directory is written beside its target (so on the same disk) under a name that starts with
:data:`UNFINISHED`, flushed, and renamed. A process that is killed leaves at most something with such a name. Nothing
reads it, and it may be removed once its writer has ended.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from ktrdr.core.files.disk_space import cannot_write

__all__ = [
    "DISCARDED",
    "UNFINISHED",
    "discard_directory",
    "new_directory",
    "new_file",
    "publish_directory",
    "remove_leftovers",
    "stage_file",
    "sync_directory",
    "sync_file",
    "sync_tree",
    "write_atomically",
    "writing",
]

UNFINISHED = ".ktrdr-new-"
DISCARDED = ".ktrdr-old-"


def sync_file(path: Path) -> None:
    """Flush a file's content to disk."""
    _sync(path, os.O_RDONLY | os.O_NOFOLLOW)


def sync_directory(directory: Path) -> None:
    """Flush a directory's entries to disk."""
    _sync(directory, os.O_RDONLY)


def sync_tree(directory: Path) -> None:
    """Flush every file below ``directory``, then the directories."""
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names:
            sync_file(Path(folder) / name)
        sync_directory(Path(folder))


@contextmanager
def writing(place: object, outcome: str = "nothing was written") -> Iterator[None]:
    """Convert an OSError in the block into a :class:`StoreError` about writing ``place``."""
    try:
        yield
    except OSError as error:
        raise cannot_write(place, error, outcome) from error


@contextmanager
def new_file(path: Path, *, flush: bool = True) -> Iterator[Path]:
    """Yield an empty file beside ``path``, which replaces ``path`` when the block ends without an error.

    It gets the permissions of the replaced file, else those of a new file. With several writers the last one wins, and
    the file is always complete.

    Args:
        path: file to write.
        flush: flush the file to disk, which takes long for a large one. Without it the file may be damaged after a
            failure of the machine, so its reader must be able to tell.

    Raises:
        StoreError: the disk is full, or the directory is not writable; ``path`` is unchanged.
    """
    with writing(path):
        temporary = _create_beside(path)
        try:
            yield temporary
            if flush:
                sync_file(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    if flush:
        sync_directory(path.parent)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file atomically, as :func:`new_file` does."""
    with new_file(path) as temporary:
        temporary.write_bytes(content)


def stage_file(path: Path, content: bytes) -> Path:
    """Return a flushed file beside ``path`` with ``content``, for a writer that renames several files at the end."""
    temporary = _create_beside(path)
    try:
        temporary.write_bytes(content)
        sync_file(temporary)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory beside ``path``, which is renamed to ``path`` when the block ends without an error.

    ``path`` must not exist, or must be an empty directory.

    Raises:
        StoreError: the disk is full, or the parent directory is not writable; ``path`` is unchanged.
    """
    temporary = _name_beside(path, UNFINISHED)
    with writing(path):
        temporary.mkdir()
        try:
            yield temporary
            publish_directory(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def publish_directory(temporary: Path, path: Path) -> None:
    """Flush a directory and rename it to ``path``, in the same parent directory."""
    sync_tree(temporary)
    temporary.rename(path)
    sync_directory(path.parent)


def discard_directory(directory: Path) -> None:
    """Remove a directory atomically: rename it, then remove its files."""
    trash = _name_beside(directory, DISCARDED)
    directory.rename(trash)
    sync_directory(trash.parent)
    shutil.rmtree(trash)


def remove_leftovers(directory: Path) -> None:
    """Remove unfinished and discarded entries in ``directory``; their processes must have ended."""
    for path in directory.iterdir():
        if path.name.startswith((UNFINISHED, DISCARDED)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name_beside(path: Path, prefix: str) -> Path:
    # The file's name is not part of it, because it may already have the maximum length.
    return path.with_name(f"{prefix}{uuid4().hex}")


def _create_beside(path: Path) -> Path:
    temporary = _name_beside(path, UNFINISHED)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        return temporary
    # Private first: the replacement of a private file must never be readable by others.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
    return temporary
