"""Import, list and read back 5 million one-minute bars, each step in a process of its own, and print its peak memory.

    python benchmarks/data_memory.py [BARS]

The bound is 1.5 GB (1,536 MiB) of resident memory for each step.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BOUND_MIB = 1536
STEPS = ("make", "import", "import again", "list", "read", "check", "resample")


def make(path: Path, rows: int) -> None:
    """Write a random walk as a vendor's CSV, in pieces."""
    import numpy as np

    generator = np.random.default_rng(7)
    start = np.datetime64("2010-01-01T00:00", "m")
    close = 30000.0
    with path.open("w", encoding="ascii") as file:
        file.write("timestamp,open,high,low,close,volume\n")
        for begin in range(0, rows, 250_000):
            count = min(250_000, rows - begin)
            closes = close * np.exp(np.cumsum(generator.normal(0, 2e-4, count)))
            opens = np.concatenate(([close], closes[:-1]))
            high = np.maximum(opens, closes) * 1.0001
            low = np.minimum(opens, closes) * 0.9999
            volume = generator.integers(1, 1000, count)
            times = (start + np.arange(begin, begin + count)).astype("datetime64[s]")
            close = float(closes[-1])
            file.writelines(
                f"{t},{o:.5f},{h:.5f},{lo:.5f},{c:.5f},{v}\n"
                for t, o, h, lo, c, v in zip(times, opens, high, low, closes, volume, strict=True)
            )


def run(step: str, directory: Path, rows: int) -> None:
    """Do one step and print what it took as JSON."""
    from ktrdr.core.data.importer import import_file
    from ktrdr.core.data.loading import load_bars
    from ktrdr.core.data.store import BarStore
    from ktrdr.core.data.validation import validate_bars

    file, store = directory / "bars.csv", BarStore(directory / "data")
    began = time.perf_counter()
    found = rows
    if step == "make":
        make(file, rows)
    elif step.startswith("import"):
        found = import_file(file, store, symbol="BTCUSDT").writes[0].rows
    elif step == "list":
        found = store.datasets()[0].rows
    elif step == "read":
        found = len(store.read("BTCUSDT", "1m"))
    elif step == "check":
        found = validate_bars(store.read("BTCUSDT", "1m")).rows
    elif step == "resample":
        found = len(load_bars(store, "BTCUSDT", "1h")) * 60
    seconds = time.perf_counter() - began
    if rows - found >= 60:
        raise SystemExit(f"{step}: {found} rows, not {rows}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"step": step, "seconds": round(seconds, 2), "peak_mib": round(peak)}))


def main() -> None:
    """Run all steps one after the other."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    if len(sys.argv) > 3:
        run(sys.argv[2], Path(sys.argv[3]), rows)
        return
    worst = 0
    with tempfile.TemporaryDirectory(prefix="ktrdr-memory-") as folder:
        for step in STEPS:
            command = [sys.executable, __file__, str(rows), step, folder]
            line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            print(line, flush=True)
            result = json.loads(line)
            if step != "make":
                worst = max(worst, result["peak_mib"])
    print(f"{rows:,} bars: worst peak {worst} MiB, bound {BOUND_MIB} MiB: {'ok' if worst <= BOUND_MIB else 'TOO MUCH'}")
    sys.exit(worst > BOUND_MIB)


if __name__ == "__main__":
    main()
