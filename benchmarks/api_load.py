"""Reads of the API under load, over loopback: a ledger of 2,000 operations on SQLite, 50 clients, a server process.

Each client asks as a page or a command does that looks a few times a second: lists, single operations, health, in turn.
Reported: latency percentiles at that pace, and the memory of the server from minute to minute. ``--pace 0`` lets every
client ask again as soon as it is answered, which measures throughput, not latency.

    python benchmarks/api_load.py [--seconds 30] [--clients 50] [--operations 2000] [--pace 0.25]
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
from sqlalchemy import insert
from ulid import ULID

from ktrdr.api.ledger.database import open_database, prepare_database
from ktrdr.api.ledger.tables import EventRow, OperationRow

BUDGET = 0.050


async def fill(url: str, count: int) -> list[str]:
    """Put ``count`` operations into the ledger, in all states, and return their ids."""
    await prepare_database(url)
    database = open_database(url)
    now = dt.datetime.now(dt.UTC)
    job = {"strategy": "name: x\n" + "# a strategy has some two thousand characters\n" * 45, "seed": 1}
    rows, events = [], []
    for number in range(count):
        state = ("queued", "completed", "completed", "failed", "cancelled")[number % 5]
        row = {
            "id": str(ULID()),
            "kind": "training",
            "state": state,
            "attempt": 1,
            "job": job,
            "requires": ["ml-nobody"],
            "waiting_for": "waits for a worker" if state == "queued" else None,
            "cancel_requested": False,
            "progress": {"step": "training", "done": 3, "total": 3, "fraction": 1.0},
            "result": {"model": "x/1", "metrics": {"accuracy": 0.5}} if state == "completed" else None,
            "error": {"type": "x", "message": "y"} if state == "failed" else None,
            "created_at": now,
            "finished_at": None if state == "queued" else now,
        }
        rows.append(row)
        for kind in ("queued", "running", state):
            events.append({"operation_id": row["id"], "at": now, "kind": kind, "data": {"attempt": 1}})
    async with database.writing() as connection:
        await connection.execute(insert(OperationRow), rows)
        await connection.execute(insert(EventRow), events)
    await database.close()
    return [str(row["id"]) for row in rows]


def resident(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def processor_seconds(pid: int) -> float:
    """Return the CPU time a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def ask(
    http: httpx2.AsyncClient, ids: list[str], until: float, pace: float, taken: list[float], number: int
) -> None:
    """Be one client."""
    dice = random.Random(number)
    await asyncio.sleep(dice.random() * pace)
    while time.perf_counter() < until:
        path = dice.choice(
            ["/operations?limit=50", f"/operations/{dice.choice(ids)}", "/operations?state=queued", "/health/ready"]
        )
        start = time.perf_counter()
        answer = await http.get(path)
        taken.append(time.perf_counter() - start)
        assert answer.status_code == 200, answer.text
        await asyncio.sleep(max(0.0, start + pace - time.perf_counter()))


async def measure(base: str, ids: list[str], clients: int, seconds: float, pace: float, pid: int) -> list[float]:
    """Return the seconds each request took."""
    taken: list[float] = []
    # One pool with a connection for each: making a client costs more than its questions.
    limits = httpx2.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx2.AsyncClient(base_url=base, timeout=30, limits=limits) as http:
        until = time.perf_counter() + seconds
        tasks = [asyncio.create_task(ask(http, ids, until, pace, taken, number)) for number in range(clients)]
        last = time.perf_counter()
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0.5)
            if time.perf_counter() - last >= 10:
                last = time.perf_counter()
                print(f"  {len(taken):>8,} reads, server {resident(pid):.1f} MB", flush=True)
        await asyncio.gather(*tasks)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--operations", type=int, default=2000)
    parser.add_argument("--pace", type=float, default=0.25, help="seconds between the questions of one client")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        ids = asyncio.run(fill(f"sqlite:///{home}/ledger.sqlite", given.operations))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, "-m", "ktrdr.core.cli.main", "serve", "--port", str(port)],
            env={**os.environ, "KTRDR_HOME": home, "KTRDR_API_RATE_LIMIT": "0"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        base = f"http://127.0.0.1:{port}/api/v1"
        try:
            while True:
                try:
                    httpx2.get(f"{base}/health", timeout=2)
                    break
                except httpx2.TransportError:
                    assert server.poll() is None, "the server did not start"
                    time.sleep(0.1)
            asyncio.run(measure(base, ids, given.clients, 3, given.pace, server.pid))  # warm
            before, used, own = resident(server.pid), processor_seconds(server.pid), time.process_time()
            start = time.perf_counter()
            taken = sorted(asyncio.run(measure(base, ids, given.clients, given.seconds, given.pace, server.pid)))
            elapsed = time.perf_counter() - start
            after, own = resident(server.pid), time.process_time() - own
            used = processor_seconds(server.pid) - used
        finally:
            server.terminate()
            server.wait(20)
    p50, p95, p99 = (taken[min(int(len(taken) * share), len(taken) - 1)] for share in (0.5, 0.95, 0.99))
    print(
        f"{given.operations:,} operations, {given.clients} clients, {len(taken):,} reads, {len(taken) / elapsed:.0f}/s"
    )
    print(f"p50 {p50 * 1000:.1f} ms, p95 {p95 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms (budget {BUDGET * 1000:.0f} ms)")
    each = f"server {used / len(taken) * 1000:.2f} ms, clients {own / len(taken) * 1000:.2f} ms"
    print(f"CPU per read: {each}")
    print(f"server {before:.1f} MB at the beginning, {after:.1f} MB at the end")
    sys.exit(0 if p99 <= BUDGET or not given.pace else 1)


if __name__ == "__main__":
    main()
