"""One home, one server: a second one is refused, and the operations of the first one go on untouched."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys

import pytest

UVICORN = ["-m", "uvicorn", "ktrdr.api.main:app", "--port"]
KTRDR = ["-m", "ktrdr.core.cli.main"]


@pytest.fixture
def second(cluster):
    """Return a function that runs a second server on the home of the cluster, until it ends."""

    def run(*arguments, **environ):
        return subprocess.run(
            [sys.executable, *arguments],
            env={**cluster.environ, **environ},
            cwd=cluster.home,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_a_second_server_is_refused_while_a_training_runs(cluster, second, strategy_text, tmp_path):
    first = cluster.start_up("--workers", "1", "--require", "torch")
    identifier = cluster.start_training(strategy_text, epochs=100_000)
    before = cluster.wait_until_done(identifier, 5)
    ledger = {"KTRDR_HOME": str(tmp_path / "other"), "KTRDR_API_DATABASE": f"sqlite:///{cluster.home}/ledger.sqlite"}
    for command, more in (
        ([*KTRDR, "up", "--port", "0", "--workers", "1"], {}),
        ([*KTRDR, "up", "--port", str(cluster.api_port)], {}),
        ([*KTRDR, "serve", "--port", "0"], {}),
        ([*KTRDR, "serve", "--port", "0", "--listen-workers", "tcp://127.0.0.1:0"], {}),
        ([*KTRDR, "serve", "--port", "0"], ledger),
        ([*UVICORN, "0"], {}),
        ([*UVICORN, "0", "--workers", "1"], ledger),
    ):
        refused = second(*command, **more)
        who = f"another server: process {first.pid} on {socket.gethostname()}, at http://127.0.0.1:{cluster.api_port};"
        assert who in refused.stderr, (command, refused.stderr)
        assert "Traceback" not in refused.stderr
        if command[:2] == KTRDR:
            assert refused.returncode == 2
            assert refused.stderr.startswith("Error: ")
    operation = cluster.wait_until_done(identifier, before["progress"]["done"] + 5)
    untouched = ("state", "attempt", "worker", "started_at", "attempts")
    assert {name: operation[name] for name in untouched} == {name: before[name] for name in untouched}
    assert cluster.request("POST", f"/operations/{identifier}/cancel")[0] == 202
    assert cluster.wait_for(identifier, "cancelled")["attempt"] == 1


def test_after_a_kill_the_next_server_begins_at_once(cluster, kill_process, strategy_text):
    """A dead predecessor refuses nobody, whatever it left behind."""
    killed = cluster.start_up("--workers", "1", "--require", "torch")
    identifier = cluster.start_training(strategy_text)
    cluster.wait_until_done(identifier, 2)
    kill_process(killed)
    assert json.loads((cluster.home / "server.lock.json").read_text())["pid"] == killed.pid
    cluster.start_up("--workers", "1", "--require", "torch")
    assert cluster.wait_for(identifier, "completed")["attempt"] == 2


def test_of_several_that_start_together_one_is_left(cluster, wait):
    together = [
        subprocess.Popen(
            [sys.executable, *KTRDR, "serve", "--port", "0"],
            env=cluster.environ,
            cwd=cluster.home,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        wait(lambda: sum(each.poll() is not None for each in together) == 3, "three of them have ended")
        (left,) = (each for each in together if each.poll() is None)
        wait(lambda: json.loads((cluster.home / "server.lock.json").read_text())["url"], "the one that is left answers")
        assert json.loads((cluster.home / "server.lock.json").read_text())["pid"] == left.pid
        for each in together:
            if each is not left:
                assert each.returncode == 2
                assert re.match(r"Error: the home .* is in use by another server", each.stderr.read())
    finally:
        for each in together:
            if each.poll() is None:
                each.send_signal(signal.SIGINT)
            each.wait(60)
            each.stderr.close()
