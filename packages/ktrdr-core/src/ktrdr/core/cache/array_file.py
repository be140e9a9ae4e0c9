"""Files of the cache: named arrays with a checksum, mapped into memory to be read.

A file is 64 bytes of head, a description and the arrays, each padded to a multiple of 64 bytes. The head is
:data:`_MAGIC` and the sha256 of everything after it; the description is JSON with the key and the layout. A reader
knows both before it opens the file, so it compares bytes and parses nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ktrdr.core.files.reading import FileError, open_plain

__all__ = ["Layout", "file_size", "layout_of", "map_arrays", "write_arrays"]

Layout: TypeAlias = Mapping[str, tuple[str, tuple[int, ...]]]
"""``dtype`` and shape of each array by name. A dtype has its byte order, such as ``<f8``."""

_MAGIC = b"KTRDR cache of arrays, format 1\n"
_BLOCK = 64
"""Bytes that everything in a file is padded to: arrays are aligned for every instruction of a processor."""
_HEAD = _BLOCK
_PIECE = 2**20


def layout_of(arrays: Mapping[str, np.ndarray]) -> Layout:
    """Return the layout of ``arrays``."""
    return {name: (array.dtype.str, array.shape) for name, array in arrays.items()}


def file_size(key: str, layout: Layout) -> int:
    """Return the bytes of a file with these arrays."""
    return _HEAD + len(_description(key, layout)) + sum(_padded(_bytes_of(each)) for each in layout.values())


def write_arrays(path: Path, key: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write ``arrays`` to ``path``, an existing empty file."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        file.write(bytes(_HEAD))
        for part in _parts(key, arrays):
            digest.update(part)
            file.write(part)
        file.seek(0)
        file.write(_MAGIC + digest.digest())


def map_arrays(path: Path, key: str, layout: Layout) -> dict[str, np.ndarray]:
    """Return the arrays of a file, after its checksum is verified.

    Args:
        path: file that :func:`write_arrays` wrote. It may be removed while the arrays are in use.
        key: key of the arrays.
        layout: layout that they must have.

    Returns:
        The arrays by name, mapped from the file; they cannot be written to.

    Raises:
        MissingFileError: there is no such file.
        FileError: the file is damaged, or has another key or layout.
        OSError: the file cannot be read.
    """
    description = _description(key, layout)
    size = file_size(key, layout)
    with open_plain(path, size) as file:
        # Verified by reading, not by the mapping: an error of the disk is an exception here, and a signal there.
        head, digest, found = file.read(_HEAD), hashlib.sha256(), file.read(len(description))
        digest.update(found)
        length, piece = _HEAD + len(found), bytearray(_PIECE)
        while count := file.readinto(piece):
            digest.update(memoryview(piece)[:count])
            length += count
        if length != size or head != _MAGIC + digest.digest() or found != description:
            raise FileError(f"{path.name} is damaged")
        mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    arrays, start = {}, _HEAD + len(description)
    for name, (dtype, shape) in layout.items():
        arrays[name] = np.frombuffer(mapped, dtype, math.prod(shape), start).reshape(shape)
        start += _padded(arrays[name].nbytes)
    return arrays


def _parts(key: str, arrays: Mapping[str, np.ndarray]) -> Iterator[bytes | memoryview]:
    yield _description(key, layout_of(arrays))
    for array in arrays.values():
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        yield bytes(_padded(array.nbytes) - array.nbytes)


def _description(key: str, layout: Layout) -> bytes:
    text = json.dumps([key, [[name, dtype, list(shape)] for name, (dtype, shape) in layout.items()]])
    return text.encode().ljust(_padded(len(text) + 1) - 1) + b"\n"


def _bytes_of(described: tuple[str, tuple[int, ...]]) -> int:
    dtype, shape = described
    return np.dtype(dtype).itemsize * math.prod(shape)


def _padded(length: int) -> int:
    return -(-length // _BLOCK) * _BLOCK
