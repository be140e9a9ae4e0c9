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
        "import json\n"
        "from fastapi import FastAPI\n"
        "from ktrdr.api.main import app\n"
        "print(json.dumps([isinstance(app, FastAPI), sorted(app.openapi()['paths'])]))"
    )
    assert answer.returncode == 0, answer.stderr
    is_fastapi, paths = json.loads(answer.stdout)
    assert is_fastapi
    assert "/api/v1/health" in paths


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
        for _ in range(150):
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
    with urllib.request.urlopen(address, timeout=10) as answer:
        return json.load(answer)


def test_health_answers_from_a_real_server(server):
    assert get(f"{server}/health")["status"] == "ok"


def test_models_and_plugins_are_listed_by_a_real_server(server):
    assert get(f"{server}/models") == []
    assert get(f"{server}/plugins") == []


@pytest.mark.parametrize("distribution", ["ktrdr-api", "ktrdr-worker"])
def test_the_closure_holds_no_framework(make_environment, api_environment, distribution):
    environment = api_environment if distribution == "ktrdr-api" else make_environment("ktrdr-core", distribution)
    installed = environment.distributions()
    assert distribution in installed
    assert not installed & FRAMEWORKS
