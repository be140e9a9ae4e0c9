"""Files of the cache: named arrays with a checksum.

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

__all__ = ["Layout", "file_size", "layout_of", "read_arrays", "write_arrays"]

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


def read_arrays(path: Path, key: str, layout: Layout, *, mapped: bool) -> dict[str, np.ndarray]:
    """Return the arrays of a file, after its checksum is verified.

    Args:
        path: file that :func:`write_arrays` wrote. It may be removed while the arrays are in use.
        key: key of the arrays.
        layout: layout that they must have.
        mapped: map the arrays from the file instead of reading them into memory. Each mapping keeps a file open, so it
            is meant for large arrays.

    Returns:
        The arrays by name; they cannot be written to.

    Raises:
        MissingFileError: there is no such file.
        FileError: the file is damaged, or has another key or layout.
        OSError: the file cannot be read.
    """
    description = _description(key, layout)
    size = file_size(key, layout)
    with open_plain(path, size) as file:
        # A file to map is verified by reading it: an error of the disk is an exception then, and a signal in a mapping.
        content = np.empty(_PIECE if mapped else size, np.uint8)
        digest, length = hashlib.sha256(), 0
        while count := file.readinto(content.data):
            if length == 0:
                head, found = content[:_HEAD].tobytes(), content[_HEAD : _HEAD + len(description)].tobytes()
            digest.update(content[0 if length else _HEAD : count].data)
            length += count
        if length != size or head != _MAGIC + digest.digest() or found != description:
            raise FileError(f"{path.name} is damaged")
        if mapped:
            content = np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), np.uint8)
    content.flags.writeable = False
    arrays, start = {}, _HEAD + len(description)
    for name, (dtype, shape) in layout.items():
        end = start + _bytes_of(layout[name])
        arrays[name] = content[start:end].view(dtype).reshape(shape)
        start += _padded(end - start)
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
