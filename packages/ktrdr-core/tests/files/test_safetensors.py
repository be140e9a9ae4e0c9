"""The layout of safetensors files, by the library that writes them, and by those who mean harm."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ktrdr.core.files.reading import FileError
from ktrdr.core.files.safetensors import check_safetensors, read_safetensors, write_safetensors


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
    "a huge product that is empty": tensor([0, *[8] * 24], 0, 0),
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


@given(
    arrays=st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__" and name.isprintable()),
        st.sampled_from(["<f4", "<f8", "<i4"]).flatmap(
            lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0, max_side=4))
        ),
        max_size=5,
    )
)
def test_what_is_written_is_read_by_us_and_by_the_library(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("st") / "w.safetensors"
    write_safetensors(path, arrays)
    read = read_safetensors(path, 2**20)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array, strict=True)
        assert read[name].flags.aligned
        assert not read[name].flags.writeable or read[name].base is None
    again = path.read_bytes()
    write_safetensors(path, dict(reversed(arrays.items())))
    assert path.read_bytes() == again


@pytest.mark.parametrize("dtype", ["int64", "bool", "float16", ">f4"])
def test_other_kinds_of_arrays_are_not_written(dtype, tmp_path):
    with pytest.raises(ValueError, match="not float32, float64 or int32"):
        write_safetensors(tmp_path / "w.safetensors", {"w": np.zeros(2, dtype)})


def test_arrays_that_another_writer_did_not_align_are_read(tmp_path):
    values = np.float64([1.5, -2.5])
    header = {"b": tensor([1], 0, 4), "w": tensor([2], 4, 20, "F64")}
    path = write(tmp_path / "w.safetensors", header, bytes(4) + values.tobytes())
    np.testing.assert_array_equal(read_safetensors(path, 2**20)["w"], values)
