from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from time import sleep

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktrdr.core.data import parquet
from ktrdr.core.data.bar_store import BarStore, default_store
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.merging import merge
from ktrdr.core.errors import BadInputError, StoreError
from ktrdr.core.files.durable import UNFINISHED


def test_what_is_written_is_read_back(store, make_bars, same_bars):
    bars = make_bars(30_000)
    report = store.write(bars)
    assert (report.added, report.replaced, report.unchanged, report.rows) == (30_000, 0, 0, 30_000)
    assert same_bars(store.read("EURUSD", "1h"), bars)
    names = {path.name[:4] for path in (store.root / "EURUSD" / "1h").glob("*.parquet")}
    assert names == {"2017", "2018", "2019", "2020"}


def test_unknown_volume_stays_unknown(store, make_bars):
    bars = make_bars(10)
    bars.volume[3:6] = np.nan
    store.write(bars)
    assert np.isnan(store.read("EURUSD", "1h").volume).tolist() == [False] * 3 + [True] * 3 + [False] * 4


def test_range_is_half_open(store, make_bars, same_bars):
    bars = make_bars(20_000)
    store.write(bars)
    start, end = bars.time[500], bars.time[1450]
    assert same_bars(store.read("EURUSD", "1h", start, end), bars[500:1450])
    assert same_bars(store.read("EURUSD", "1h", start), bars[500:])
    assert same_bars(store.read("EURUSD", "1h", None, end), bars[:1450])
    assert len(store.read("EURUSD", "1h", end, start)) == 0
    assert len(store.read("EURUSD", "1h", np.datetime64("2030-01-01"))) == 0


def test_reading_more_than_one_query_keeps_order(store, make_bars, same_bars, monkeypatch):
    monkeypatch.setattr(parquet, "_ROWS_PER_QUERY", 9_000)
    bars = make_bars(40_000)
    store.write(bars)
    assert same_bars(store.read("EURUSD", "1h"), bars)


def test_writing_again_changes_no_file(store, make_bars, tree):
    bars = make_bars(20_000)
    store.write(bars)
    before = tree(store.root)
    report = store.write(bars)
    assert (report.added, report.replaced, report.unchanged) == (0, 0, 20_000)
    assert tree(store.root) == before


def test_only_changed_years_are_rewritten(store, make_bars):
    bars = make_bars(20_000)
    store.write(bars)
    directory = store.root / "EURUSD" / "1h"
    before = {path.name for path in directory.glob("*.parquet")}
    bars.volume[-1] += 1
    report = store.write(bars)
    assert (report.replaced, report.unchanged) == (1, 19_999)
    after = {path.name for path in directory.glob("*.parquet")}
    assert {name[:4] for name in before ^ after} == {"2019"}
    assert len(after) == 3


_HOURS = st.lists(st.integers(0, 60), unique=True, max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=_HOURS.filter(bool), new=_HOURS, seed=st.integers(0, 3))
def test_merge_equals_a_dictionary(bars_at, old, new, seed):
    start = np.datetime64("2017-12-30T00", "s")
    first = bars_at(start + np.sort(np.array(old, dtype=int)) * np.timedelta64(3600, "s"), seed=0)
    second = bars_at(start + np.sort(np.array(new, dtype=int)) * np.timedelta64(3600, "s"), seed=seed)
    merged, counts = merge(first, second)

    expected = dict(_rows(first))
    added = replaced = unchanged = 0
    for time, row in _rows(second):
        if time not in expected:
            added += 1
        elif expected[time] == row:
            unchanged += 1
        else:
            replaced += 1
        expected[time] = row
    assert list(_rows(merged)) == sorted(expected.items())
    assert counts == (added, replaced, unchanged)


def _rows(bars: Bars) -> list[tuple[int, tuple[float, ...]]]:
    times = bars.time.astype(np.int64).tolist()
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    return list(zip(times, zip(*(column.tolist() for column in columns), strict=True), strict=True))


def test_overlapping_pieces_in_any_order_give_the_whole(store, make_bars, same_bars):
    bars = make_bars(25_000)
    for low, high in ((9_000, 18_000), (0, 10_000), (17_000, 25_000), (5_000, 20_000)):
        store.write(bars[low:high])
    assert same_bars(store.read("EURUSD", "1h"), bars)


def test_list_info_and_delete(store, make_bars):
    assert store.datasets() == []
    store.write(make_bars(100, timeframe="1d", symbol="MSFT"))
    store.write(make_bars(50, timeframe="5m", symbol="MSFT"))
    store.write(make_bars(10, symbol="EURUSD"))
    listed = store.datasets()
    assert [(info.symbol, info.timeframe, info.rows) for info in listed] == [
        ("EURUSD", "1h", 10),
        ("MSFT", "5m", 50),
        ("MSFT", "1d", 100),
    ]
    assert listed[0].start == np.datetime64("2017-01-01T00:00")
    assert listed[0].end == np.datetime64("2017-01-01T10:00")
    assert listed[0].bytes > 100
    assert store.info("MSFT", "5m") == listed[1]
    store.delete("MSFT", "5m")
    assert not store.has("MSFT", "5m")
    assert store.has("MSFT", "1d")
    store.delete("MSFT", "1d")
    assert not (store.root / "MSFT").exists()
    with pytest.raises(BadInputError, match="no 1d bars of MSFT .*stored are EURUSD 1h"):
        store.delete("MSFT", "1d")
    with pytest.raises(BadInputError, match=r"no 4h bars of EURUSD .*; `ktrdr data import FILE` adds some$"):
        store.read("EURUSD", "4h")
    for symbol in ("eurusd", "EURUS", "EUR-USD"):
        with pytest.raises(BadInputError, match=rf"no 1h bars of {symbol} .*, did you mean `EURUSD`\?$"):
            store.read(symbol, "1h")


def test_default_store_is_below_home(monkeypatch, tmp_path):
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "here"))
    assert default_store().root == tmp_path / "here" / "data"
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize(
    "symbol",
    [
        "../x", "..", ".", "a/b", "/etc/passwd", "a\\b", "", " ", "EUR USD", "x\0y", "a..b", "x.", "-x", "x" * 33,
        "ＥＵＲＵＳＤ", "EUR\u2044USD", "EUR\u202eDSU", "\u2025/x", "EUR\n", "CON", "nul.x", "~root", "$HOME", "*",
        "a[1]", "EUR/USD", ".lock",
    ],
)  # fmt: skip
def test_symbols_that_are_no_plain_name_are_refused(store, make_bars, symbol, tmp_path):
    with pytest.raises(BadInputError, match="cannot be a symbol"):
        store.write(make_bars(3, symbol=symbol))
    for action in (store.read, store.has, store.delete, store.info):
        with pytest.raises(BadInputError, match="cannot be a symbol"):
            action(symbol, "1h")
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("symbol", ["EURUSD", "BRK.B", "^GSPC", "ES=F", "BTC-USD", "7203.T", "x_y"])
def test_usual_symbols_are_stored(store, make_bars, symbol):
    store.write(make_bars(3, symbol=symbol))
    assert [info.symbol for info in store.datasets()] == [symbol]


def test_unknown_timeframe(store):
    with pytest.raises(BadInputError, match="unknown timeframe `3h`"):
        store.read("EURUSD", "3h")


def test_directory_names_with_pattern_letters(tmp_path, make_bars, same_bars):
    for name in ("a[1]", "b*", "c'd", "e?", "ä ö"):
        store = BarStore(tmp_path / name)
        bars = make_bars(30)
        store.write(bars[:20])
        store.write(bars)
        assert same_bars(store.read("EURUSD", "1h"), bars)


def test_impossible_bars_change_nothing(store, make_bars, tmp_path):
    bars = make_bars(5)
    bars.high[2] = bars.low[2] - 1
    with pytest.raises(BadInputError, match="EURUSD 1h: the bar of 2017-01-01 02:00 has its high"):
        store.write(bars)
    assert list(tmp_path.rglob("*.parquet")) == []
    assert not store.has("EURUSD", "1h")
    assert not (store.root / "EURUSD").exists()


@pytest.mark.parametrize("shift", [30, -30])
@pytest.mark.parametrize("start", ["2017-03-01", "2017-12-31T22:00"])
def test_bars_that_overlap_stored_ones_are_refused(store, make_bars, bars_at, tree, shift, start):
    stored = make_bars(2, start=start)
    store.write(stored)
    before = tree(store.root)
    late = bars_at(stored.time[-1:] + np.timedelta64(60 + shift, "m"))
    if shift > 0:
        late = bars_at(stored.time[-1:] + np.timedelta64(30, "m"))
    with pytest.raises(BadInputError, match="opens before the one of"):
        store.write(late)
    assert tree(store.root) == before


def test_one_bad_data_set_stops_all(store, make_bars, tree):
    good, bad = make_bars(10, symbol="AAA"), make_bars(10, symbol="BBB")
    store.write(make_bars(5, symbol="AAA", seed=5))
    before = tree(store.root)
    bad.low[4] = -1
    with pytest.raises(BadInputError, match="BBB 1h"):
        store.write_all([good, bad])
    assert tree(store.root) == before


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "gone"])
def test_damaged_file_is_named_with_the_remedy(store, make_bars, damage):
    store.write(make_bars(100))
    path = next((store.root / "EURUSD" / "1h").glob("*.parquet"))
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "garbage": b"x" * 5000}[damage])
    with pytest.raises(BadInputError, match="damaged .*`ktrdr data delete EURUSD 1h`"):
        store.read("EURUSD", "1h")


@pytest.mark.parametrize("price", ["'1.5'", "DATE '2020-01-01'", "TIMESTAMP '2020-01-01'", "[1.5]"])
def test_a_column_without_numbers_is_damage(store, make_bars, price):
    store.write(make_bars(100))
    path = next((store.root / "EURUSD" / "1h").glob("*.parquet"))
    with parquet.connect() as connection:
        parquet.copy_to_file(
            connection,
            f"SELECT * REPLACE ({price} AS open) FROM '{path}'",
            path.with_suffix(".new"),
            parquet.PARQUET_COPY,
        )
    path.with_suffix(".new").replace(path)
    with pytest.raises(BadInputError, match=r"damaged .*the column `open` .*`ktrdr data delete EURUSD 1h`"):
        store.read("EURUSD", "1h")


def test_whole_numbers_with_a_null_are_read_as_prices(tmp_path):
    path = tmp_path / "bars.parquet"
    row = "TIMESTAMP_NS '2020-01-01' AS time, 2 AS open, 2 AS high, 1 AS low, 1.5 AS close, 1 AS volume"
    select = f"SELECT {row} UNION ALL SELECT * REPLACE (NULL AS open) FROM (SELECT {row})"
    with parquet.connect() as connection:
        parquet.copy_to_file(connection, select, path, parquet.PARQUET_COPY)
    np.testing.assert_array_equal(parquet.read_parquet([(path, 2)])["open"], [2.0, np.nan])


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"schema_version": 1}',
     '{"schema_version": 1, "symbol": "E", "timeframe": "1h", "files": {}}',
     '{"schema_version": 1, "symbol": "E", "timeframe": "1h", "files": {"2017": {"name": "../../x", "rows": 1, '
     '"first": "2017", "last": "2017", "bytes": 1}}}'],
)  # fmt: skip
def test_damaged_manifest_is_refused(store, make_bars, text):
    store.write(make_bars(10))
    (store.root / "EURUSD" / "1h" / "manifest.json").write_text(text)
    with pytest.raises(BadInputError, match=r"manifest\.json is damaged"):
        store.read("EURUSD", "1h")


def test_manifest_of_a_newer_ktrdr_is_refused(store, make_bars):
    store.write(make_bars(10))
    path = store.root / "EURUSD" / "1h" / "manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(BadInputError, match="schema version 2, this KTRDR reads 1"):
        store.datasets()


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _full_in_duckdb(bars: Bars, path: Path) -> None:
    path.write_bytes(b"PAR1 half a file")
    raise duckdb.IOException(f'IO Error: Could not write file "{path}": No space left on device')


@pytest.mark.parametrize("place", ["parquet", "manifest", "fsync", "replace", "mkdir"])
@pytest.mark.parametrize("fresh", [True, False])
def test_full_disk_changes_nothing(store, make_bars, tree, monkeypatch, place, fresh):
    if not fresh:
        store.write(make_bars(9_000, seed=1))
    before = tree(store.root)
    with monkeypatch.context() as patch:
        if place == "parquet":
            patch.setattr(parquet, "write_parquet", _full_in_duckdb)
        elif place == "manifest":
            patch.setattr(Path, "write_bytes", _full)  # nothing else is written this way
        elif place == "mkdir":
            real_mkdir = Path.mkdir
            patch.setattr(
                Path, "mkdir", lambda path, *a, **k: _full() if path.name == "2h" else real_mkdir(path, *a, **k)
            )
        else:
            patch.setattr(os, place, _full)
        timeframe = "2h" if place == "mkdir" else "1h"
        with pytest.raises(StoreError, match="the disk is full; nothing was changed"):
            store.write(make_bars(9_000, seed=2, timeframe=timeframe))
    assert tree(store.root) == before
    store.write(make_bars(9_000, seed=2))
    assert len(store.read("EURUSD", "1h")) == 9_000


def test_no_permission_is_one_sentence(store, make_bars, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreError, match="cannot write to .*: Permission denied; nothing was changed"):
        store.write(make_bars(3))


def test_leftovers_of_a_dead_writer_are_removed(store, make_bars):
    store.write(make_bars(10))
    directory = store.root / "EURUSD" / "1h"
    for name in ("2017-0123456789abcdef.parquet", f"{UNFINISHED}0123456789abcdef"):
        (directory / name).write_text("half")
    store.write(make_bars(20))
    assert len(list(directory.iterdir())) == 2


# A script and not a function of this module: a child cannot import a test by the name that pytest gives it.
_WRITE_SLICE = """
import sys
from pathlib import Path
import numpy as np
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.timeframe import Timeframe

root, part, parts = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
times = (np.datetime64("2017-12-01", "s") + np.arange(450) * np.timedelta64(3600, "s")).astype("datetime64[ns]")
for begin in range(part * 10, 450, parts * 10):
    chunk = times[begin : begin + 10]
    price = np.full(len(chunk), 100.0 + part)
    BarStore(root).write(Bars("EURUSD", Timeframe("1h"), chunk, price, price, price, price, price))
"""


def test_concurrent_writers_lose_no_rows(store):
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITE_SLICE, str(store.root), str(part), "3"]) for part in range(3)
    ]
    seen = 0
    while any(writer.poll() is None for writer in writers):
        if store.has("EURUSD", "1h"):
            rows = len(store.read("EURUSD", "1h"))  # readers need no lock and never see less than before
            assert rows >= seen
            seen = rows
        sleep(0.01)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    bars = store.read("EURUSD", "1h")
    assert len(bars) == 450
    assert sorted(set(bars.close.tolist())) == [100.0, 101.0, 102.0]


_WRITER = """
import itertools, os, sys
from pathlib import Path
from time import sleep
import numpy as np
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.timeframe import Timeframe

def version(number):
    times = (np.datetime64("2016-01-01", "s") + np.arange(3_000) * np.timedelta64(4, "h")).astype("datetime64[ns]")
    price = np.full(len(times), float(number))
    return Bars("EURUSD", Timeframe("4h"), times, price, price, price, price, price)

store = BarStore(Path(sys.argv[1]))
"""

_WRITE_FOREVER = (
    _WRITER
    + """
store.write(version(1))
print("ready", flush=True)
for number in itertools.count(2):
    store.write(version(number))
"""
)


def _one_whole_version(store: BarStore) -> float:
    bars = store.read("EURUSD", "4h")
    assert len(bars) == 3_000
    values = set(bars.close.tolist())
    assert len(values) == 1, "bars of two writes are mixed"
    return values.pop()


def test_killed_writers_leave_one_whole_version(store):
    generator = np.random.default_rng(3)
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITE_FOREVER, str(store.root)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == "ready\n"
            # A write takes some tens of milliseconds: the kill falls anywhere inside one of the first few.
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=float(generator.uniform(0.0, 0.2)))
            process.kill()
        process.wait()
        _one_whole_version(store)


_DIE_AT_EVERY_CALL = _WRITER + textwrap.dedent("""
    def in_child(work):
        child = os.fork()
        if child == 0:
            work()
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def die_at(count):
        calls = itertools.count()
        for name in ("fsync", "replace", "unlink"):
            real = getattr(os, name)
            def call(*arguments, real=real, **keywords):
                if next(calls) == count:
                    os._exit(9)
                return real(*arguments, **keywords)
            setattr(os, name, call)
        store.write(version(2))

    deaths = 0
    for count in range(1000):
        assert in_child(lambda: store.write(version(1))) == 0
        status = in_child(lambda: die_at(count))
        def look():
            bars = store.read("EURUSD", "4h")
            print(len(bars), *sorted(set(bars.close.tolist())), flush=True)
        assert in_child(look) == 0
        if status == 0:
            break
        assert status == 9
        deaths += 1
    print("deaths", deaths)
    """)


@pytest.mark.slow
def test_death_at_every_step_of_a_write_leaves_old_or_new(store):
    done = subprocess.run(
        [sys.executable, "-c", _DIE_AT_EVERY_CALL, str(store.root)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    *states, last = done.stdout.splitlines()
    assert set(states) == {"3000 1.0", "3000 2.0"}
    # Two years: two files, their directory, a manifest, its replacement, two old files.
    assert int(last.removeprefix("deaths ")) >= 8
    assert states[0] == "3000 1.0"
    assert states[-1] == "3000 2.0"
