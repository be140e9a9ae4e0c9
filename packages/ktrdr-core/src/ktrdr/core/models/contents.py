"""Checks of the files of a bundle: only known kinds of data files, none of which can hold code.

The content is checked, not only the name: a file must be well-formed for the kind that its suffix says, so that a
pickle is refused under every name.
"""

from __future__ import annotations

import io
import itertools
import math
import pickletools
import struct
import tokenize
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, BinaryIO

from ktrdr.core.files.archives import ArchiveError, directory_bytes, open_zip
from ktrdr.core.files.reading import FileError, most_values, open_plain, parse_json, read_plain
from ktrdr.core.files.safetensors import check_safetensors
from ktrdr.core.limits import (
    LARGEST_BUNDLE_FILE,
    LARGEST_JSON,
    LARGEST_TENSOR_HEADER,
    LONGEST_STRATEGY,
    MOST_JSON_VALUES,
    MOST_MEMBERS,
    MOST_SCHEMA_VALUES,
)

__all__ = ["FILE_KINDS", "BundleError", "check_file", "check_together", "most_schema_values"]

_BLOCK = 2**20
# Bytes of a file's entry in the directory of an archive, with its name.
_ENTRY_BYTES = 64
# A random forest has about this many bytes per value of its schema, with the arrays of its trees.
_BYTES_PER_SCHEMA_VALUE = 16
# Header of an .npy array: that of a structured array with dozens of fields has a few thousand characters.
_LONGEST_HEADER = 4096
_BEFORE_HEADER = 12
_MOST_DIMENSIONS = 32
# Bytes that are searched for a pickle: text fails to parse at once, and a pickle with code calls it early.
_PICKLE_HEAD = 2**16
_MOST_OPCODES = 4096
# A pickle without these opcodes holds plain values only; with one of them it can name and call anything.
_CALLING = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD", "EXT1"})


class BundleError(FileError):
    """A model bundle is broken, hostile, or does not fit this installation."""


def check_file(path: Path) -> None:
    """Check that ``path`` is a well-formed file of a kind that a bundle may hold.

    Raises:
        BundleError: it is not; the message says why.
    """
    check = FILE_KINDS.get(path.suffix.lower())
    if check is None:
        raise BundleError(_unknown_kind(path))
    try:
        check(path)
    except FileError as error:
        with open_plain(path, LARGEST_BUNDLE_FILE) as file:
            disguise = _disguise(file)
        if disguise:
            raise BundleError(f"{path.name} is {disguise}") from error
        raise BundleError(str(error)) from error


def check_together(paths: Iterable[Path]) -> None:
    """Check that the files of a bundle together stay within the limits of one file.

    Raises:
        BundleError: they do not; the message says which limit is exceeded.
    """
    found = list(paths)
    texts = [path for path in found if path.suffix.lower() == ".json"]
    if sum(_size(path) for path in texts) > LARGEST_JSON:
        raise BundleError(f"its JSON files have more than {LARGEST_JSON:,} bytes together")
    if sum(most_values(read_plain(path, LARGEST_JSON)) for path in texts) > MOST_JSON_VALUES:
        raise BundleError(f"its JSON files hold more than {MOST_JSON_VALUES:,} values together")
    heads = listed = 0
    for path in found:
        with open_plain(path, LARGEST_BUNDLE_FILE) as file:
            if path.suffix.lower() == ".safetensors":
                heads += min(int.from_bytes(file.read(8), "little"), _size(path))
            elif path.suffix.lower() in (".npz", ".skops"):
                listed += directory_bytes(file)
    if heads > LARGEST_TENSOR_HEADER:
        raise BundleError(f"its safetensors files have headers of more than {LARGEST_TENSOR_HEADER:,} bytes")
    if listed > MOST_MEMBERS * _ENTRY_BYTES:
        raise BundleError(f"the archives in it hold more than the {MOST_MEMBERS:,} files allowed")


def most_schema_values(size: int) -> int:
    """Return how many values the schema of a skops file of ``size`` bytes may hold."""
    return min(max(MOST_JSON_VALUES, size // _BYTES_PER_SCHEMA_VALUE), MOST_SCHEMA_VALUES)


def _size(path: Path) -> int:
    with open_plain(path, LARGEST_BUNDLE_FILE) as file:
        return file.seek(0, 2)


def _unknown_kind(path: Path) -> str:
    with open_plain(path, LARGEST_BUNDLE_FILE) as file:
        disguise = _disguise(file)
    if disguise:
        return f"{path.name} is {disguise}"
    return f"{path.name} is not of a kind a bundle may hold ({', '.join(FILE_KINDS)})"


def _disguise(file: BinaryIO) -> str:
    """Return what kind of file with code this is, or an empty string."""
    head = file.read(4)
    file.seek(0)
    if head == b"PK\x03\x04":
        # A zip has the name of each file in its local header and in the directory at the end.
        size = file.seek(0, 2)
        ends = b""
        for start in (0, max(0, size - _PICKLE_HEAD)):
            file.seek(start)
            ends += file.read(_PICKLE_HEAD)
        if b".pkl" in ends or b".pickle" in ends:
            return "an archive with a pickle inside, which can run code when it is loaded"
        return ""
    if _is_pickle(file.read(_PICKLE_HEAD)):
        return "a pickle, which can run code when it is loaded"
    return ""


def _is_pickle(content: bytes) -> bool:
    """Return True if ``content`` starts like a pickle: a binary protocol, or opcodes that name or call something.

    The work is bounded: text does not parse as thousands of opcodes, so the first opcodes decide.
    """
    content = content[:_PICKLE_HEAD]
    if not content:
        return False
    binary = content[0] == 0x80 and len(content) > 1 and content[1] <= 5
    called = False
    try:
        for opcode, _, _ in itertools.islice(pickletools.genops(content), _MOST_OPCODES):
            called |= opcode.name in _CALLING
    except (ValueError, UnicodeDecodeError, IndexError, struct.error, OverflowError):
        # Incomplete: after the mark of a binary protocol it is still a pickle, a damaged one.
        return binary and content[1] >= 2
    return binary or called


def _check_json(path: Path) -> None:
    parse_json(read_plain(path, LARGEST_JSON), path.name)


def _check_text(path: Path) -> None:
    content = read_plain(path, 4 * LONGEST_STRATEGY)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise BundleError(f"{path.name} is not UTF-8 text") from None
    if "\0" in text or _is_pickle(content):
        raise BundleError(f"{path.name} is not text")


def _check_safetensors(path: Path) -> None:
    check_safetensors(path, LARGEST_BUNDLE_FILE)


def _check_npy(path: Path) -> None:
    with open_plain(path, LARGEST_BUNDLE_FILE) as file:
        _check_array(file, path.stat().st_size, path.name)


def _check_array(file: IO[bytes], size: int, name: str) -> None:
    """Check an .npy array. Its dtype must not hold Python objects, which numpy stores as a pickle."""
    import numpy as np

    # numpy reads a header of any length before it checks the length.
    head = io.BytesIO(file.read(_LONGEST_HEADER + _BEFORE_HEADER))
    try:
        version = np.lib.format.read_magic(head)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, dtype = read(head, max_header_size=_LONGEST_HEADER)
    except (ValueError, KeyError, EOFError, SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError):
        raise BundleError(f"{name} is not a plain .npy array") from None
    if dtype.hasobject:
        raise BundleError(f"{name} holds Python objects, which are stored as a pickle")
    fits = len(shape) <= _MOST_DIMENSIONS and all(0 <= extent <= size for extent in shape)
    if not fits or head.tell() + math.prod(shape) * dtype.itemsize != size:
        raise BundleError(f"{name} is not a plain .npy array: its size is wrong")


def _check_archive(path: Path, *, members: tuple[str, ...]) -> None:
    """Check a zip of plain arrays and JSON: no bytes before or after it, and a bounded unpacked size."""
    try:
        with open_zip(path, LARGEST_BUNDLE_FILE, MOST_MEMBERS) as archive:
            _check_members(archive, path.name, members, most_schema_values(path.stat().st_size))
    except ArchiveError as error:
        raise BundleError(f"{path.name} is not a plain zip archive: {error}") from None


def _check_members(archive: zipfile.ZipFile, name: str, suffixes: tuple[str, ...], most: int) -> None:
    entries = archive.infolist()
    if len({entry.filename for entry in entries}) != len(entries):
        raise BundleError(f"{name} holds a name twice")
    if sum(entry.file_size for entry in entries) > LARGEST_BUNDLE_FILE:
        raise BundleError(f"{name} unpacks to more than {LARGEST_BUNDLE_FILE:,} bytes")
    for entry in entries:
        label = f"{name}:{entry.filename}"
        if not entry.filename.endswith(suffixes) or entry.flag_bits & 1:
            raise BundleError(f"{label} is not of a kind that {name} may hold ({', '.join(suffixes)})")
        with archive.open(entry) as member:
            if entry.filename.endswith(".json"):
                if entry.file_size > LARGEST_JSON:
                    raise BundleError(f"{label} has more than {LARGEST_JSON:,} bytes")
                parse_json(member.read(), label, most=most)
            else:
                _check_array(member, entry.file_size, label)
                while member.read(_BLOCK):
                    pass  # reading to the end checks the CRC


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
"""Check by suffix, for every kind of file that a bundle may hold."""
