"""One series in every shape of file: read back equal, or refused as ambiguous with an option that decides."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bar_store import BarStore, WriteReport
from ktrdr.core.data.vendor.importer import import_file
from ktrdr.core.errors import BadInputError


def _import(path: Path, store: BarStore, options: dict[str, object]) -> WriteReport | str:
    """Return what was written, or the message."""
    try:
        return import_file(path, store, **options).writes[0]  # type: ignore[arg-type]
    except BadInputError as error:
        return str(error)


def _check(shapes: ModuleType, folder: Path, shape, bars) -> list[str]:
    """Import a file, doing what messages say, compare what is stored, and return the options that were asked for."""
    path, store = folder / "file.csv", BarStore(folder / "data")
    shapes.write(path, shape, bars)
    options = shapes.options(shape)
    asked: list[str] = []
    while isinstance(done := _import(path, store, options), str):
        answer = shapes.answer(shape, done)
        assert answer, f"{shapes.differences(shape)}: {done}"
        assert not answer.keys() & options.keys(), f"{shapes.differences(shape)}: asked again: {done}"
        options |= answer
        asked += answer
    stored = store.read(done.symbol, done.timeframe)
    store.delete(done.symbol, done.timeframe)
    for name, values in shapes.expected(shape, bars).items():
        got = stored.time.astype("datetime64[s]").astype(np.int64) if name == "time" else getattr(stored, name)
        same = np.array_equal(got, values, equal_nan=True)
        assert same, f"{shapes.differences(shape)}: {name} is {got[:4]} for {values[:4]}"
    return asked


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@given(seed=st.integers(0, 2**32))
def test_a_random_series_in_a_random_shape(vendor_shapes, folder, seed):
    generator = random.Random(seed)
    shape = vendor_shapes.shapes(generator)
    _check(vendor_shapes, folder, shape, vendor_shapes.series(generator, shape, generator.choice((8, 24))))


def _check_all(vendor_shapes, folder, seed, **axes) -> dict[str, int]:
    """Check every combination; all failures are told at once, by what they have in common."""
    generator = random.Random(seed)
    failures, counts = [], {"files": 0, "decimal": 0, "dates": 0, "columns": 0}
    for shape in vendor_shapes.all_of(generator, **axes):
        counts["files"] += 1
        try:
            for option in _check(vendor_shapes, folder, shape, vendor_shapes.series(generator, shape, 16)):
                counts[option] += 1
        except AssertionError as failure:
            failures.append(str(failure).partition("\n")[0])
    assert not failures, f"{len(failures)} of {counts['files']}:\n" + "\n".join(failures[:40])
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("place", range(9))
def test_every_way_to_write_numbers(vendor_shapes, folder, place):
    shapes = vendor_shapes
    counts = _check_all(
        shapes,
        folder,
        place,
        heading=shapes.HEADINGS[place : place + 1],
        separator=shapes.SEPARATORS,
        decimal=shapes.DECIMALS,
        thousands=shapes.THOUSANDS,
    )
    assert counts["files"] == 4 * 12
    # Most files say themselves how their numbers are written.
    assert counts["decimal"] < 0.2 * counts["files"]


@pytest.mark.slow
@pytest.mark.parametrize("place", range(8))
def test_every_way_to_write_times(vendor_shapes, folder, place):
    shapes = vendor_shapes
    counts = _check_all(
        shapes,
        folder,
        place,
        date=tuple(shapes.DATES)[place : place + 1],
        clock=shapes.CLOCKS,
        zone=shapes.ZONES,
        joint=(" ", "T"),
    )
    assert counts["files"] >= 8 * 7 + 1 - 2


@pytest.mark.slow
def test_every_epoch_encoding_and_line_end(vendor_shapes, folder):
    shapes = vendor_shapes
    _check_all(shapes, folder, 1, epoch=shapes.EPOCHS, heading=shapes.HEADINGS, newest_first=(False, True))
    _check_all(
        shapes,
        folder,
        2,
        encoding=shapes.ENCODINGS,
        line_end=shapes.LINE_ENDS,
        packed=(False, True),
        heading=shapes.HEADINGS,
    )
