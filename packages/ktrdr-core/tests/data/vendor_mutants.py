"""Damages good files and imports them: `python vendor_mutants.py FOLDER FIRST COUNT` prints the outcomes as JSON.

It runs in a process of its own, so that its memory can be measured and a crash is a result like others.
"""

from __future__ import annotations

import collections
import gzip
import io
import json
import random
import resource
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.consistency import check_bars
from ktrdr.core.data.exporter import export_bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.data.vendor.importer import import_file
from ktrdr.core.errors import BadInputError

__all__ = ["run"]

_LENGTH = 60
_JUNK = (
    "", " ", "-", "nan", "inf", "-1", "0", "1e999", "99999999999999999999999999", "abc", "2017-02-30 00:00", "1.2.3",
    "1,2,3", "١٢٣", "\u2028", "=1+1", "'", "$", "1.5M", "0x10", "12:00", "TRUE", "1_000", "9" * 400,
)  # fmt: skip
_NAMES = ("open", "high", "low", "close", "volume")


def _bars() -> Bars:
    generator = np.random.default_rng(7)
    open_ = np.round(1000 + generator.normal(0, 40, _LENGTH), 2)
    close = np.round(1000 + generator.normal(0, 40, _LENGTH), 2)
    high = np.round(np.maximum(open_, close) + generator.random(_LENGTH), 2)
    low = np.round(np.minimum(open_, close) - generator.random(_LENGTH), 2)
    volume = generator.integers(1, 90_000, _LENGTH).astype(np.float64)
    time = np.datetime64("2017-01-20", "ns") + np.arange(_LENGTH) * np.timedelta64(1, "h")
    return Bars("BTCUSD", Timeframe("1h"), time, open_, high, low, close, volume)


def _lines(bars: Bars, separator: str, form: str, decimal: str = ".") -> list[str]:
    rows = []
    for i, time in enumerate(bars.time.astype("datetime64[s]").tolist()):
        numbers = [f"{getattr(bars, name)[i]:.2f}".replace(".", decimal) for name in _NAMES[:4]]
        rows.append(separator.join([time.strftime(form), *numbers, f"{bars.volume[i]:.0f}"]))
    return rows


def _good_files(folder: Path, bars: Bars) -> dict[str, tuple[bytes, bool]]:
    """Return name, content, and whether it is text, of files that hold ``bars``."""
    plain = "\n".join(["time,open,high,low,close,volume", *_lines(bars, ",", "%Y-%m-%d %H:%M:%S")]) + "\n"
    comma = "\r\n".join(["Date;Open;High;Low;Close;Volume", *_lines(bars, ";", "%d.%m.%Y %H:%M", ",")])
    quoted = "\n".join(
        ['"Time","Open","High","Low","Close","Volume"']
        + [",".join(f'"{cell}"' for cell in line.split(",")) for line in _lines(bars, ",", "%m/%d/%Y %I:%M %p")]
    )
    symbols = "symbol," + plain.replace("\n2017", "\nBTCUSD,2017")
    bare = "\n".join(_lines(bars, ",", "%s"))
    tabs = "\n".join(
        ["<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<VOL>", *_lines(bars, "\t", "%Y.%m.%d\t%H:%M:%S")]
    )
    parquet = folder / "good.parquet"
    if not parquet.exists():
        export_bars(bars, parquet)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bars.csv", plain)
    return {
        "plain": (plain.encode(), True),
        "comma": (comma.encode(), True),
        "quoted": (quoted.encode(), True),
        "symbols": (symbols.encode(), True),
        "bare": (bare.encode(), True),
        "utf16": (tabs.encode("utf-16"), False),
        "gzip": (gzip.compress(plain.encode(), mtime=0), False),
        "zip": (archive.getvalue(), False),
        "parquet": (parquet.read_bytes(), False),
    }


def _cut(data: bytes, random_: random.Random) -> bytes:
    return data[: random_.randrange(len(data))]


def _behead(data: bytes, random_: random.Random) -> bytes:
    return data[random_.randrange(len(data)) :]


def _flip(data: bytes, random_: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random_.choice((1, 1, 3, 30))):
        changed[random_.randrange(len(changed))] = random_.randrange(256)
    return bytes(changed)


def _noise(data: bytes, random_: random.Random) -> bytes:
    at = random_.randrange(len(data))
    return data[:at] + random_.randbytes(random_.choice((1, 4, 200))) + data[at:]


def _doubled_piece(data: bytes, random_: random.Random) -> bytes:
    begin, end = sorted(random_.randrange(len(data)) for _ in range(2))
    return data[:end] + data[begin:end] + data[end:]


def _hole(data: bytes, random_: random.Random) -> bytes:
    begin, end = sorted(random_.randrange(len(data)) for _ in range(2))
    return data[:begin] + data[end:]


def _on_lines(change: Callable[[list[bytes], random.Random], None]) -> Callable[[bytes, random.Random], bytes]:
    def mutate(data: bytes, random_: random.Random) -> bytes:
        lines = data.split(b"\n")
        change(lines, random_)
        return b"\n".join(lines)

    return mutate


def _on_cells(change: Callable[[list[bytes], random.Random], None]) -> Callable[[bytes, random.Random], bytes]:
    def mutate(data: bytes, random_: random.Random) -> bytes:
        lines = data.split(b"\n")
        separator = b";" if b";" in lines[0] else b","
        for _ in range(random_.choice((1, 1, 5))):
            at = random_.randrange(len(lines))
            cells = lines[at].split(separator)
            change(cells, random_)
            lines[at] = separator.join(cells)
        return b"\n".join(lines)

    return mutate


def _drop(items: list[bytes], random_: random.Random) -> None:
    del items[random_.randrange(len(items))]


def _double(items: list[bytes], random_: random.Random) -> None:
    at = random_.randrange(len(items))
    items.insert(at, items[at])


def _swap(items: list[bytes], random_: random.Random) -> None:
    a, b = (random_.randrange(len(items)) for _ in range(2))
    items[a], items[b] = items[b], items[a]


def _blank(items: list[bytes], random_: random.Random) -> None:
    items.insert(random_.randrange(1, len(items) + 1), random_.choice((b"", b"\r", b"  ")))


def _cut_lines(items: list[bytes], random_: random.Random) -> None:
    del items[random_.randrange(1, len(items)) :]


def _junk(items: list[bytes], random_: random.Random) -> None:
    items[random_.randrange(len(items))] = random_.choice(_JUNK).encode()


def _quote(items: list[bytes], random_: random.Random) -> None:
    at = random_.randrange(len(items))
    cell = items[at]
    inside = random_.randrange(len(cell) + 1)
    items[at] = random_.choice(
        (b'"' + cell, cell + b'"', b'""' + cell, cell[:inside] + b'"' + cell[inside:], b"'" + cell)
    )


def _joined(items: list[bytes], random_: random.Random) -> None:
    at = random_.randrange(len(items) - 1)
    items[at : at + 2] = [items[at] + items[at + 1]]


def _long(items: list[bytes], random_: random.Random) -> None:
    items.insert(
        random_.randrange(len(items)), random_.choice((b"9", b",", b'"', b"x")) * random_.choice((300, 300_000))
    )


def _shuffled(items: list[bytes], random_: random.Random) -> None:
    rest = items[1:]
    random_.shuffle(rest)
    items[1:] = rest


_BYTES = (_cut, _behead, _flip, _noise, _doubled_piece, _hole)
# These leave every cell as it is, so that what is stored has to be rows of the good file.
_KEEPING = tuple(_on_lines(change) for change in (_drop, _double, _swap, _blank, _cut_lines, _shuffled))
_OTHER = (
    *(_on_lines(change) for change in (_joined, _long)),
    *(_on_cells(change) for change in (_drop, _double, _swap, _junk, _quote)),
)


def _mutant(data: bytes, text: bool, random_: random.Random) -> tuple[bytes, bool]:
    """Return a damaged file, and whether its cells are those of the good one."""
    if not text:
        return random_.choice(_BYTES)(data, random_), False
    change = random_.choice((*_KEEPING, *_OTHER, *_BYTES))
    damaged = change(data, random_)
    if random_.random() < 0.2:
        return random_.choice(_OTHER)(damaged, random_), False
    return damaged, change in _KEEPING


def _tree(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file() and path.name != ".lock"}


def _rows(bars: Bars) -> set[tuple[float, ...]]:
    columns = (bars.time.astype(np.int64), *(getattr(bars, name) for name in _NAMES))
    return {tuple(float(value) for value in row) for row in zip(*columns, strict=True)}


def run(folder: Path, first: int, count: int) -> dict[str, object]:
    """Import the mutants of ``count`` seeds, and return how many came in or were refused, and what went wrong."""
    bars = _bars()
    good = _good_files(folder, bars)
    store = BarStore(folder / "data")
    store.write(bars[:3])
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    tempfile.tempdir = str(scratch)
    empty = _tree(store.root)
    counts: collections.Counter[str] = collections.Counter()
    faults: list[str] = []
    for seed in range(first, first + count):
        random_ = random.Random(seed)
        name = random_.choice(sorted(good))
        data, kept = _mutant(*good[name], random_)
        path = folder / "mutant.csv"
        path.write_bytes(data)
        skip_bad = random_.random() < 0.3
        shown = f"seed {seed}, {name}{', skip_bad' if skip_bad else ''}"
        try:
            (done,) = import_file(path, store, symbol="BTCUSD", calendar="24/7", skip_bad=skip_bad).writes
        except BadInputError as error:
            counts["refused"] += 1
            if "\n" in str(error) or len(str(error)) > 1500:
                faults.append(f"{shown}: a message of {len(str(error))} letters or several lines: {str(error)[:200]!r}")
            if _tree(store.root) != empty:
                faults.append(f"{shown}: refused, and the store was changed: {error}")
        except Exception:  # noqa: BLE001 - every other exception is what is looked for
            faults.append(f"{shown}: {traceback.format_exc()[-1500:]}")
        else:
            counts["imported"] += 1
            stored = store.read(done.symbol, done.timeframe)
            check_bars(stored)
            if kept and done.timeframe == "1h" and not _rows(stored) <= _rows(bars):
                faults.append(f"{shown}: stored bars that are not in the file")
            store.delete(done.symbol, done.timeframe)
            store.write(bars[:3])
            empty = _tree(store.root)
        left = [entry.name for entry in scratch.iterdir()]
        if left:
            faults.append(f"{shown}: left behind {left}")
    return {"counts": dict(counts), "faults": faults, "peak_mb": _peak_mb()}


def _peak_mb() -> int:
    """Return the most memory that this process has held, in MiB.

    What getrusage tells on Linux includes what the process that started this one held when it did.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 2**10


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
