"""Check the layout of a safetensors file, without reading its tensors."""

from __future__ import annotations

import io
import math
from pathlib import Path

from ktrdr.core.files.reading import FileError, open_plain, parse_json

__all__ = ["check_safetensors"]

_MAX_HEADER = 64 * 2**20
_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
}  # fmt: skip


def check_safetensors(path: Path, limit: int) -> None:
    """Raise :class:`~ktrdr.core.files.reading.FileError` unless ``path`` is a whole safetensors file.

    It has at most ``limit`` bytes: 8 of little-endian header length, a JSON header, and the tensors without gaps.
    """
    with open_plain(path, limit) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        prefix = file.read(8)
        length = int.from_bytes(prefix, "little") if len(prefix) == 8 else 0
        if not 2 <= length <= min(size - 8, _MAX_HEADER):
            raise FileError(f"{path.name} is not a safetensors file")
        header = parse_json(file.read(length), path.name)
    if not isinstance(header, dict):
        raise FileError(f"{path.name} is not a safetensors file")
    spans: list[tuple[int, int]] = []
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        match tensor:
            case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]} if all(
                isinstance(extent, int) and extent >= 0 for extent in shape
            ) and end - start == math.prod(shape) * _BYTES.get(dtype, -1):
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
