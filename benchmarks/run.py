"""Runs all benchmarks in sequence, each in a separate process.

    python benchmarks/run.py [--quick] [--only NAME,NAME] [--json FILE [--update]]

It needs the five distributions of KTRDR and the peers, which `nox -s bench` installs in one environment. The JSON file
contains all results, the versions of all programs, the machine and the commit. The exit status is 1 if a benchmark
failed; missed limits are listed at the end and are not failures.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tables import figures_of

HERE = Path(__file__).parent
BENCHMARKS = (
    "startup",
    "data",
    "indicators",
    "features",
    "labels",
    "training",
    "rules",
    "inference_networks",
    "inference_trees",
    "populations",
    "sklearn_populations",
    "evaluation",
    "verdict",
    "simulation",
    "backtest",
    "cluster",
    "api_load",
)
OURS = ("ktrdr-core", "ktrdr-ml-torch", "ktrdr-ml-sklearn", "ktrdr-api", "ktrdr-worker")
PEERS = ("TA-Lib", "pandas-ta-classic", "scikit-fuzzy", "vectorbt", "backtesting", "torch", "skorch")
BELOW = ("numpy", "pandas", "duckdb", "numba", "scipy", "distributed", "fastapi", "uvicorn", "sqlalchemy", "click")


def versions() -> dict[str, str]:
    """Return the versions of the measured programs and their dependencies, as far as they are installed."""
    found = {}
    for name in (*OURS, *PEERS, *BELOW):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Return a description of the machine, without its name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "os": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def commit() -> str:
    """Return the commit, with a plus if tracked files differ from it; empty outside a checkout."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True)
    if head.returncode:
        return ""
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "../packages", "."], cwd=HERE)
    return head.stdout.strip() + ("+" if changed.returncode else "")


def now() -> str:
    """Return the present time in UTC, in ISO format."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def one(name: str, quick: bool, quiet: bool) -> dict[str, Any] | None:
    """Run a benchmark; return its results, or None if it failed."""
    date, load = now(), round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory(prefix="ktrdr-bench-") as folder:
        target = Path(folder) / "found.json"
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(target), *(["--quick"] if quick else [])]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "KTRDR_HOME": folder}
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            text=True,
        )
        if done.returncode:
            print(f"{name} FAILED\n{done.stdout or ''}", flush=True)
            return None
        return json.loads(target.read_text(encoding="utf-8")) | {"date": date, "load_before": load}


def main() -> None:
    """Run the benchmarks, and list the missed limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that everything runs, measures nothing")
    parser.add_argument("--only", default=",".join(BENCHMARKS), metavar="NAME,NAME", help="some of them: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--update", action="store_true", help="keep the results of other benchmarks in FILE")
    given = parser.parse_args()
    names: Sequence[str] = given.only.split(",")
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    began = time.perf_counter()
    document: dict[str, Any] = {
        "schema": 1,
        "date": now(),
        "commit": commit(),
        "quick": given.quick,
        "machine": machine(),
        "versions": versions(),
    }
    # With --quick nothing is measured, so they may run in parallel.
    with ThreadPoolExecutor(max_workers=2 if given.quick else 1) as pool:
        found = list(pool.map(lambda name: one(name, given.quick, given.quick), names))
    measured = {each["benchmark"]: each for each in found if each is not None}
    kept = json.loads(given.json.read_text(encoding="utf-8"))["benchmarks"] if given.update and given.json else []
    measured = {each["benchmark"]: each for each in kept if each["benchmark"] not in names} | measured
    document["benchmarks"] = [measured[name] for name in BENCHMARKS if name in measured]
    document["failed"] = [name for name, each in zip(names, found, strict=True) if each is None]
    document["seconds"] = round(sum(each["seconds"] for each in document["benchmarks"]), 1)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for each in document["benchmarks"]:
        print(f"{each['benchmark']}: {each['seconds']:.0f} s, load before {each['load_before']:g}")
        for line in figures_of(each):
            if "MISSED" in line:
                print(f"  missed: {line[0]}: {line[1]}, {line[2]}")
    print(f"{len(names)} benchmarks in {time.perf_counter() - began:.0f} s")
    if document["failed"]:
        sys.exit(f"failed: {', '.join(document['failed'])}")


if __name__ == "__main__":
    main()
