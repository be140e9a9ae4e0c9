"""Arrays in safetensors files: 8 bytes of little-endian header length, a JSON header, and the arrays without gaps."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ktrdr.core.files.reading import FileError, open_plain, parse_json
from ktrdr.core.limits import LARGEST_TENSOR_HEADER, MOST_TENSORS
from ktrdr.core.short_texts import quoted

if TYPE_CHECKING:
    import numpy as np

__all__ = ["check_safetensors", "read_safetensors", "write_safetensors"]

_MOST_DIMENSIONS = 32
_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
}  # fmt: skip
# Those that core's own files have, in numpy's words.
_DTYPES = {"F32": "<f4", "F64": "<f8", "I32": "<i4"}


class _Place(NamedTuple):
    """Where an array is: its bytes ``start`` to ``end`` behind the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def check_safetensors(path: Path, limit: int) -> None:
    """Raise :class:`~ktrdr.core.files.reading.FileError` unless ``path`` is a complete safetensors file.

    The file may have up to ``limit`` bytes. No array is read.
    """
    with open_plain(path, limit) as file:
        _read_header(file, path.name)


def read_safetensors(path: Path, limit: int) -> dict[str, np.ndarray]:
    """Return the arrays of a file of at most ``limit`` bytes, by name. They cannot be written to.

    Raises:
        FileError: it is no complete safetensors file, or holds arrays of another dtype than float32, float64 and int32.
    """
    import numpy as np

    with open_plain(path, limit) as file:
        places = _read_header(file, path.name)
        content = file.read()
    if unknown := sorted(name for name, place in places.items() if place.dtype not in _DTYPES):
        raise FileError(
            f"{path.name} holds {quoted(unknown[0])} as {places[unknown[0]].dtype}; it may hold {', '.join(_DTYPES)}"
        )
    if len(content) < max((place.end for place in places.values()), default=0):
        raise FileError(f"{path.name} was changed while it was read")
    arrays = {}
    for name, place in places.items():
        dtype = np.dtype(_DTYPES[place.dtype])
        flat = np.frombuffer(content, dtype, (place.end - place.start) // dtype.itemsize, place.start)
        # Other writers may not align the arrays.
        arrays[name] = np.require(flat.reshape(place.shape), requirements="A")
    return arrays


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write float32, float64 and int32 arrays; equal arrays give equal bytes.

    Raises:
        ValueError: an array has another dtype.
    """
    names = {dtype: name for name, dtype in _DTYPES.items()}
    header: dict[str, Any] = {}
    position = 0
    # The largest elements first, so that every array is aligned.
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    for name in order:
        array = arrays[name]
        if array.dtype.str not in names:
            raise ValueError(f"array {name!r} is {array.dtype}, not float32, float64 or int32")
        span = [position, position := position + array.nbytes]
        header[name] = {"dtype": names[array.dtype.str], "shape": list(array.shape), "data_offsets": span}
    told = json.dumps(header, separators=(",", ":")).encode()
    told += b" " * (-len(told) % 8)
    with path.open("wb") as file:
        file.write(len(told).to_bytes(8, "little") + told)
        for name in order:
            file.write(arrays[name].tobytes())


def _read_header(file: io.BufferedReader, name: str) -> dict[str, _Place]:
    """Return the places of all arrays; ``file`` stands behind the header then."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little") if len(prefix) == 8 else 0
    if not 2 <= length <= min(size - 8, LARGEST_TENSOR_HEADER):
        raise FileError(f"{name} is not a safetensors file")
    header = parse_json(file.read(length), name)
    if not isinstance(header, dict):
        raise FileError(f"{name} is not a safetensors file")
    if len(header) > MOST_TENSORS:
        raise FileError(f"{name} holds more than {MOST_TENSORS:,} tensors")
    places: dict[str, _Place] = {}
    for key, tensor in header.items():
        if key == "__metadata__":
            continue
        match tensor:
            case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]} if (
                dtype in _BYTES and 0 <= start <= end and end - start == _elements(shape, size) * _BYTES[dtype]
            ):
                places[key] = _Place(dtype, tuple(shape), start, end)
            case _:
                raise FileError(f"{name} is not a safetensors file: tensor {quoted(key)} is described wrongly")
    position = 0
    for start, end in sorted((place.start, place.end) for place in places.values()):
        if start != position:
            raise FileError(f"{name} is not a safetensors file: its tensors overlap or leave gaps")
        position = end
    first = 8 + length
    if position != size - first:
        raise FileError(f"{name} is not a safetensors file: it is {size - first - position:+,} bytes off")
    return places


def _elements(shape: Sequence[Any], most: int) -> int:
    """Return the number of elements, -1 if ``shape`` is invalid or has more than ``most`` elements.

    The product is bounded: that of a thousand huge extents would take seconds.
    """
    if len(shape) > _MOST_DIMENSIONS or not all(type(extent) is int and 0 <= extent <= most for extent in shape):
        return -1
    elements = 1
    for extent in filter(None, shape):
        elements *= extent
        if elements > most:
            return -1
    # Also the other extents of an empty tensor are bounded: numpy multiplies them.
    return 0 if 0 in shape else elements
