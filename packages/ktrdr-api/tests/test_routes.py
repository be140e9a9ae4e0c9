"""What the routes answer."""

from __future__ import annotations

import pytest


def test_health(client):
    answer = client.get("/api/v1/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"


def test_plugins_are_told_as_found(client, monkeypatch):
    monkeypatch.setenv("KTRDR_LOAD_PLUGINS", "none")
    assert all(plugin["state"] == "blocked" for plugin in client.get("/api/v1/plugins").json())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/v1/absent", 404), ("POST", "/api/v1/health", 405)],
)
def test_errors_are_problem_details(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:ktrdr:problem:")
    assert "Traceback" not in answer.text
