"""Conversion of files to plain UTF-8 text or Parquet: decompression and encodings."""

from __future__ import annotations

import codecs
import contextlib
import functools
import gzip
import mmap
import shutil
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ktrdr.core.errors import BadInputError
from ktrdr.core.files.archives import directory_bytes, most_unpacked
from ktrdr.core.limits import LONGEST_LINE, MOST_UNPACKING

__all__ = ["PlainFile", "plain_file", "stem"]

_BLOCK = 1 << 20
# Bytes of the directory of a zip archive: some thousand entries.
_LARGEST_DIRECTORY = 1 << 18
_SUFFIXES = (".gz", ".zip", ".csv", ".txt", ".tsv", ".parquet", ".pq")
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class _Readable(Protocol):
    def read(self, length: int = -1, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class PlainFile:
    """A file that DuckDB can read; ``notes`` describe how it was converted."""

    path: Path
    is_parquet: bool
    notes: tuple[str, ...] = ()


def stem(path: Path) -> str:
    """Return the file's name without suffixes of formats and compression."""
    name = path.name
    while any(name.lower().endswith(suffix) for suffix in _SUFFIXES):
        name = name.rpartition(".")[0]
    return name


def plain_file(path: Path, workspace: Path) -> PlainFile:
    """Return ``path``, or its content in the directory ``workspace``, decompressed and converted to UTF-8.

    gzip and zip are recognized by their content, not by the name. A zip archive must contain one data file.

    Raises:
        BadInputError: the file is missing, unreadable, empty, damaged, or neither text nor Parquet.
    """
    shown, head = path, _head(path)
    notes: list[str] = []
    if head.startswith(b"\x1f\x8b"):
        path, head = _unpacked(path, path.name, functools.partial(gzip.open, path), workspace)
    elif head.startswith(b"PK\x03\x04"):
        path, head = _from_zip(path, workspace)
    if head.startswith(b"PAR1"):
        return PlainFile(path, True)
    encoding = _encoding(shown, head)
    if encoding != "utf-8":
        path = _as_utf8(path, encoding, workspace, shown)
        notes.append(f"read as {encoding} text")
    _check_lines(path, shown)
    return PlainFile(path, False, tuple(notes))


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(_BLOCK)
    except FileNotFoundError:
        raise BadInputError(f"{path} does not exist: check its name") from None
    except IsADirectoryError:
        raise BadInputError(f"{path} is a directory: name the files in it, such as {path / '*.csv'}") from None
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}; make it readable for you") from error
    if not head.strip():
        raise BadInputError(f"{path} is empty: fetch it again")
    return head


def _from_zip(path: Path, workspace: Path) -> tuple[Path, bytes]:
    try:
        with path.open("rb") as file:
            if directory_bytes(file) > _LARGEST_DIRECTORY:
                raise BadInputError(
                    f"{path} holds thousands of files, one is expected: unpack it, and import the files you need"
                )
        with zipfile.ZipFile(path) as archive:
            members = [
                member
                for member in archive.infolist()
                if not member.is_dir() and not member.filename.startswith("__MACOSX/")
            ]
            names = [member.filename for member in members]
            if "[Content_Types].xml" in names:
                raise BadInputError(f"{path} is an Excel workbook: save it as CSV, and import that")
            if len(members) != 1:
                raise BadInputError(
                    f"{path} holds {len(members)} files, one is expected: unpack it, and import the files you need"
                )
            if not 0 <= members[0].header_offset < path.stat().st_size:
                raise BadInputError(f"{path} is damaged or cut off ({names[0]} is not in it): fetch it again")
            return _unpacked(path, Path(names[0]).name, functools.partial(archive.open, members[0]), workspace)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise BadInputError(f"{path} is not a readable zip archive ({error}): fetch it again") from error


def _unpacked(
    path: Path, name: str, opened: Callable[[], contextlib.AbstractContextManager[_Readable]], workspace: Path
) -> tuple[Path, bytes]:
    target = workspace / "unpacked"
    try:
        most = most_unpacked(path.stat().st_size, MOST_UNPACKING)
        with opened() as packed, target.open("wb") as plain:
            while block := packed.read(_BLOCK):
                plain.write(block)
                if plain.tell() > most:
                    raise BadInputError(
                        f"{path} unpacks to more than {MOST_UNPACKING} times its size, more than price data does: "
                        "unpack it yourself, and import what is in it"
                    )
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise BadInputError(f"{path} is damaged or cut off ({error}): fetch it again") from error
    with target.open("rb") as file:
        head = file.read(_BLOCK)
    if not head.strip():
        raise BadInputError(f"{path} holds nothing: {name} in it is empty; fetch it again")
    return target, head


def _encoding(path: Path, head: bytes) -> str:
    for mark, encoding in _UTF16.items():
        if head.startswith(mark):
            return encoding
    if b"\0" in head:
        raise BadInputError(f"{path} is neither text nor Parquet: export it as CSV or Parquet")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _as_utf8(path: Path, encoding: str, workspace: Path, shown: Path) -> Path:
    target = workspace / "utf8"
    try:
        with path.open(encoding=encoding, newline="") as source, target.open("w", encoding="utf-8", newline="") as out:
            shutil.copyfileobj(source, out, _BLOCK)
    except UnicodeError as error:
        raise BadInputError(f"{shown} is not valid {encoding} text ({error}): save it as UTF-8") from error
    return target


def _check_lines(path: Path, shown: Path) -> None:
    """Raise BadInputError for a text with a line that is too long for bars."""
    with path.open("rb") as file, contextlib.closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as text:
        start, size = 0, len(text)
        # Jump from line end to line end within the limit: a few searches per megabyte.
        while size - start > LONGEST_LINE:
            reach = start + LONGEST_LINE + 1
            end = max(text.rfind(b"\n", start, reach), text.rfind(b"\r", start, reach))
            if end < 0:
                line = text[:start].count(b"\n") + 1
                raise BadInputError(
                    f"{shown}, line {line}: is longer than {LONGEST_LINE:,} bytes; save the file as a table with"
                    " one line per bar"
                )
            start = end + 1
