"""A system that really refuses to write: a limit on the size of files, in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ktrdr.core.data.exporter import export_bars
from ktrdr.core.data.parquet import connect, copy_to_file
from ktrdr.core.files.disk_space import is_out_of_room, why_not_written

_STORE = """
import sys
from pathlib import Path
import numpy as np
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.exporter import export_bars
from ktrdr.core.data.parquet import connect, copy_to_file
from ktrdr.core.errors import KtrdrError
try:
    if sys.argv[1] == "write":
        BarStore(Path(sys.argv[2])).write(sample_bars())
    else:
        export_bars(sample_bars(), Path(sys.argv[2]) / "x.csv")
except KtrdrError as error:
    print(f"Error: {error}", file=sys.stderr)
    sys.exit(error.exit_status)
"""


def limited(size: int, *command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that may not write a file larger than ``size`` bytes, with temporary files below ``folder``.

    It writes no bytecode either: Python keeps what the limit cut off, and every later import of that module fails.
    """
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env={
            "KTRDR_HOME": str(folder / "home"),
            "TMPDIR": str(temporary),
            "PATH": "",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("packed", [True, False])
def test_an_import_without_room_for_its_temporary_files(tmp_path: Path, make_bars, packed: bool):
    source = tmp_path / ("EURUSD.csv.gz" if packed else "EURUSD.csv")
    export_bars(make_bars(10_000), source)
    if not packed:
        # A decimal comma is read by way of a table, plain numbers need no room.
        source.write_text(source.read_text().replace(",", ";").replace(".", ","))
    before = files(tmp_path)
    done = limited(50_000, "-m", "ktrdr.core.cli.main", "data", "import", str(source), folder=tmp_path)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert errors == [
        f"Error: cannot write to the temporary directory {tmp_path / 'tmp'}: a file would be larger than is allowed "
        "here (see `ulimit -f`); nothing was changed; make room there, or name another directory with TMPDIR"
    ]
    assert "Traceback" not in done.stderr
    assert files(tmp_path) == before


@pytest.mark.parametrize("action", ["write", "export"])
def test_bars_that_do_not_fit(tmp_path: Path, action: str):
    done = limited(30_000, "-c", _STORE, action, str(tmp_path), folder=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("Error: cannot write ")
    assert "a file would be larger than is allowed here" in done.stderr
    assert "; nothing was" in done.stderr
    assert [name for name in files(tmp_path) if name != ".lock"] == []


def test_what_duckdb_cannot_write_is_an_error_of_the_system():
    with connect() as connection:
        with pytest.raises(OSError, match="No space left on device") as caught:
            copy_to_file(connection, "SELECT range FROM range(100000)", Path("/dev/full"), "FORMAT csv")
        assert is_out_of_room(caught.value)
        assert why_not_written(caught.value) == "the disk is full"
        with pytest.raises(OSError, match="No such file or directory"):
            copy_to_file(connection, "SELECT 1 AS a", Path("/no/where/x"), "FORMAT parquet")


def test_reasons():
    import errno

    import duckdb

    assert why_not_written(OSError(errno.ENOSPC, "No space left on device")) == "the disk is full"
    assert (
        why_not_written(duckdb.IOException('Could not write file "x": No space left on device')) == "the disk is full"
    )
    assert why_not_written(PermissionError(errno.EACCES, "Permission denied")) == "Permission denied"
    assert is_out_of_room(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert not is_out_of_room(duckdb.InvalidInputException("File 'x' too small to be a Parquet file"))
