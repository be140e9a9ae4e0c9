"""What the files of a bundle may be. A bundle is data: every kind of file in it is known, and none can hold code.

The check is by content: a file must be well-formed of the kind its name says, so a pickle cannot pass under any name.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
import tokenize
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from ktrdr.core.files.archives import ArchiveError, open_zip
from ktrdr.core.files.reading import FileError, open_plain, parse_json, read_plain
from ktrdr.core.files.safetensors import check_safetensors

__all__ = ["FILE_KINDS", "MAX_FILES", "MAX_FILE_BYTES", "MAX_TEXT_BYTES", "BundleError", "check_file"]

MAX_FILES = 64
"""Files of a bundle, beside its manifest."""

MAX_FILE_BYTES = 4 * 2**30
"""Size of one file, and of all that an exported bundle unpacks to."""

MAX_TEXT_BYTES = 64 * 2**20
"""Size of a file of JSON or text."""

_MAX_MEMBERS = 100_000
_MAX_NPY_HEADER = 10_000
# Opcodes without which a pickle is only plain values; with one of them it can name and call anything.
_CALLING = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD", "EXT1"})


class BundleError(FileError):
    """A model bundle is broken, hostile, or does not fit this installation."""


def check_file(path: Path) -> None:
    """Raise :class:`BundleError` with the reason unless ``path`` is a well-formed file of a kind a bundle may hold."""
    check = FILE_KINDS.get(path.suffix.lower())
    if check is None:
        raise BundleError(_unknown_kind(path))
    try:
        check(path)
    except FileError as error:
        with open_plain(path, MAX_FILE_BYTES) as file:
            disguise = _disguise(file)
        if disguise:
            raise BundleError(f"{path.name} is {disguise}") from error
        raise BundleError(str(error)) from error


def _unknown_kind(path: Path) -> str:
    with open_plain(path, MAX_FILE_BYTES) as file:
        disguise = _disguise(file)
    if disguise:
        return f"{path.name} is {disguise}"
    return f"{path.name} is not of a kind a bundle may hold ({', '.join(FILE_KINDS)})"


def _disguise(file: BinaryIO) -> str:
    """Say what code-bearing kind of file this is, or return an empty string."""
    head = file.read(4)
    file.seek(0)
    if head == b"PK\x03\x04":
        try:
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile:
            return ""
        if any(name.endswith((".pkl", ".pickle")) for name in names):
            return "an archive with a pickle inside, which can run code when it is loaded"
        return ""
    if _is_pickle(file.read(MAX_TEXT_BYTES)):
        return "a pickle, which can run code when it is loaded"
    return ""


def _is_pickle(content: bytes) -> bool:
    """Whether ``content`` starts with a complete pickle: one of a binary protocol, or one that names or calls."""
    if not content:
        return False
    called = content[0] == 0x80 and len(content) > 1 and content[1] <= 5
    try:
        for opcode, _, _ in pickletools.genops(content):
            called |= opcode.name in _CALLING
    except (ValueError, UnicodeDecodeError, IndexError, struct.error, OverflowError):
        # Not complete. Behind a binary protocol's mark that is still a pickle, if a damaged one.
        return content[0] == 0x80 and len(content) > 1 and 2 <= content[1] <= 5
    return called


def _check_json(path: Path) -> None:
    parse_json(read_plain(path, MAX_TEXT_BYTES), path.name)


def _check_text(path: Path) -> None:
    content = read_plain(path, MAX_TEXT_BYTES)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise BundleError(f"{path.name} is not UTF-8 text") from None
    if "\0" in text or _is_pickle(content):
        raise BundleError(f"{path.name} is not text")


def _check_safetensors(path: Path) -> None:
    check_safetensors(path, MAX_FILE_BYTES)


def _check_npy(path: Path) -> None:
    with open_plain(path, MAX_FILE_BYTES) as file:
        _check_array(file, path.stat().st_size, path.name)


def _check_array(file: BinaryIO, size: int, name: str) -> None:
    """An .npy whose dtype holds no Python objects, which numpy would store as a pickle."""
    import numpy as np

    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, dtype = read(file, max_header_size=_MAX_NPY_HEADER)
    except (ValueError, KeyError, EOFError, SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError):
        raise BundleError(f"{name} is not a plain .npy array") from None
    if dtype.hasobject:
        raise BundleError(f"{name} holds Python objects, which are stored as a pickle")
    if any(extent < 0 for extent in shape) or file.tell() + math.prod(shape) * dtype.itemsize != size:
        raise BundleError(f"{name} is not a plain .npy array: its size is wrong")


def _check_archive(path: Path, *, members: tuple[str, ...]) -> None:
    """A zip of plain arrays (and JSON): nothing before it, nothing behind it, nothing that unpacks beyond measure."""
    try:
        with open_zip(path, MAX_FILE_BYTES) as archive:
            _check_members(archive, path.name, members)
    except ArchiveError as error:
        raise BundleError(f"{path.name} is not a plain zip archive: {error}") from None


def _check_members(archive: zipfile.ZipFile, name: str, suffixes: tuple[str, ...]) -> None:
    entries = archive.infolist()
    if len({entry.filename for entry in entries}) != len(entries) or len(entries) > _MAX_MEMBERS:
        raise BundleError(f"{name} holds a name twice, or too many")
    if sum(entry.file_size for entry in entries) > MAX_FILE_BYTES:
        raise BundleError(f"{name} unpacks to more than {MAX_FILE_BYTES:,} bytes")
    for entry in entries:
        label = f"{name}:{entry.filename}"
        if not entry.filename.endswith(suffixes) or entry.flag_bits & 1:
            raise BundleError(f"{label} is not of a kind that {name} may hold ({', '.join(suffixes)})")
        with archive.open(entry) as member:
            if entry.filename.endswith(".json"):
                if entry.file_size > MAX_TEXT_BYTES:
                    raise BundleError(f"{label} has more than {MAX_TEXT_BYTES:,} bytes")
                parse_json(member.read(), label)
            else:
                _check_array(io.BytesIO(member.read()), entry.file_size, label)


def _check_npz(path: Path) -> None:
    _check_archive(path, members=(".npy",))


def _check_skops(path: Path) -> None:
    _check_archive(path, members=(".npy", ".json"))


FILE_KINDS: Mapping[str, Callable[[Path], None]] = {
    ".json": _check_json,
    ".yaml": _check_text,
    ".safetensors": _check_safetensors,
    ".skops": _check_skops,
    ".npz": _check_npz,
    ".npy": _check_npy,
}
"""Suffix -> check, of every kind of file a bundle may hold."""
