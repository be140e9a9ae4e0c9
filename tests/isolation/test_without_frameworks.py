"""The API where no ML framework is installed."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request

import pytest

FRAMEWORKS = {"torch", "tensorflow", "jax", "jaxlib", "scikit-learn", "skops", "xgboost", "lightgbm", "keras"}


def test_core_and_api_alone_give_an_application_with_health_among_its_routes(api_environment):
    answer = api_environment.run(
        "import json, sys\n"
        "before = set(sys.modules)\n"
        "from ktrdr.api.main import app\n"
        "new = set(sys.modules) - before\n"
        "from fastapi import FastAPI\n"
        "print(json.dumps([isinstance(app, FastAPI), sorted(app.openapi()['paths']), sorted(new)]))"
    )
    assert answer.returncode == 0, answer.stderr
    is_fastapi, paths, new = json.loads(answer.stdout)
    assert is_fastapi
    assert "/api/v1/health" in paths
    assert len(paths) > 10
    assert len(new) > 50
    assert not {name.partition(".")[0] for name in new} & {"torch", "tensorflow", "jax", "sklearn", "skops"}


def test_frameworks_cannot_be_imported_there(api_environment):
    answer = api_environment.run(
        "import importlib.util\n"
        "print([m for m in ('torch', 'tensorflow', 'jax', 'sklearn', 'skops') if importlib.util.find_spec(m)])"
    )
    assert answer.stdout.strip() == "[]", answer.stdout + answer.stderr


@pytest.fixture(scope="module")
def server(api_environment, tmp_path_factory):
    """A real uvicorn on loopback; yields its base address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    process = subprocess.Popen(
        [api_environment.python, "-I", "-m", "uvicorn", "ktrdr.api.main:app", "--port", str(port)],
        env={"KTRDR_HOME": str(home), "HOME": str(home), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    address = f"http://127.0.0.1:{port}/api/v1"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=2)
                break
            except OSError:
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


def get(address):
    with urllib.request.urlopen(address, timeout=120) as answer:
        return json.load(answer)


def test_health_answers_from_a_real_server(server):
    assert get(f"{server}/health")["status"] == "ok"


def test_models_and_plugins_are_listed_by_a_real_server(server):
    assert get(f"{server}/models") == []
    assert get(f"{server}/plugins") == []


def ask(method, address, body=None, **headers):
    request = urllib.request.Request(address, data=body, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        content = answer.read()
        return answer.status, json.loads(content) if content else None


CSV = "Date,Open,High,Low,Close,Volume\n" + "".join(
    f"2020-01-{day:02d},10,12,9,11,100\n" for day in (2, 3, 6, 7, 8, 9, 10)
)

STRATEGY = """\
name: rsi_reversion
training_data:
  symbols: {mode: single, symbol: ABC}
  timeframes: {mode: single, timeframe: 1d}
indicators:
  rsi_14: {type: rsi, period: 14}
fuzzy_sets:
  rsi: {indicator: rsi_14, low: [0, 0, 35], high: [65, 100, 100]}
nn_inputs:
  - {fuzzy_set: rsi, timeframes: all}
model: {type: mlp}
decisions: {output_format: classification}
training: {labels: {source: zigzag, zigzag_threshold: 0.01, label_lookahead: 24}}
"""


def test_a_user_works_with_it_on_a_fresh_home(server):
    """Data, strategies and models need no plugin; a training is accepted, and says which worker it waits for."""
    status, imported = ask("POST", f"{server}/data?filename=ABC.csv&symbol=ABC", CSV.encode())
    assert status == 201
    assert imported["datasets"][0]["added"] == 7
    assert get(f"{server}/data")[0]["symbol"] == "ABC"
    status, validated = ask("POST", f"{server}/validate-strategy", STRATEGY.encode())
    assert (status, validated["valid"]) == (200, True)
    assert validated["features"] == ["1d_rsi_low", "1d_rsi_high"]
    assert ask("PUT", f"{server}/strategies/rsi_reversion", STRATEGY.encode())[0] == 201
    assert get(f"{server}/strategies")[0]["model_type"] == "mlp"
    assert get(f"{server}/models") == []
    body = json.dumps({"strategy": "rsi_reversion"}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": "once"}
    status, operation = ask("POST", f"{server}/trainings", body, **headers)
    assert (status, operation["state"]) == (202, "queued")
    assert "plugin `torch`" in operation["waiting_for"]
    assert "ktrdr worker" in operation["waiting_for"]
    assert ask("POST", f"{server}/trainings", body, **headers)[1]["id"] == operation["id"]
    assert get(f"{server}/operations/{operation['id']}")["state"] == "queued"
    assert get(f"{server}/health/ready")["status"] == "ready"


@pytest.mark.parametrize("distribution", ["ktrdr-api", "ktrdr-worker"])
def test_the_closure_holds_no_framework(make_environment, api_environment, distribution):
    environment = api_environment if distribution == "ktrdr-api" else make_environment("ktrdr-core", distribution)
    installed = environment.distributions()
    assert distribution in installed
    assert not installed & FRAMEWORKS
