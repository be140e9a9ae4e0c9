"""Many files as one: equal bytes for equal files, and nothing is unpacked that was not looked at before."""

from __future__ import annotations

import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from ktrdr.core.files.durable import sync_directory
from ktrdr.core.files.reading import FileError, open_plain

__all__ = ["extract_entry", "open_zip", "pack_tar", "plain_entries", "read_entry", "unpack_tar", "write_zip"]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: the same bytes whenever it is written
_BLOCK = 2**20
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def write_zip(path: Path, directory: Path, names: Iterable[str], limit: int) -> None:
    """Write files of ``directory``, each of at most ``limit`` bytes, to the zip file ``path``: whole or not at all."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        # Stored, not deflated: what a compressor makes differs between its versions.
        with zipfile.ZipFile(temporary, "x", zipfile.ZIP_STORED) as archive:
            for name in names:
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.create_system = 3
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                with open_plain(directory / name, limit) as source:
                    entry.file_size = source.seek(0, 2)
                    source.seek(0)
                    with archive.open(entry, "w") as target:
                        while block := source.read(_BLOCK):
                            target.write(block)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


@contextmanager
def open_zip(path: Path, limit: int) -> Iterator[zipfile.ZipFile]:
    """Open a zip file of at most ``limit`` bytes.

    Raises:
        zipfile.BadZipFile: it is none, or it turns out damaged while it is read.
        FileError: it is no plain file, or too large.
    """
    try:
        with open_plain(path.resolve(), limit) as file, zipfile.ZipFile(file) as archive:
            yield archive
    except (zlib.error, EOFError, NotImplementedError, RuntimeError, OverflowError) as error:
        raise zipfile.BadZipFile(str(error)) from error


def plain_entries(archive: zipfile.ZipFile, *, most: int, limit: int) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by name: at most ``most`` plain files, which unpack to at most ``limit`` bytes.

    Raises:
        FileError: it holds anything else.
    """
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if not _PLAIN_NAME.fullmatch(entry.filename) or entry.orig_filename != entry.filename:
            raise FileError(f"{entry.orig_filename!r} is not a plain file name")
        if kind not in (0, stat.S_IFREG):
            raise FileError(f"{entry.filename} is not a plain file")
        if entry.filename in entries:
            raise FileError(f"{entry.filename} stands in it twice")
        if entry.flag_bits & 1:
            raise FileError(f"{entry.filename} is encrypted")
        entries[entry.filename] = entry
    if len(entries) > most:
        raise FileError(f"it holds {len(entries)} files, more than the {most} allowed")
    if sum(entry.file_size for entry in entries.values()) > limit:
        raise FileError(f"it unpacks to more than {limit:,} bytes")
    return entries


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytes:
    """Return the content of an entry of at most ``limit`` bytes."""
    if entry.file_size > limit:
        raise FileError(f"{entry.filename} has {entry.file_size:,} bytes, more than the {limit:,} allowed")
    with archive.open(entry) as file:
        return file.read(limit)


def extract_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
    """Write an entry to ``path``, where nothing may be yet."""
    with archive.open(entry) as source, path.open("xb") as target:
        # zipfile stops at the size the entry declares, and the declared sizes were added up before.
        while block := source.read(_BLOCK):
            target.write(block)
        if target.tell() != entry.file_size:
            raise FileError("an entry is shorter than it says")


def pack_tar(archive: Path, root: Path, paths: Iterable[Path]) -> None:
    """Write ``paths``, all below ``root``, to the tar file ``archive``, under their names relative to it."""
    with tarfile.open(archive, "w") as tar:
        for path in paths:
            tar.add(path, path.relative_to(root))


def unpack_tar(archive: Path, target: Path) -> None:
    """Unpack what :func:`pack_tar` wrote into the directory ``target``, which is made.

    Raises:
        FileError: it is damaged, or an entry would lie elsewhere.
    """
    target.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            # Nothing outside the target, no links out of it, no devices.
            tar.extractall(target, filter="data")
    except tarfile.TarError as error:
        raise FileError(f"it is damaged: {error}") from None
