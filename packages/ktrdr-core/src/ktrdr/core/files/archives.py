"""Archives: several files in one zip file, reproducible when written and checked before they are unpacked.

Models, runs and checkpoints use this format, on disk, in HTTP and in an object store.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ktrdr.core.files.durable import new_file
from ktrdr.core.files.reading import FileError, open_plain
from ktrdr.core.limits import FREE_UNPACKING, MOST_BUNDLE_UNPACKING

__all__ = [
    "Archive",
    "ArchiveError",
    "ArchiveLimits",
    "directory_bytes",
    "files_below",
    "most_unpacked",
    "open_archive",
    "open_zip",
    "write_archive",
]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time of a zip entry, so that equal files give equal bytes
_BLOCK = 2**20
# Parts of a zip file, by PKWARE's APPNOTE.TXT: the local header of a file, its entry in the central directory at the
# end, and the end record of that, in the older and in the 64-bit form.
_HEAD = struct.Struct("<4s5H3I2H")
_HEAD_MARK = b"PK\x03\x04"
_ENTRY_BYTES = 46
_END = struct.Struct("<4s4H2IH")
_END_MARK = b"PK\x05\x06"
_END64 = struct.Struct("<4sQ2H2I4Q")
_END64_MARK = b"PK\x06\x06"
_LOCATOR_BYTES = 20
_LONGEST_COMMENT = 0xFFFF
_TRAILER_MARK = b"PK\x07\x08"
_TRAILERS = frozenset({12, 16, 20, 24})
_LONGEST_NAME = 1024
# Extra fields: 64-bit sizes, and the times and owners that other programs write.
_EXTRAS = frozenset({0x0001, 0x5455, 0x7875, 0x5855})
_LONGEST_EXTRA = 64
_PLAIN_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class ArchiveError(FileError):
    """A file is not a zip file, or is damaged."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Limits of a kind of archives.

    Attributes:
        files: maximum number of files.
        size: maximum of their total size, unpacked, in bytes.
        depth: maximum number of parts of a name; 1 means no directories.
    """

    files: int
    size: int
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Archive:
    """An open archive with checked entries: plain files with plain relative names, within the limits."""

    _file: zipfile.ZipFile
    _entries: Mapping[str, zipfile.ZipInfo]

    @property
    def names(self) -> frozenset[str]:
        """Names of its files, with ``/`` between their parts."""
        return frozenset(self._entries)

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of a file of at most ``limit`` bytes.

        Raises:
            FileError: the file is larger.
        """
        entry = self._entries[name]
        if entry.file_size > limit:
            raise FileError(f"{name} has {entry.file_size:,} bytes, more than the {limit:,} allowed")
        return self._file.read(entry)

    def extract(self, directory: Path, names: Iterable[str] | None = None) -> None:
        """Write files (by default all) below ``directory``, which is created; the files must not exist.

        Raises:
            ArchiveError: the archive is damaged; some of the files may have been written.
            OSError: the disk is full, or the directory is not writable.
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


def write_archive(
    path: Path,
    directory: Path,
    names: Iterable[str],
    limits: ArchiveLimits,
    contents: Mapping[str, bytes] | None = None,
) -> None:
    """Write files of ``directory`` to the archive ``path`` in the order of ``names``, atomically.

    Args:
        path: path of the archive.
        directory: of the files.
        names: names of the files, relative to ``directory``.
        limits: of the archive.
        contents: contents of files that are not read again, by name.

    Raises:
        FileError: a file is missing or not plain, or :func:`open_archive` would refuse the archive.
        StoreError: the disk is full, or the directory is not writable.
    """
    wanted = list(names)
    _check_names(wanted, limits)
    _check_size(sum((directory / name).lstat().st_size for name in wanted if (directory / name).exists()), limits)
    # Stored, not deflated: the output of a compressor differs between its versions.
    with new_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in wanted:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            if contents is not None and name in contents:
                archive.writestr(entry, contents[name])
                continue
            with open_plain(directory / name, limits.size) as source:
                entry.file_size = source.seek(0, 2)
                source.seek(0)
                with archive.open(entry, "w") as target:
                    while block := source.read(_BLOCK):
                        target.write(block)


@contextmanager
def open_archive(path: Path, limits: ArchiveLimits) -> Iterator[Archive]:
    """Open an archive of unknown origin, and check it before anything is unpacked.

    Raises:
        ArchiveError: it is not a zip file, or is found to be damaged while it is read.
        FileError: it has links, devices, names outside of the target directory, duplicate names, or exceeds ``limits``.
    """
    with open_zip(path, 2 * limits.size, limits.files) as file:
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
def open_zip(path: Path, limit: int, files: int) -> Iterator[zipfile.ZipFile]:
    """Open a zip file of at most ``limit`` bytes and ``files`` entries, and check that it is nothing but a zip file.

    It must have no data before, between or after its files, and must not unpack to many times its size.

    Raises:
        ArchiveError: it is not such a zip file, or is found to be damaged while it is read.
        FileError: it is not a plain file, or is too large.
    """
    try:
        with open_plain(path, limit) as file:
            _check_ends(file)
            if directory_bytes(file) > files * (_ENTRY_BYTES + _LONGEST_NAME):
                raise ArchiveError(f"it holds more than the {files:,} files allowed")
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                if len(entries) > files:
                    raise ArchiveError(f"it holds {len(entries):,} files, more than the {files:,} allowed")
                _check_layout(file, archive)
                if sum(entry.file_size for entry in entries) > most_unpacked(file.seek(0, 2), MOST_BUNDLE_UNPACKING):
                    raise ArchiveError(f"it unpacks to more than {MOST_BUNDLE_UNPACKING} times its size")
                yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OverflowError) as error:
        raise ArchiveError(str(error)) from error


def most_unpacked(packed: int, times: int) -> int:
    """Return the limit for the unpacked size of ``packed`` bytes: ``times`` their number, plus a fixed allowance."""
    return FREE_UNPACKING + times * packed


def directory_bytes(file: BinaryIO) -> int:
    """Return the size of the central directory of a zip file without parsing its entries; 0 if there is none."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END.size - _LONGEST_COMMENT))
    tail = file.read()
    place = tail.rfind(_END_MARK)
    if place < 0 or len(tail) - place < _END.size:
        return 0
    own = int(_END.unpack_from(tail, place)[5])
    where = size - len(tail) + place - _LOCATOR_BYTES - _END64.size
    if where < 0:
        return own
    file.seek(where)
    end64 = _END64.unpack(file.read(_END64.size))
    return max(own, int(end64[8])) if end64[0] == _END64_MARK else own


def _check_ends(file: BinaryIO) -> None:
    """Raise :class:`ArchiveError` unless the zip file begins with its first file and ends with its directory.

    zipfile searches for the directory from the end, and accepts other data before and after the archive, such as a
    script.
    """
    file.seek(0)
    mark = file.read(len(_HEAD_MARK))
    file.seek(-min(_END.size, file.seek(0, 2)), 2)
    if mark != _HEAD_MARK or not file.read().startswith(_END_MARK):
        raise ArchiveError("File is not a zip file")


def _check_layout(file: BinaryIO, archive: zipfile.ZipFile) -> None:
    """Raise :class:`ArchiveError` unless the files fill the archive from the first byte to the directory."""
    entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    if not entries or entries[0].header_offset:
        raise ArchiveError("there is something before the files")
    ends = [*(entry.header_offset for entry in entries[1:]), archive.start_dir]
    for entry, end in zip(entries, ends, strict=True):
        file.seek(entry.header_offset)
        head = file.read(_HEAD.size)
        if len(head) != _HEAD.size or not head.startswith(_HEAD_MARK):
            raise ArchiveError(f"{entry.filename!r} does not begin where the directory says")
        name, extra = _HEAD.unpack(head)[-2:]
        file.seek(name, 1)
        _check_extra(file.read(extra), entry.filename)
        file.seek(entry.compress_size, 1)
        gap = end - file.tell()
        if gap and (gap not in _TRAILERS or file.read(gap) not in _trailers(entry)):
            raise ArchiveError(f"there is something behind {entry.filename!r}")


def _check_extra(extra: bytes, name: str) -> None:
    """Raise :class:`ArchiveError` unless the data between a file's name and its content are known extra fields."""
    rest = extra
    while rest:
        kind, length = int.from_bytes(rest[:2], "little"), int.from_bytes(rest[2:4], "little")
        if len(extra) > _LONGEST_EXTRA or kind not in _EXTRAS or len(rest) < 4 + length:
            raise ArchiveError(f"there is something before the content of {name!r}")
        rest = rest[4 + length :]


def _trailers(entry: zipfile.ZipInfo) -> set[bytes]:
    """Return the possible data descriptors after a file whose size was unknown when its header was written."""
    sizes = (entry.CRC, entry.compress_size, entry.file_size)
    wide = struct.pack("<I2Q", *sizes)
    forms = {wide} if max(sizes) > 0xFFFFFFFF else {wide, struct.pack("<3I", *sizes)}
    return forms | {_TRAILER_MARK + form for form in forms}


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
