"""`ktrdr up` where no ML backend is installed: it runs backtests of models that were trained elsewhere."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from importlib.resources import files
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ENDED = ("completed", "failed", "cancelled")


@pytest.fixture(scope="module")
def up(make_environment, tmp_path_factory):
    """A running `ktrdr up` with one worker; the URL of its API."""
    environment = make_environment("ktrdr-core", "ktrdr-api", "ktrdr-worker")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    log = home / "up.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [environment.python, "-I", "-m", "ktrdr.core.cli.main", "up", "--workers", "1", "--port", str(port)],
            env={"KTRDR_HOME": str(home), "HOME": str(home), "PATH": os.environ["PATH"]},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 120
        while "1 worker joined" not in (said := log.read_text()):
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        process.terminate()
        process.wait(timeout=60)


def ask(method, address, body=None):
    """Return status and content of an answer; a map is sent as JSON, bytes as they are."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    kind = "application/json" if isinstance(body, dict) else "application/octet-stream"
    request = urllib.request.Request(address, data=data, method=method, headers={"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.fixture(scope="module")
def stocked(up, trained_elsewhere):
    """The server with the bars of the sample and the models that were trained elsewhere."""
    bars = files("ktrdr.core.samples").joinpath("EURUSD_1h_2017.csv.gz").read_bytes()
    assert ask("POST", f"{up}/data?filename=EURUSD_1h_2017.csv.gz", bars)[0] == 201
    for name in ("network", "trees"):
        status, model = ask("POST", f"{up}/models", (trained_elsewhere / f"{name}.zip").read_bytes())
        assert status == 201, model
    return up


def ended(server, operation):
    deadline = time.monotonic() + 120
    while (now := ask("GET", f"{server}/operations/{operation['id']}")[1])["state"] not in ENDED:
        assert time.monotonic() < deadline, now
        time.sleep(0.1)
    assert now["state"] == "completed", now
    return now


def test_the_worker_offers_backtests_and_is_healthy(up):
    (worker,) = ask("GET", f"{up}/workers")[1]
    assert worker["capabilities"] == ["backtest"]
    with urllib.request.urlopen(f"{worker['facts']['http']}/health", timeout=30) as answer:
        assert answer.read() == b"ok"
    assert ask("GET", f"{up}/health/ready")[1]["engine"] == "connected"
    assert ask("GET", f"{up}/plugins")[1] == []


@pytest.mark.parametrize("model", ["network", "trees"])
def test_models_of_absent_frameworks_are_backtested_and_swept(stocked, trained_elsewhere, model):
    status, backtest = ask("POST", f"{stocked}/backtests", {"model": model})
    assert (status, backtest["requires"]) == (202, ["backtest"])
    assert ended(stocked, backtest)["result"]["provenance"]["inference"] == "portable"
    trades = ask("GET", f"{stocked}/backtests/{backtest['id']}/trades")[1]
    with_framework = json.loads((trained_elsewhere / f"{model}.json").read_text(encoding="utf-8"))
    assert trades["total"] == len(with_framework["data"])
    with urllib.request.urlopen(f"{stocked}/backtests/{backtest['id']}/report", timeout=60) as report:
        assert report.read(15).lower() == b"<!doctype html>"

    settings = {"decisions.confidence_threshold": [0.5, 0.52, 0.54]}
    status, sweep = ask("POST", f"{stocked}/sweeps", {"model": model, "settings": settings})
    assert (status, sweep["requires"]) == (202, ["backtest"])
    assert len(ended(stocked, sweep)["result"]["rows"]) == 3


def test_what_needs_a_framework_waits_and_names_what_to_install(stocked):
    text = Path(__file__).parents[2].joinpath("strategies/neuro_mean_reversion.yaml").read_text(encoding="utf-8")
    for path, body, distribution in (
        ("trainings", {"strategy_text": text}, "ktrdr-ml-torch"),
        ("backtests", {"model": "trees", "inference": "native"}, "ktrdr-ml-sklearn"),
    ):
        status, operation = ask("POST", f"{stocked}/{path}", body)
        assert (status, operation["state"]) == (202, "queued")
        assert operation["waiting_for"].endswith(f", after `pip install {distribution}`")
        assert ask("POST", f"{stocked}/operations/{operation['id']}/cancel")[0] in (200, 202)


def test_a_twin_on_a_gpu_is_refused(stocked):
    status, problem = ask(
        "POST", f"{stocked}/backtests", {"model": "network", "inference": "portable", "device": "cuda"}
    )
    assert (status, problem["type"]) == (422, "urn:ktrdr:problem:bad-input")
    assert "predicts on the CPU, not on `cuda`" in problem["detail"]
