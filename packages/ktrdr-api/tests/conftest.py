from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from ktrdr.api.app import create_app
from ktrdr.api.settings import ApiSettings


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Every test has a home of its own."""
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def client():
    with TestClient(create_app(ApiSettings())) as client:
        yield client
