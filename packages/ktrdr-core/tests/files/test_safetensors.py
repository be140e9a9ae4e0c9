"""The layout of safetensors files, by the library that writes them, and by those who mean harm."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.files.reading import FileError
from ktrdr.core.files.safetensors import check_safetensors


def write(path: Path, header: Any, data: bytes = b"") -> Path:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(content).to_bytes(8, "little") + content + data)
    return path


def tensor(shape: Any, start: Any = 0, end: Any = 4, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@given(shapes=st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=1, max_size=5))
def test_what_fits_is_accepted(tmp_path_factory, shapes):
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for number, shape in enumerate(shapes):
        size = 4 * math.prod(shape)
        header[f"t{number}"] = tensor(shape, position, position + size)
        position += size
    check_safetensors(write(tmp_path_factory.mktemp("st") / "w.safetensors", header, bytes(position)), 2**30)


WRONG = {
    "an extent beyond the file": tensor([10**30]),
    "a product beyond the file": tensor([2**20] * 20),
    "too many dimensions": tensor([1] * 33),
    "an extent below zero": tensor([-1]),
    "a product of negatives": tensor([-1, -1]),
    "a fraction": tensor([1.0]),
    "a truth": tensor([True]),
    "a text": tensor(["1"]),
    "no shape": tensor(None),
    "offsets that go back": tensor([1], 4, 0),
    "offsets before the data": tensor([1], -4, 0),
    "an unknown type": tensor([1], dtype="PICKLE"),
    "a list": [],
    "another key": {**tensor([1]), "shape": [2]},
}


@pytest.mark.parametrize("kind", sorted(WRONG))
def test_what_does_not_fit_is_refused(tmp_path, kind):
    path = write(tmp_path / "w.safetensors", {"w": WRONG[kind]}, bytes(4))
    with pytest.raises(FileError, match="tensor 'w' is described wrongly"):
        check_safetensors(path, 2**30)


def test_tensors_that_go_back_over_others_are_refused(tmp_path):
    header = {"a": tensor([1], 0, 4), "b": tensor([1], 4, 0)}
    with pytest.raises(FileError, match="described wrongly"):
        check_safetensors(write(tmp_path / "w.safetensors", header), 2**30)


def test_the_number_of_tensors_and_the_header_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("ktrdr.core.files.safetensors.MOST_TENSORS", 2)
    header = {str(number): tensor([0], 0, 0) for number in range(3)}
    with pytest.raises(FileError, match="more than 2 tensors"):
        check_safetensors(write(tmp_path / "w.safetensors", header), 2**30)
    monkeypatch.setattr("ktrdr.core.files.safetensors.LARGEST_TENSOR_HEADER", 20)
    with pytest.raises(FileError, match="is not a safetensors file"):
        check_safetensors(write(tmp_path / "w.safetensors", {"a": tensor([0], 0, 0)}), 2**30)
