"""A cluster on this machine: how soon an operation starts, and how many backtests two workers do beside one.

    python benchmarks/cluster.py [--starts 20] [--backtests 1000]

First `ktrdr up` with one idle worker: milliseconds from sending a POST to the event that says a worker has begun, as a
client of the API sees them (goal: 150). Then a sweep of as many backtests of a year of hourly EURUSD, 6,225 bars and
some hundred trades each, on one worker and on two: seconds, the speed-up (goal: 1.8), and the share of the workers'
time that was spent in the backtests themselves (goal: 85%), with and without what each worker does once: load the
model's framework, model and bars, and predict.

It wants an idle machine with two cores for the workers and one for the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from importlib.resources import files
from pathlib import Path

COMMAND = [sys.executable, "-m", "ktrdr.core.cli.main"]
GOAL_MS, GOAL_SPEED_UP, GOAL_SHARE = 150.0, 1.8, 0.85


def prepare(home: Path) -> None:
    """Store the sample, and train its strategy for a moment."""
    from ktrdr.core.data.sample import install_sample
    from ktrdr.core.data.store import BarStore

    install_sample(BarStore(home / "data"))
    strategy = home / "strategy.yaml"
    strategy.write_bytes(files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml").read_bytes())
    subprocess.run([*COMMAND, "train", str(strategy), "--epochs", "3", "--json"], check=True, stdout=subprocess.DEVNULL)


class Started:
    """Listens to the events of the API, and knows when each operation began."""

    def __init__(self, base: str) -> None:
        self.moments: dict[str, float] = {}
        self.ended: set[str] = set()
        self._changed = threading.Condition()
        self._stream = urllib.request.urlopen(f"{base}/events", timeout=600)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        kind = ""
        for raw in self._stream:
            line, now = raw.decode().rstrip(), time.perf_counter()
            if line.startswith("event:"):
                kind = line.partition(":")[2].strip()
            elif line.startswith("data:"):
                identifier = json.loads(line.partition(":")[2])["operation_id"]
                with self._changed:
                    if kind == "running":
                        self.moments[identifier] = now
                    elif kind in ("completed", "failed"):
                        self.ended.add(identifier)
                    self._changed.notify_all()

    def wait(self, identifier: str) -> float:
        """Return when the operation began, once it has ended."""
        with self._changed:
            if not self._changed.wait_for(lambda: identifier in self.ended, 300):
                raise TimeoutError(f"operation {identifier} has not ended")
            return self.moments[identifier]


def post(base: str, path: str, body: object) -> dict[str, object]:
    request = urllib.request.Request(
        base + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def get(base: str, path: str) -> object:
    try:
        with urllib.request.urlopen(base + path, timeout=60) as answer:
            return json.load(answer)
    except OSError:
        return None


def measure_starts(count: int, port: int) -> list[float]:
    """Return milliseconds from POST to start event, of ``count`` operations one after another."""
    base = f"http://127.0.0.1:{port}/api/v1"
    command = [*COMMAND, "up", "--port", str(port), "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not get(base, "/workers"):
            time.sleep(0.2)
        started, found = Started(base), []
        for _ in range(count + 1):
            time.sleep(0.5)
            sent = time.perf_counter()
            operation = str(post(base, "/backtests", {"model": "neuro_mean_reversion"})["id"])
            found.append(1000 * (started.wait(operation) - sent))
        return found[1:]  # the first one loads what the others find loaded
    finally:
        process.terminate()
        process.wait(60)


async def measure_sweeps(backtests: int) -> list[tuple[float, float, float]]:
    """Return seconds, seconds in backtests and seconds of preparing of a sweep on one worker and on two."""
    from ktrdr.core.operations.cluster import configure

    configure()
    from distributed import Client, Scheduler

    from ktrdr.api.engine.fan_out import FanOut
    from ktrdr.api.engine.port import Attempt

    columns = 25
    job = {
        "model": "neuro_mean_reversion/1",
        "settings": {
            "decisions.confidence_threshold": [0.34 + 0.001 * row for row in range(-(-backtests // columns))],
            "risk.stop_loss.atr": [1 + 0.2 * column for column in range(columns)],
        },
        "start": "2017-01-01",
    }

    async def quiet(progress: object) -> None:
        pass

    found, workers = [], []
    async with (
        Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0") as scheduler,
        Client(scheduler.address, asynchronous=True, set_as_default=False) as client,
    ):
        try:
            for count in (1, 2):
                command = [*COMMAND, "worker", scheduler.address]
                workers.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
                while len(scheduler.workers) < count:
                    await asyncio.sleep(0.1)
                await asyncio.sleep(2)
                fan = FanOut(client, Attempt("B", count), job, ["backtest", "ml-torch"], lambda n=count: n, quiet)
                began = time.perf_counter()
                ending = await fan.run()
                elapsed = time.perf_counter() - began
                if ending["event"] != "completed":
                    raise SystemExit(f"the sweep failed: {ending}")
                found.append((elapsed, fan.seconds, fan.preparing))
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                while worker.poll() is None:
                    await asyncio.sleep(0.1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--backtests", type=int, default=1000)
    parser.add_argument("--port", type=int, default=18_733)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}" + ("; NOT idle: the figures say little" if load > 0.5 else ""))
    with tempfile.TemporaryDirectory(prefix="ktrdr-") as folder:
        os.environ["KTRDR_HOME"] = folder
        prepare(Path(folder))
        starts = measure_starts(options.starts, options.port)
        worst = sorted(starts)[round(0.95 * (len(starts) - 1))]
        print(
            f"POST to start event: median {statistics.median(starts):.0f} ms, 95% below {worst:.0f} ms, of"
            f" {len(starts)} (goal {GOAL_MS:.0f})"
        )
        sweeps = asyncio.run(measure_sweeps(options.backtests))
    total = -(-options.backtests // 25) * 25
    for count, (elapsed, inside, preparing) in enumerate(sweeps, start=1):
        print(
            f"{total:,} backtests on {count} worker{'s' if count > 1 else ''}: {elapsed:.1f} s,"
            f" {1000 * inside / total:.1f} ms each; {inside / (elapsed * count):.0%} of the time in the backtests,"
            f" {inside / (elapsed * count - preparing):.0%} without {preparing / count:.1f} s of preparing"
            f" (goal {GOAL_SHARE:.0%})"
        )
    (one, _, first), (two, _, both) = sweeps
    print(
        f"two workers beside one: {one / two:.2f} times the speed, {(one - first) / (two - both / 2):.2f} without"
        f" preparing (goal {GOAL_SPEED_UP})"
    )


if __name__ == "__main__":
    main()
