"""A cluster on this machine: the time until an operation starts, and the speed of two workers against one.

    python benchmarks/cluster.py [--quick] [--only TEXT] [--json FILE]

A sweep runs backtests of a year of hourly EURUSD, with 6,225 bars and about a hundred trades each. Every run has its
own scheduler and workers, which are started before the measurement. CPU time is that of the workers. The share of the
workers' time in the backtests is given with and without the work that each worker does once: loading the framework, the
model and the bars, and predicting. Starts are measured with `ktrdr up` and one idle worker, from the POST of a client
to the event that a worker has started.

It needs an idle machine with two cores for the workers and one for the rest.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Sequence
from functools import partial
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from harness import Contest, Figure, Taken, files, find, main

COMMAND = [sys.executable, "-m", "ktrdr.core.cli.main"]
SWEEP, COLUMNS = "sweep", 25
MS, SPEED_UP, SHARE = 150.0, 1.8, 0.85
# (workers, backtests) -> share of the workers' time in backtests, that without preparing, and seconds without preparing
shares: dict[tuple[int, int], list[tuple[float, float, float]]] = {}


def home() -> Path:
    """Return the directory of the sample and a briefly trained model; create it if it does not exist."""
    folder = files() / "cluster"
    os.environ["KTRDR_HOME"] = str(folder)
    if not folder.exists():
        from ktrdr.core.data.bar_store import BarStore
        from ktrdr.core.data.sample import install_sample

        install_sample(BarStore(folder / "data"))
        strategy = folder / "strategy.yaml"
        strategy.write_bytes(resources("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml").read_bytes())
        command = [*COMMAND, "train", str(strategy), "--epochs", "3", "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def processor_seconds(worker: subprocess.Popen[bytes]) -> float:
    """Return the CPU seconds that a process and its children have used so far."""
    import psutil

    head = psutil.Process(worker.pid)
    times = [each.cpu_times() for each in (head, *head.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def prepared(backtests: int) -> int:
    """Create sample and model, if they do not exist."""
    home()
    return backtests


def sweep(workers: int, backtests: int) -> Taken:
    """Run a sweep on a number of workers."""
    return asyncio.run(_sweep(workers, backtests))


async def _sweep(count: int, backtests: int) -> Taken:
    from ktrdr.core.cluster.dask_settings import configure

    configure()
    from distributed import Client, Scheduler

    from ktrdr.api.engine.fan_out import FanOut
    from ktrdr.api.engine.port import Attempt
    from ktrdr.core.trials.look import Look
    from ktrdr.core.trials.trial_count import TrialCount
    from ktrdr.core.workflows.places import trials_in

    job = {
        "model": "neuro_mean_reversion/1",
        "settings": {
            "decisions.confidence_threshold": [0.34 + 0.001 * row for row in range(backtests // COLUMNS)],
            "risk.stop_loss.atr": [1 + 0.2 * column for column in range(COLUMNS)],
        },
        "start": "2017-01-01",
    }

    async def quiet(progress: object) -> None:
        pass

    ledger = trials_in(None)

    async def judge(looks: Sequence[Look], model: str) -> TrialCount:
        return await asyncio.to_thread(ledger.judge, looks, model=model)

    async with (
        Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0") as scheduler,
        Client(scheduler.address, asynchronous=True, set_as_default=False) as client,
    ):
        command = [*COMMAND, "worker", scheduler.address]
        workers = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(count)]
        try:
            while len(scheduler.workers) < count:
                await asyncio.sleep(0.1)
            await asyncio.sleep(2)
            used = sum(processor_seconds(worker) for worker in workers)
            fan = FanOut(client, Attempt("B", 1), job, ["backtest", "ml-torch"], lambda: count, quiet, judge)
            began = time.perf_counter()
            ending = await fan.run()
            elapsed = time.perf_counter() - began
            used = sum(processor_seconds(worker) for worker in workers) - used
            if ending["event"] != "completed":
                raise SystemExit(f"the sweep failed: {ending}")
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                while worker.poll() is None:
                    await asyncio.sleep(0.1)
    whole = elapsed * count
    working = whole - fan.preparing
    shares.setdefault((count, backtests), []).append((fan.seconds / whole, fan.seconds / working, working / count))
    return Taken(elapsed, used)


class Started:
    """Listens to the events of the API, and records when each operation started."""

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
        """Wait for the end of an operation; return when it started."""
        with self._changed:
            if not self._changed.wait_for(lambda: identifier in self.ended, 300):
                raise TimeoutError(f"operation {identifier} has not ended")
            return self.moments[identifier]


def post(base: str, path: str, body: object) -> dict[str, object]:
    """Send ``body`` as JSON; return the response."""
    request = urllib.request.Request(
        base + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def get(base: str, path: str) -> object:
    """Return a JSON response, ``None`` while the server does not answer."""
    try:
        with urllib.request.urlopen(base + path, timeout=60) as answer:
            return json.load(answer)
    except OSError:
        return None


def starts(count: int) -> list[float]:
    """Return milliseconds from POST to start event, for ``count`` operations in sequence."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    base = f"http://127.0.0.1:{port}/api/v1"
    command = [*COMMAND, "up", "--port", str(port), "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not get(base, "/workers"):
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
            time.sleep(0.2)
        started, found = Started(base), []
        for _ in range(count + 1):
            time.sleep(0.5)
            sent = time.perf_counter()
            operation = str(post(base, "/backtests", {"model": "neuro_mean_reversion"})["id"])
            found.append(1000 * (started.wait(operation) - sent))
        return found[1:]  # the first one also loads modules
    finally:
        process.terminate()
        process.wait(60)


def contests(quick: bool) -> list[Contest]:
    """Return the contest: sweeps on two workers and on one."""
    programs = {"two workers": partial(sweep, 2), "one worker": partial(sweep, 1)}
    sizes, rounds = ((COLUMNS,), 1) if quick else ((100, 300, 1_000), 2)
    few = dict.fromkeys(programs, rounds)
    return [Contest(SWEEP, programs, prepared, sizes, "backtests", rounds=rounds, few=few, clock="wall", warm=False)]


def figures(rows: list[dict[str, Any]], quick: bool) -> Iterable[Figure]:
    """Yield starts, speed-up and shares with their limits."""
    if quick:
        return
    row = find(rows, SWEEP, "one worker")
    size = row["size"]
    yield Figure(f"two workers beside one, {size:,} backtests", row["ratio_wall"]["median"], "times", at_least=SPEED_UP)
    seconds = {}
    for workers in (1, 2):
        whole, working, seconds[workers] = (
            statistics.median(column) for column in zip(*shares[workers, size], strict=True)
        )
        name = f"time of {workers} worker{'s' if workers > 1 else ''} in the backtests, {size:,} of them"
        yield Figure(name, 100 * whole, "%", at_least=100 * SHARE)
        yield Figure(f"{name}, without preparing", 100 * working, "%")
    yield Figure(f"two workers beside one, {size:,} backtests, without preparing", seconds[1] / seconds[2], "times")
    home()
    taken = sorted(starts(20))
    of = f"{len(taken)} operations on an idle cluster"
    yield Figure("POST to start event, median", statistics.median(taken), "ms", at_most=MS, of=of)
    yield Figure("POST to start event, 95 % below", taken[round(0.95 * (len(taken) - 1))], "ms", of=of)


if __name__ == "__main__":
    main(__file__, __doc__, contests, figures)
