"""Many files as one zip file: equal bytes for equal files, and nothing is unpacked that was not looked at before.

There is this one format for a model, a run and a checkpoint, on disk, through HTTP and in an object store.
"""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ktrdr.core.files.durable import new_file
from ktrdr.core.files.reading import FileError, open_plain

__all__ = ["Archive", "ArchiveError", "ArchiveLimits", "files_below", "open_archive", "open_zip", "write_archive"]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: the same bytes whenever it is written
_BLOCK = 2**20
_MAGIC = b"PK\x03\x04"
_PLAIN_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class ArchiveError(FileError):
    """A file is no zip file, or a damaged one."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What an archive of one kind holds at most.

    Attributes:
        files: how many.
        size: bytes of all of them together, unpacked.
        depth: parts of a name; 1: no directories.
    """

    files: int
    size: int
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Archive:
    """An open archive whose entries were looked at: plain files of plain relative names, within the limits."""

    _file: zipfile.ZipFile
    _entries: Mapping[str, zipfile.ZipInfo]

    @property
    def names(self) -> frozenset[str]:
        """Names of the files in it, with ``/`` between their parts."""
        return frozenset(self._entries)

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of a file of at most ``limit`` bytes."""
        entry = self._entries[name]
        if entry.file_size > limit:
            raise FileError(f"{name} has {entry.file_size:,} bytes, more than the {limit:,} allowed")
        return self._file.read(entry)

    def extract(self, directory: Path, names: Iterable[str] | None = None) -> None:
        """Write files (by default all) below ``directory``, which is made; none of them may be there yet.

        Raises:
            ArchiveError: the archive is damaged; some of the files may have been written.
            OSError: the disk is full, or the place is not writable.
        """
        directory.mkdir(parents=True, exist_ok=True)
        for name in sorted(self._entries if names is None else names):
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open(self._entries[name]) as source, path.open("xb") as target:
                # zipfile stops at the size the entry declares, and the declared sizes were added up before.
                while block := source.read(_BLOCK):
                    target.write(block)
                if target.tell() != self._entries[name].file_size:
                    raise ArchiveError(f"{name} is shorter than it says")


def files_below(directory: Path) -> list[str]:
    """Return the relative names of the plain files below ``directory``, sorted; links are left out."""
    found = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path.relative_to(directory).as_posix() for path in found)


def write_archive(path: Path, directory: Path, names: Iterable[str], limits: ArchiveLimits) -> None:
    """Write files of ``directory`` to ``path`` in the order of ``names``, whole or not at all.

    Raises:
        FileError: a file is missing, not plain, or :func:`open_archive` would refuse it.
        StoreError: the disk is full, or the place is not writable.
    """
    wanted = list(names)
    _check_names(wanted, limits)
    _check_size(sum((directory / name).lstat().st_size for name in wanted if (directory / name).exists()), limits)
    # Stored, not deflated: what a compressor makes differs between its versions.
    with new_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in wanted:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            with open_plain(directory / name, limits.size) as source:
                entry.file_size = source.seek(0, 2)
                source.seek(0)
                with archive.open(entry, "w") as target:
                    while block := source.read(_BLOCK):
                        target.write(block)


@contextmanager
def open_archive(path: Path, limits: ArchiveLimits) -> Iterator[Archive]:
    """Open an archive of unknown origin, and refuse it before anything of it is unpacked.

    Raises:
        ArchiveError: it is no zip file, or turns out damaged while it is read.
        FileError: it holds links, devices, names that lead elsewhere, a name twice, or more than ``limits``.
    """
    with open_zip(path, 2 * limits.size) as file:
        entries = file.infolist()
        for entry in entries:
            if entry.orig_filename != entry.filename:
                raise FileError(f"{entry.orig_filename!r} is not a plain file name")
            if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
                raise FileError(f"{entry.filename} is not a plain file")
            if entry.flag_bits & 1:
                raise FileError(f"{entry.filename} is encrypted")
        _check_names([entry.filename for entry in entries], limits)
        _check_size(sum(entry.file_size for entry in entries), limits)
        yield Archive(file, {entry.filename: entry for entry in entries})


@contextmanager
def open_zip(path: Path, limit: int) -> Iterator[zipfile.ZipFile]:
    """Open a zip file of at most ``limit`` bytes, with nothing before it and nothing behind it.

    Raises:
        ArchiveError: it is none, or it turns out damaged while it is read.
        FileError: it is no plain file, or too large.
    """
    try:
        with open_plain(path, limit) as file:
            # zipfile looks for the directory at the end: what is in front, a script say, is no matter to it.
            if file.read(len(_MAGIC)) != _MAGIC:
                raise ArchiveError("File is not a zip file")
            with zipfile.ZipFile(file) as archive:
                if archive.comment:
                    raise ArchiveError("there is something behind the files")
                if min((entry.header_offset for entry in archive.infolist()), default=0):
                    raise ArchiveError("there is something before the files")
                yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OverflowError) as error:
        raise ArchiveError(str(error)) from error


def _check_names(names: list[str], limits: ArchiveLimits) -> None:
    if len(names) > limits.files:
        raise FileError(f"it holds {len(names)} files, more than the {limits.files} allowed")
    known: set[str] = set()
    for name in names:
        parts = name.split("/")
        if not all(_PLAIN_PART.fullmatch(part) for part in parts) or len(parts) > limits.depth:
            raise FileError(f"{name!r} is not a plain file name")
        if name in known:
            raise FileError(f"{name} stands in it twice")
        known.add(name)
    for name in names:
        if not known.isdisjoint(map(str, PurePosixPath(name).parents)):
            raise FileError(f"{name} lies below another file")


def _check_size(size: int, limits: ArchiveLimits) -> None:
    if size > limits.size:
        raise FileError(f"it unpacks to more than {limits.size:,} bytes")
