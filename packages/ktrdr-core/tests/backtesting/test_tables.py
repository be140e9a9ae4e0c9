"""Tables come back from Parquet as they went, and the same table gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ktrdr.core.backtesting.tables import read_table, rows_of, write_table


def table(n: int = 5) -> dict[str, np.ndarray]:
    times = np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(1, "h")
    times[n // 2 : n // 2 + 1] = np.datetime64("NaT")
    values = np.linspace(0.1, 0.7, n)
    values[:1] = np.nan
    return {
        "time": times,
        "value": values,
        "count": np.arange(n),
        "name": np.array([f"it's {k}" for k in range(n)], dtype=object),
    }


def assert_same(read: dict[str, np.ndarray], written: dict[str, np.ndarray]) -> None:
    assert list(read) == list(written)
    for name in written:
        np.testing.assert_array_equal(read[name], written[name])
        assert read[name].dtype == written[name].dtype


def test_round_trip_and_equal_bytes(tmp_path: Path):
    for name in ("a.parquet", "b.parquet"):
        write_table({"": table()}, tmp_path / name)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert_same(read_table(tmp_path / "a.parquet"), table())


def test_no_rows(tmp_path: Path):
    write_table({"": table(0)}, tmp_path / "a.parquet")
    assert_same(read_table(tmp_path / "a.parquet"), table(0))


def test_symbols_below_each_other(tmp_path: Path):
    tables = {"BRK.B": table(300_000), "^GSPC": table(7)}
    write_table(tables, tmp_path / "a.parquet", by_symbol=True)
    for symbol, written in tables.items():
        assert_same(read_table(tmp_path / "a.parquet", symbol), written)
    whole = read_table(tmp_path / "a.parquet")
    assert whole["symbol"].tolist() == ["BRK.B"] * 300_000 + ["^GSPC"] * 7


def test_rows_for_json():
    row = rows_of(table())[0]
    assert row == {"time": "2020-01-01T00:00:00Z", "value": None, "count": 0, "name": "it's 0"}
    assert rows_of(table())[2]["time"] is None
