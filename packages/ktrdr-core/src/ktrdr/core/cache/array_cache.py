"""Cache of arrays on disk, addressed by the content that they are computed from."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from ktrdr.core.cache.array_file import Layout, file_size, layout_of, read_arrays, write_arrays
from ktrdr.core.errors import StoreError
from ktrdr.core.files.disk_space import free_bytes
from ktrdr.core.files.durable import new_file, remove_leftovers, writing
from ktrdr.core.files.reading import FileError, MissingFileError
from ktrdr.core.limits import LEAST_FREE_DISK

__all__ = ["NO_CACHE", "ArrayCache", "CacheUsage", "content_key"]

_NAME = re.compile(r"[0-9a-f]{64}\.arrays")
_LOCK_SECONDS = 10.0


def content_key(*parts: Any) -> str:
    """Return the key of arrays, 64 hexadecimal digits.

    Args:
        parts: JSON-ready values: everything that the arrays depend on, including the version of the program that
            computes them.
    """
    text = json.dumps(parts, allow_nan=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """Entries of a cache.

    Attributes:
        place: directory of the cache.
        entries: number of entries.
        bytes: bytes of all entries.
        limit: maximum number of bytes; 0 if the cache is off.
    """

    place: Path
    entries: int
    bytes: int
    limit: int


def _discard(note: str) -> None:
    pass


class ArrayCache:
    """Cache of arrays on disk, for any number of processes.

    An entry is one file. It is written under a temporary name and renamed, so it is complete or does not exist, even if
    the process is killed. An entry is used only if its checksum is right. It may be removed at any time, also while
    another process uses its arrays.

    The cache never fails: what it cannot read is missing, and what it cannot write is not kept. The reason is passed to
    ``note``, each one once.

    Args:
        root: directory of the entries, created with the first one.
        limit: maximum number of bytes of all entries together. To make room, those that were not used for the longest
            time are removed. 0 turns the cache off: it reads and writes nothing.
        note: receives a sentence, without full stop, for a person.
    """

    def __init__(self, root: Path, limit: int, *, note: Callable[[str], None] = _discard) -> None:
        self.root = root
        self.limit = limit
        self._note, self._noted, self._writable = note, set[str](), True

    @property
    def on(self) -> bool:
        """False if the cache neither reads nor writes."""
        return self.limit > 0

    def noting(self, note: Callable[[str], None]) -> ArrayCache:
        """Return this cache with another receiver of notes."""
        other = copy.copy(self)
        other._note, other._noted = note, set()
        return other

    def read(self, key: str, layout: Layout, *, mapped: bool = False) -> dict[str, np.ndarray] | None:
        """Return the arrays of an entry, or ``None`` if there is none that is undamaged.

        Args:
            key: result of :func:`content_key`.
            layout: dtype and shape that each array must have.
            mapped: map the arrays from the file instead of reading them into memory; for large arrays.

        Returns:
            The arrays by name; they cannot be written to.
        """
        if not self.on:
            return None
        path = self._path(key)
        try:
            arrays = read_arrays(path, key, layout, mapped=mapped)
        except MissingFileError:
            return None
        except (FileError, OSError):
            if os.path.lexists(path):
                self._say("a damaged entry of the feature cache was found and is computed again")
                # Removed, so that the new one can be written. Another process may have removed it already.
                with contextlib.suppress(OSError):
                    path.unlink()
            return None
        # The time of the last use. It cannot be set where the directory may only be read, or if the entry was removed.
        with contextlib.suppress(OSError):
            os.utime(path)
        return arrays

    def write(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep ``arrays``, unless that is not possible or an entry has the same key.

        After a failure, this object does not try again.
        """
        if not self.on or not self._writable:
            return
        size = file_size(key, layout_of(arrays))
        if size > self.limit:
            self._say(
                f"features of {size:,} bytes are not kept in the cache, as its limit is {self.limit:,} bytes; to keep"
                " them, raise KTRDR_CACHE_LIMIT"
            )
            return
        try:
            with writing(self.root), self._locked():
                # Each writer holds the lock, so what is unfinished is of a process that was killed.
                remove_leftovers(self.root)
                path = self._path(key)
                if not path.exists():
                    self._make_room(size)
                    with new_file(path, flush=False) as temporary:
                        write_arrays(temporary, key, arrays)
        except StoreError as error:
            self._writable = False
            self._say(f"features are not kept in the cache: {error}")

    def usage(self) -> CacheUsage:
        """Return the number and the bytes of all entries.

        Raises:
            StoreError: the directory cannot be read.
        """
        try:
            sizes = [size for _, _, size in self._entries()]
        except OSError as error:
            raise StoreError(f"cannot read the cache {self.root}: {error.strerror}; correct its permissions") from None
        return CacheUsage(self.root, len(sizes), sum(sizes), self.limit)

    def clear(self) -> CacheUsage:
        """Remove all entries, and return what was removed.

        Raises:
            StoreError: an entry cannot be removed, or another process keeps writing.
        """
        if not self.root.is_dir():
            return CacheUsage(self.root, 0, 0, self.limit)
        with writing(self.root, "not all entries were removed"), self._locked():
            remove_leftovers(self.root)
            found = self._entries()
            for _, path, _ in found:
                path.unlink(missing_ok=True)
        return CacheUsage(self.root, len(found), sum(size for _, _, size in found), self.limit)

    def _path(self, key: str) -> Path:
        return self.root / f"{key}.arrays"

    def _entries(self) -> list[tuple[int, Path, int]]:
        """Return time of the last use in nanoseconds, path and size of each entry, those not used for longest first."""
        found = []
        if not self.root.is_dir():
            return []
        with os.scandir(self.root) as entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name) is None:
                    continue
                # Another process may remove it meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime_ns, Path(entry.path), status.st_size))
        return sorted(found)

    def _make_room(self, size: int) -> None:
        """Remove entries until one of ``size`` bytes fits.

        Raises:
            StoreError: the entry would take the last room on the disk, which results need.
        """
        found = self._entries()
        total = sum(own for _, _, own in found)
        for _, path, own in found:
            if total + size <= self.limit:
                break
            path.unlink(missing_ok=True)
            total -= own
        free = free_bytes(self.root)
        if free < size + LEAST_FREE_DISK:
            raise StoreError(
                f"{free:,} bytes are free on the disk of {self.root}, and {LEAST_FREE_DISK:,} are left for results;"
                " free disk space"
            )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of all writers.

        Raises:
            OSError: the directory is not writable.
            StoreError: another process holds the lock for long, or the file system has no locks.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / ".lock", timeout=_LOCK_SECONDS, poll_interval=0.01)
        try:
            lock.acquire()
        except Timeout:
            raise StoreError(f"another process has been writing to {self.root} for {_LOCK_SECONDS:g} seconds") from None
        except NotImplementedError:
            raise StoreError(f"the file system of {self.root} has no locks") from None
        try:
            yield
        finally:
            lock.release()

    def _say(self, note: str) -> None:
        if note not in self._noted:
            self._noted.add(note)
            self._note(note)


NO_CACHE = ArrayCache(Path(os.devnull), 0)
"""A cache that is off, for callers that bypass the cache."""
