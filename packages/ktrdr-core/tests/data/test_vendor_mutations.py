"""Damaged files come in right or are refused; nothing else happens, and nothing is left behind."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ktrdr.core.data.vendor.importer import import_file
from ktrdr.core.errors import BadInputError

SCRIPT = Path(__file__).with_name("vendor_mutants.py")


def _run(folder: Path, first: int, count: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), str(folder), str(first), str(count)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_some_mutations_of_good_files(tmp_path):
    result = _run(tmp_path, 5000, 40)
    assert result["faults"] == []
    assert min(result["counts"].values()) >= 5


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("cell", ["9", "x", '"'])
def test_a_cell_that_is_longer_than_any(store, tmp_path, place, cell):
    rows = ["time,open,high,low,close,volume", *(f"2017-01-02 0{hour}:00,1.1,1.3,1.0,1.2,5" for hour in range(4))]
    rows.insert(place, cell * 200_001)
    (tmp_path / "BTCUSD.csv").write_text("\n".join(rows))
    with pytest.raises(BadInputError) as caught:
        import_file(tmp_path / "BTCUSD.csv", store)
    assert len(str(caught.value)) < 600


def test_a_zip_archive_whose_file_is_said_to_begin_before_it(store, tmp_path):
    with zipfile.ZipFile(tmp_path / "BTCUSD.zip", "w") as archive:
        archive.writestr("BTCUSD.csv", "time,open,high,low,close\n")
    data = (tmp_path / "BTCUSD.zip").read_bytes()
    # The directory of an archive with bytes missing before it: every place in it is too far to the right.
    (tmp_path / "BTCUSD.zip").write_bytes(data[:4] + data[20:])
    with pytest.raises(BadInputError, match=r"BTCUSD\.zip is (damaged or cut off|not a readable zip archive)"):
        import_file(tmp_path / "BTCUSD.zip", store)


@pytest.mark.slow
def test_a_thousand_mutations_of_good_files(tmp_path):
    result = _run(tmp_path, 0, 1000)
    assert result["faults"] == []
    assert sum(result["counts"].values()) == 1000
    assert result["peak_mb"] < 300
