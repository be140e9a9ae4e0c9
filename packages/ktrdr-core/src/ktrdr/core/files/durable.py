"""Durable writing: what is on disk is whole, or not there at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from uuid import uuid4

__all__ = ["discard_directory", "sync_directory", "sync_tree", "write_atomically"]


def sync_directory(directory: Path) -> None:
    """Flush a directory's entries to disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Flush every file below ``directory``, then the directories."""
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names:
            descriptor = os.open(Path(folder) / name, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(folder))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its place, flush it, and move it there."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def discard_directory(directory: Path, trash: Path) -> None:
    """Remove a directory so that it vanishes at once: moved to ``trash`` (a free name on the same disk) first."""
    directory.rename(trash)
    sync_directory(trash.parent)
    shutil.rmtree(trash)
