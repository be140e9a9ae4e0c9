"""The fast reading of a file gives what the reading as text gives, and rows are found again in their lines."""

from __future__ import annotations

import csv
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.vendor import staging
from ktrdr.core.data.vendor.bare_columns import bare_roles
from ktrdr.core.data.vendor.file_lines import FileLines
from ktrdr.core.data.vendor.importer import import_file
from ktrdr.core.errors import BadInputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("paths")


def _outcome(path, store, options):
    """Return the bars and notes of an import, or its message."""
    try:
        report = import_file(path, store, **options)
    except BadInputError as error:
        return str(error)
    write = report.writes[0]
    bars = store.read(write.symbol, write.timeframe)
    store.delete(write.symbol, write.timeframe)
    columns = [bars.time.view(np.int64), bars.open, bars.high, bars.low, bars.close, bars.volume]
    return [column.tolist() for column in map(np.nan_to_num, columns)], report.notes, report.validations[0].findings


@given(generator=st.randoms(use_true_random=False))
def test_the_fast_reading_is_that_of_the_text(vendor_shapes, folder, generator):
    plain = {"decimal": ".", "thousands": "", "currency": "", "suffix": False, "encoding": "utf-8"}
    shape = vendor_shapes.shapes(generator, **plain)
    path, store = folder / "file.csv", BarStore(folder / "data")
    vendor_shapes.write(path, shape, vendor_shapes.series(generator, shape, 16))
    if generator.random() < 0.3 and not shape.packed:
        lines = path.read_text("utf-8").splitlines()
        lines.insert(generator.randrange(4, len(lines)), generator.choice(["", "footer", lines[-1] + ",9", lines[-2]]))
        path.write_text("\n".join(lines), "utf-8")
    options = vendor_shapes.options(shape) | {"skip_bad": generator.random() < 0.5}
    fast = _outcome(path, store, options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "_typed", lambda *_: None)
        assert _outcome(path, store, options) == fast


def test_plain_files_take_the_fast_reading(tmp_path, monkeypatch):
    rows = "".join(f"2020-01-06 {hour:02}:00:00,1.1,1.3,1.0,1.2,5\n" for hour in range(9))
    (tmp_path / "EURUSD.csv").write_text("time,open,high,low,close,volume\n" + rows)
    monkeypatch.setattr(staging, "_from_text", None)  # is not called
    assert import_file(tmp_path / "EURUSD.csv", BarStore(tmp_path / "data")).writes[0].added == 9


@given(
    st.lists(
        st.sampled_from(["a,b", "", '"x\ny",z', "  ", "only", "a,b,c", '"p,q",r', "a,b,", "a,,"]),
        min_size=1,
        max_size=12,
    )
)
def test_rows_are_found_in_their_lines(folder, records):
    path = folder / "lines.csv"
    path.write_text("head,er\n" + "\n".join(records) + "\n")
    expected_rows, expected_other, line = [], [], 2
    for record in records:
        cells = next(csv.reader([record])) if "\n" not in record else ["x\ny", "z"]
        while len(cells) > 2 and not cells[-1]:
            cells = cells[:-1]
        if record.strip():
            (expected_rows if len(cells) == 2 else expected_other).append((line, len(cells)))
        line += 1 + record.count("\n")
    lines = FileLines(path, ",", 1, 2)
    assert lines.of_rows(list(range(len(expected_rows)))) == [line for line, _ in expected_rows]
    assert lines.without_row(3) == (expected_other[:3], len(expected_other))
    assert lines.of_rows([99]) == []


def test_a_separator_at_the_end_of_lines_is_no_column(tmp_path):
    rows = [f"2020-01-06 {hour:02}:00,1.1,1.3,1.0,1.2,5," for hour in range(4)]
    path, store = tmp_path / "EURUSD.csv", BarStore(tmp_path / "data")
    path.write_text("\n".join(["time,open,high,low,close,volume", *rows, "x,y"]))
    with pytest.raises(BadInputError, match="line 6: has 2 columns where 6 are expected; correct"):
        import_file(path, store)
    report = import_file(path, store, skip_bad=True)
    assert report.writes[0].added == 4
    assert "1 row is no bar and was left out: line 6 has 2 columns" in report.validations[0].findings[0].message


def test_a_line_that_two_readers_take_in_two_ways_is_counted(tmp_path):
    rows = [f"2020-01-06 {hour:02}:00,1.1,1.3,1.0,1.2,5" for hour in range(4)]
    path, store = tmp_path / "EURUSD.csv", BarStore(tmp_path / "data")
    path.write_text("\n".join(["time,open,high,low,close,volume", *rows, '" "']) + "\n")
    with pytest.raises(BadInputError, match="line 6: is no row .*--skip-bad"):
        import_file(path, store)
    assert import_file(path, store, skip_bad=True).validations[0].findings[0].count == 1


def _bars(order: str, seed: int = 1) -> list[tuple[str, ...]]:
    generator = random.Random(seed)
    rows = []
    for _ in range(9):
        open_, close = generator.uniform(90, 110), generator.uniform(90, 110)
        bar = {"o": open_, "c": close, "h": max(open_, close) + 1, "l": min(open_, close) - 1}
        rows.append(tuple(f"{bar[letter]:.2f}" for letter in order))
    return rows


@pytest.mark.parametrize(
    ("head", "order", "tail", "roles"),
    [
        (("1704067200",), "ohlc", (), {"time": 0, "open": 1, "high": 2, "low": 3, "close": 4}),
        (("20240101",), "ochl", ("5", "500"), {"time": 0, "open": 1, "close": 2, "high": 3, "low": 4, "volume": 5}),
        (("2024.01.01", "09:30"), "ohlc", ("7",), {"day": 0, "time": 1, "open": 2, "volume": 6}),
        (("20240101", "93000"), "ohlc", (), {"day": 0, "time": 1, "open": 2, "close": 5}),
        (("1704067200",), "ohlc", ("5", "17", "9"), {"time": 0, "volume": 5}),
        (("1704067200",), "ohlc", ("100.0", "17", "9"), {"time": 0, "volume": 6}),
        (("1704067200",), "ohlc", ("100.0", "2", "3", "4"), {"time": 0, "volume": 5}),
    ],
)
def test_columns_without_headings(tmp_path, head, order, tail, roles):
    # The mean price of the sixth case lies between low and high on every bar.
    rows = [(*head, *bar, *tail) for bar in _bars(order)]
    rows = [row for row in rows if tail[:1] != ("100.0",) or _holds(row, len(head))]
    assert rows
    found = bare_roles(rows, {}, tmp_path / "x.csv")
    assert found is not None
    assert roles.items() <= found[0].items()
    assert ("volume" in found[0]) == bool(tail)


def _holds(row: tuple[str, ...], first: int) -> bool:
    return float(row[first + 2]) <= 100.0 <= float(row[first + 1])


@pytest.mark.parametrize("row", [("EURUSD", "1", "2", "1", "1"), ("1704067200", "1", "2"), ("1704067200", *"abcd")])
def test_what_is_no_bars_has_no_roles(tmp_path, row):
    assert bare_roles([row], {}, tmp_path / "x.csv") is None
