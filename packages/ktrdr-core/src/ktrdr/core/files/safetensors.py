"""Check of the layout of a safetensors file, without reading its tensors."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ktrdr.core.files.reading import FileError, open_plain, parse_json
from ktrdr.core.limits import LARGEST_TENSOR_HEADER, MOST_TENSORS

__all__ = ["check_safetensors"]

_MOST_DIMENSIONS = 32
_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
}  # fmt: skip


def check_safetensors(path: Path, limit: int) -> None:
    """Raise :class:`~ktrdr.core.files.reading.FileError` unless ``path`` is a complete safetensors file.

    The file may have up to ``limit`` bytes: 8 bytes of little-endian header length, a JSON header, and the tensors
    without gaps.
    """
    with open_plain(path, limit) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        prefix = file.read(8)
        length = int.from_bytes(prefix, "little") if len(prefix) == 8 else 0
        if not 2 <= length <= min(size - 8, LARGEST_TENSOR_HEADER):
            raise FileError(f"{path.name} is not a safetensors file")
        header = parse_json(file.read(length), path.name)
    if not isinstance(header, dict):
        raise FileError(f"{path.name} is not a safetensors file")
    if len(header) > MOST_TENSORS:
        raise FileError(f"{path.name} holds more than {MOST_TENSORS:,} tensors")
    spans: list[tuple[int, int]] = []
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        match tensor:
            case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]} if (
                dtype in _BYTES and 0 <= start <= end and end - start == _elements(shape, size) * _BYTES[dtype]
            ):
                spans.append((start, end))
            case _:
                raise FileError(f"{path.name} is not a safetensors file: tensor {name!r} is described wrongly")
    position = 0
    for start, end in sorted(spans):
        if start != position:
            raise FileError(f"{path.name} is not a safetensors file: its tensors overlap or leave gaps")
        position = end
    if position != size - 8 - length:
        raise FileError(f"{path.name} is not a safetensors file: it is {size - 8 - length - position:+,} bytes off")


def _elements(shape: Sequence[Any], most: int) -> int:
    """Return the number of elements, -1 if ``shape`` is invalid or has more than ``most`` elements.

    The product is bounded: that of a thousand huge extents would take seconds.
    """
    if len(shape) > _MOST_DIMENSIONS or not all(type(extent) is int and 0 <= extent <= most for extent in shape):
        return -1
    elements = 1
    for extent in shape:
        elements *= extent
        if elements > most:
            return -1
    return elements
