"""SIGKILL at random moments, while clients start, cancel, resume and read: on SQLite and on PostgreSQL.

A hypothesis state machine chooses what clients do and when the server dies. After each restart, and at the end: nothing
that was accepted is missing or doubled, and no state is impossible.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from ktrdr.api.routes.strategies import EXAMPLE

SCRIPT = Path(__file__).parent / "kill" / "serve_with_double.py"
LEGAL = {
    # What may follow what, in the events of one operation.
    None: {"queued"},
    "queued": {"running", "cancelled", "failed"},
    "running": {"queued", "completed", "failed", "cancelled"},
    "completed": set(),
    "failed": {"queued"},
    "cancelled": {"queued"},
}


class Killable:
    """The server process, on a ledger that outlives it."""

    def __init__(self, home: Path, url: str, log: Path) -> None:
        # Kept while the server is down, or a client's connection may be given its port. Only who listens is connected.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._place.bind(("127.0.0.1", 0))
        self.port = self._place.getsockname()[1]
        self.api = f"http://127.0.0.1:{self.port}/api/v1"
        self._environment = {**os.environ, "KTRDR_HOME": str(home), "KTRDR_API_DATABASE": url}
        self._log = log.open("ab")
        self._starts = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._starts += 1
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(self.port)],
            env={**self._environment, "SEED": str(self._starts)},
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + 90
        while True:
            assert self.process.poll() is None, Path(self._log.name).read_text()[-3000:]
            assert time.monotonic() < deadline
            with contextlib.suppress(httpx2.TransportError):
                if httpx2.get(f"{self.api}/health/ready", timeout=5).status_code == 200:
                    return
            time.sleep(0.05)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self._place.close()
        self._log.close()


class Clients:
    """What clients were told, to be held against what the ledger says. Safe for their threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.sent: dict[str, dict[str, Any]] = {}
        self.accepted: dict[str, str] = {}
        self.cancelled: set[str] = set()
        self.resumed: set[str] = set()

    def start(self, http: httpx2.Client, key: str) -> None:
        body = {"strategy_text": EXAMPLE, "seed": int(key.partition("-")[2])}
        with self.lock:
            self.sent[key] = body
        answer = http.post("/trainings", json=body, headers={"Idempotency-Key": key})
        assert answer.status_code == 202, answer.text
        with self.lock:
            known = self.accepted.setdefault(key, answer.json()["id"])
        assert known == answer.json()["id"]

    def cancel(self, http: httpx2.Client, operation_id: str) -> None:
        answer = http.post(f"/operations/{operation_id}/cancel")
        assert answer.status_code in (202, 409), answer.text
        if answer.status_code == 202:
            with self.lock:
                self.cancelled.add(operation_id)

    def resume(self, http: httpx2.Client, operation_id: str) -> None:
        # Asked for before it is sent: whether it was done before the server died, nobody knows.
        with self.lock:
            self.resumed.add(operation_id)
        answer = http.post(f"/operations/{operation_id}/resume")
        assert answer.status_code in (202, 409), answer.text


class Chaos(RuleBasedStateMachine):
    """Clients act at once in a few threads; now and then the server dies in the middle of it."""

    server: Killable

    def __init__(self) -> None:
        super().__init__()
        self.clients = Clients()
        self.number = 0

    def _keys(self, count: int) -> list[str]:
        # One ledger for all examples: keys must never be used twice.
        Chaos.used = getattr(Chaos, "used", 0) + count
        return [f"key-{number}" for number in range(Chaos.used - count, Chaos.used)]

    @rule(
        acts=st.lists(st.sampled_from(["start", "again", "cancel", "resume", "read"]), min_size=3, max_size=12),
        die_after=st.one_of(st.none(), st.floats(0, 0.4)),
    )
    def act(self, acts: list[str], die_after: float | None) -> None:
        keys = self._keys(len(acts))
        threads = [
            threading.Thread(target=self._run, args=(acts[part::3], keys[part::3]), daemon=True) for part in range(3)
        ]
        self.faults: list[BaseException] = []
        for thread in threads:
            thread.start()
        if die_after is not None:
            time.sleep(die_after)
            self.server.kill()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        if die_after is not None:
            self.server.start()
        assert self.faults == []
        self._check()

    @precondition(lambda self: self.clients.accepted)
    @rule()
    def send_everything_again(self) -> None:
        """Clients that got no answer ask again with their key."""
        with httpx2.Client(base_url=self.server.api, timeout=30) as http:
            for key in list(self.clients.sent):
                self.clients.start(http, key)
        self._check()

    def _run(self, acts: list[str], keys: list[str]) -> None:
        try:
            with httpx2.Client(base_url=self.server.api, timeout=30) as http:
                for act, key in zip(acts, keys, strict=True):
                    self._do(http, act, key)
        except httpx2.TransportError:
            return  # the server has died: nobody knows what became of the last request
        except BaseException as fault:  # noqa: BLE001 (told to the main thread, which fails)
            self.faults.append(fault)

    def _do(self, http: httpx2.Client, act: str, key: str) -> None:
        with self.clients.lock:
            known = list(self.clients.accepted.items())
        if act == "start" or not known:
            self.clients.start(http, key)
            return
        earlier, operation_id = known[int(key.partition("-")[2]) % len(known)]
        if act == "again":
            self.clients.start(http, earlier)
        elif act == "cancel":
            self.clients.cancel(http, operation_id)
        elif act == "resume":
            self.clients.resume(http, operation_id)
        else:
            assert http.get(f"/operations/{operation_id}").status_code == 200
            assert http.get("/operations?limit=5").status_code == 200

    def _check(self) -> None:
        with httpx2.Client(base_url=self.server.api, timeout=30) as http:
            for key, operation_id in self.clients.accepted.items():
                operation = http.get(f"/operations/{operation_id}").json()
                assert operation["job"]["seed"] == self.clients.sent[key]["seed"]
                if operation_id in self.clients.cancelled - self.clients.resumed:
                    assert operation["cancel_requested"], operation
                _check_history(http, operation)
            assert len(set(self.clients.accepted.values())) == len(self.clients.accepted)

    def teardown(self) -> None:
        """Everything comes to an end, whatever has happened to it."""
        if not self.clients.sent:
            return
        if self.server.process is not None and self.server.process.poll() is not None:
            self.server.start()
        with httpx2.Client(base_url=self.server.api, timeout=30) as http:
            deadline = time.monotonic() + 60
            while http.get("/operations?state=queued&state=running").json()["items"]:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            # Every key has a seed of its own: none was started twice, whether its client heard of it or not.
            seeds = [item["job"]["seed"] for item in _all(http)]
            assert len(seeds) == len(set(seeds))
        self._check()


def _all(http: httpx2.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    parameters: dict[str, Any] = {"limit": 500}
    while True:
        page = http.get("/operations", params=parameters).json()
        found += [http.get(f"/operations/{item['id']}").json() for item in page["items"]]
        if page["next"] is None:
            return found
        parameters["before"] = page["next"]


def _check_history(http: httpx2.Client, operation: dict[str, Any]) -> None:
    """Read its stream as far as it is written, and walk through it."""
    state, attempt = None, 0
    for kind, data in _written(http, operation["id"]):
        if kind not in LEGAL:
            continue
        assert kind in LEGAL[state], (state, kind, operation)
        state = kind
        attempt = data.get("attempt", attempt)
    attempts = [past["attempt"] for past in operation["attempts"]]
    assert attempts == sorted(set(attempts))
    assert all(number <= operation["attempt"] for number in attempts)
    ended = operation["state"] in ("completed", "failed", "cancelled")
    assert (operation["finished_at"] is not None) == ended
    assert (operation["result"] is not None) == (operation["state"] == "completed")
    assert (operation["error"] is not None) == (operation["state"] == "failed")
    if operation["state"] == "completed":
        assert operation["result"]["operation"] == operation["id"]


def _written(http: httpx2.Client, operation_id: str) -> list[tuple[str, dict[str, Any]]]:
    import json

    kinds, current = [], {}
    with http.stream("GET", f"/operations/{operation_id}/events") as answer:
        for line in answer.iter_lines():
            if line:
                field, _, value = line.partition(": ")
                current[field] = value
                continue
            if "event" in current:
                kinds.append((current["event"], json.loads(current["data"])))
            current = {}
            # An operation that has not ended has a stream that has not either: its first event is enough to begin with.
            if kinds and kinds[-1][0] in ("queued", "waiting", "running", "progress"):
                now = http.get(f"/operations/{operation_id}").json()
                if now["state"] not in ("completed", "failed", "cancelled"):
                    break
    return kinds


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_server_that_is_killed_loses_nothing_and_doubles_nothing(kind, new_database, home, tmp_path):
    Chaos.server = Killable(home, new_database(kind), tmp_path / "server.log")
    Chaos.server.start()
    try:
        run_state_machine_as_test(
            Chaos,
            settings=settings(
                # Each is half a minute of a busy server.
                max_examples=settings.default.max_examples // 50 or 1,
                stateful_step_count=6,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )
    finally:
        Chaos.server.close()
