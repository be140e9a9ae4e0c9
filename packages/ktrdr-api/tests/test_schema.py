"""Schemathesis reads the OpenAPI document and tries a real server with what fits it and what does not, stateful too.

All checks; a token is set, so that authentication is tried as well. There is no worker: what is started stays queued.
Bounded by a few examples per operation and phase; KTRDR_SCHEMATHESIS_EXAMPLES asks for more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "schemathesis"
EXAMPLES = os.environ.get("KTRDR_SCHEMATHESIS_EXAMPLES", "3")


@pytest.fixture
def server(Server, engine_double, home, made_home, monkeypatch):
    for name in ("models", "data"):
        shutil.copytree(made_home.path / name, home / name)
    monkeypatch.setenv("KTRDR_API_TOKEN", "s3cret")
    with Server(engine_double(capabilities=None)) as server:
        yield server


@pytest.mark.slow
def test_no_fault_and_no_undocumented_answer(server, tmp_path):
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"),
        f"{server.url}/openapi.json",
        *("--url", server.url.removesuffix("/api/v1"), "--max-examples", EXAMPLES, "--seed", "20261125"),
        *("--header", "Authorization: Bearer s3cret", "--request-timeout", "20", "--no-color"),
        *("--phases", "examples,coverage,fuzzing,stateful", "--continue-on-failure", "--no-shrink"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    print(done.stdout[-15_000:], done.stderr[-3_000:])
    assert done.returncode == 0
    assert "Tested: " in done.stdout


def test_the_document_names_what_it_describes(server):
    """Schemas have names, operations have short ids, starts have examples, problems have their media type."""
    document = server.app.openapi()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    identifiers = [operation["operationId"] for operation in operations]
    assert len(set(identifiers)) == len(identifiers) > 35
    assert not [name for name in identifiers if "api_v1" in name]
    assert all(operation["summary"] and operation["description"] for operation in operations)
    assert {
        "TrainingRequest",
        "EvaluationRequest",
        "EvaluationFacts",
        "BacktestRequest",
        "OperationView",
        "Problem",
    } <= set(document["components"]["schemas"])
    for operation in operations:
        for status, response in operation["responses"].items():
            if status.startswith(("4", "5")) and "content" in response:
                assert set(response["content"]) <= {"application/problem+json", "application/json"}, operation
    content = document["paths"]["/api/v1/trainings"]["post"]["requestBody"]["content"]["application/json"]
    assert "rsi_reversion" in str(content["examples"])
