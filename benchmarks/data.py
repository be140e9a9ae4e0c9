"""Import, reading and other operations on bars, against DuckDB and pandas on the same files.

    python benchmarks/data.py [--quick] [--only TEXT] [--json FILE]

The peers do less. DuckDB converts the CSV file to a Parquet file and reads it back: with default settings, and with the
types of all columns given and one thread, as KTRDR uses it; pandas reads the CSV file. None of them checks that bars
are possible, in order and without gaps, merges them with stored bars, or can be killed at any moment. The memory of
every step is measured in a separate process; its limit is for 5 million bars.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from harness import Contest, Figure, files, find, main

LIMIT_MIB = 1536
SYMBOL = "BTCUSDT"
IMPORT, READ = "import of a CSV file", "reading stored bars"
LISTING = "listing many data sets"
LONGEST_LISTING = 1.0
"""Limit in seconds for the list of 10,000 data sets."""


def prepare(size: int) -> Path:
    """Return a directory with ``bars.csv``, ``bars.parquet`` and a store of the same bars."""
    folder = files() / f"bars-{size}"
    if not (folder / "done").exists():
        # In another process, so that its memory does not count in the measurement.
        from harness import reported

        reported(__file__, f"make({str(folder)!r}, {size})")
    return folder


def make(folder: str, size: int) -> None:
    """Write the files."""
    import duckdb
    from made_up import random_walk

    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.data.vendor.importer import import_file

    place = Path(folder)
    place.mkdir()
    bars = random_walk(size, start=30_000.0, step=2e-4)
    with duckdb.connect() as connection:
        names = ("open", "high", "low", "close")
        connection.register("bars", {name: getattr(bars, name) for name in ("time", *names, "volume")})
        columns = ", ".join(f"{name}::DECIMAL(18, 5) AS {name}" for name in names)
        times = "strftime(time, '%Y-%m-%dT%H:%M:%S') AS timestamp"
        connection.execute(
            f"COPY (SELECT {times}, {columns}, volume::BIGINT AS volume FROM bars) TO '{place}/bars.csv'"
        )
    to_parquet(place, place / "bars.parquet")
    import_file(place / "bars.csv", BarStore(place / "store"), symbol=SYMBOL)
    (place / "done").touch()


def to_parquet(folder: Path, target: Path) -> None:
    """Convert the CSV file to a Parquet file with DuckDB."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (FROM read_csv('{folder}/bars.csv')) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
        )


def import_new(folder: Path) -> None:
    """Import into an empty store."""
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.data.vendor.importer import import_file

    with tempfile.TemporaryDirectory() as home:
        report = import_file(folder / "bars.csv", BarStore(Path(home)), symbol=SYMBOL)
        assert report.writes[0].added == report.writes[0].rows


def duckdb_import(folder: Path) -> None:
    """Convert the CSV file with DuckDB, into a temporary directory."""
    with tempfile.TemporaryDirectory() as home:
        to_parquet(folder, Path(home) / "bars.parquet")


def duckdb_typed(folder: Path) -> None:
    """Read the CSV file with the types of its columns given, and write it as Parquet, on one thread."""
    import duckdb

    types = {"timestamp": "TIMESTAMP"} | dict.fromkeys(("open", "high", "low", "close", "volume"), "DOUBLE")
    with tempfile.TemporaryDirectory() as home, duckdb.connect(config={"threads": "1"}) as connection:
        source = f"read_csv('{folder}/bars.csv', auto_detect=false, header=true, columns={types})"
        connection.execute(f"COPY (FROM {source}) TO '{home}/bars.parquet' (FORMAT parquet, COMPRESSION zstd)")


def import_ratio(size: int, turns: int) -> float:
    """Return the CPU time of an import over that of :func:`duckdb_typed`, the best of ``turns`` of each."""
    import time

    best: dict[Callable[[Path], None], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        make(f"{folder}/bars", size)
        for _ in range(turns):
            for program in (duckdb_typed, import_new):
                begin = time.process_time()
                program(Path(folder) / "bars")
                best[program] = min(best.get(program, float("inf")), time.process_time() - begin)
    return best[import_new] / best[duckdb_typed]


def pandas_read_csv(folder: Path) -> Any:
    """Read the CSV file into a frame."""
    import pandas

    return pandas.read_csv(folder / "bars.csv", parse_dates=["timestamp"], index_col="timestamp")


def import_again(folder: Path) -> None:
    """Import bars that are stored already: all are compared, none is written."""
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.data.vendor.importer import import_file

    assert import_file(folder / "bars.csv", BarStore(folder / "store"), symbol=SYMBOL).writes[0].added == 0


def read(folder: Path) -> Any:
    """Read all bars of a data set."""
    from ktrdr.core.data.bar_store import BarStore

    return BarStore(folder / "store").read(SYMBOL, "1m")


def duckdb_read(folder: Path) -> Any:
    """Read one Parquet file into arrays."""
    import duckdb

    with duckdb.connect() as connection:
        return connection.execute(f"FROM read_parquet('{folder}/bars.parquet')").fetchnumpy()


def listing(folder: Path) -> Any:
    """List the stored data sets."""
    from ktrdr.core.data.bar_store import BarStore

    return BarStore(folder / "store").datasets()


def manifests(count: int) -> Path:
    """Return a directory with a store of ``count`` data sets of ten years, of which only the manifests exist."""
    folder = files() / f"manifests-{count}"
    if not (folder / "done").exists():
        import numpy as np

        from ktrdr.core.data.dataset_manifest import MANIFEST, DatasetManifest, YearFile

        years = {
            year: YearFile(
                f"{year}-{year:016x}.parquet", 252, *np.array([f"{year}-01-03", f"{year}-12-30"], "M8[ns]"), 9000
            )
            for year in range(2015, 2025)
        }
        for number in range(count):
            place = folder / "store" / f"S{number:05}" / "1d"
            place.mkdir(parents=True)
            (place / MANIFEST).write_text(DatasetManifest(place.parent.name, "1d", years).to_json(), encoding="utf-8")
        (folder / "done").touch()
    return folder


def check(folder: Path) -> Any:
    """Read all bars and validate them."""
    from ktrdr.core.data.validation import validate_bars

    return validate_bars(read(folder))


def resample(folder: Path) -> Any:
    """Resample the stored bars to hourly bars."""
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.data.loading import load_bars

    return load_bars(BarStore(folder / "store"), SYMBOL, "1h")


def agree(folder: Path) -> None:
    """Fail unless all programs read the same prices."""
    import numpy as np

    mine = read(folder)
    for others in (duckdb_read(folder), pandas_read_csv(folder)):
        for name in ("open", "high", "low", "close", "volume"):
            np.testing.assert_array_equal(getattr(mine, name), others[name])


STEPS: dict[str, Callable[[Path], Any]] = {
    "the same import again": import_again,
    "listing data sets": listing,
    "reading and checking": check,
    "resampling to hours": resample,
}


def contests(quick: bool) -> list[Contest]:
    """Return the contests: import and reading against the peers, then steps without a peer."""
    sizes = (1_000, 3_000, 10_000) if quick else (50_000, 500_000, 5_000_000)
    rounds = 1 if quick else 3
    peers = {"DuckDB alone": duckdb_import, "DuckDB, types given": duckdb_typed, "pandas.read_csv": pandas_read_csv}
    turns = dict.fromkeys(("ktrdr", *peers), 1 if quick else 2)
    found = [
        Contest(IMPORT, {"ktrdr": import_new, **peers}, prepare, sizes, "bars", rounds=rounds, few=turns, memory=True),
        Contest(
            READ,
            {"ktrdr": read, "DuckDB alone": duckdb_read, "pandas.read_csv": pandas_read_csv},
            prepare,
            sizes,
            "bars",
            check=agree,
            rounds=rounds,
            memory=True,
        ),
    ]
    many = (10, 30, 100) if quick else (100, 1_000, 10_000)
    found.append(Contest(LISTING, {"ktrdr": listing}, manifests, many, "data sets", rounds=rounds, clock="wall"))
    for name, step in STEPS.items():
        few = {"ktrdr": 1}
        found.append(
            Contest(
                name, {"ktrdr": step}, prepare, sizes, "bars", "other steps", rounds=rounds, few=few, memory=not quick
            )
        )
    return found


def figures(rows: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield the memory of every step and the time of a long list, with their limits."""
    if not quick:
        seconds = find(rows, LISTING, "ktrdr")["wall"]["median"]
        yield Figure(LISTING, seconds, "s", at_most=LONGEST_LISTING, of="10,000 data sets, one timeframe each")
        for name in (IMPORT, READ, *STEPS):
            row = find(rows, name, "ktrdr")
            yield Figure(
                f"most memory: {name}", row["peak_mib"], "MiB", at_most=LIMIT_MIB, of=f"{row['size']:,} bars, a process"
            )


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)
