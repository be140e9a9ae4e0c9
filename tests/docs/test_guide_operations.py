"""The operations guide names every setting, metric and transition there is, and its commands do what it says."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def section(heading):
    level = heading.partition(" ")[0]
    return re.split(rf"^#{{1,{len(level)}}} ", PAGE.partition(f"\n{heading}\n")[2], flags=re.MULTILINE)[0]


def rows(text):
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|") and not line.startswith("|---")
    ][1:]


# The first table of the section.
SETTINGS = {row[0].strip("`"): row[1].strip("`") for row in rows(section("## Settings").partition("\n### ")[0])}


def test_every_setting_of_the_api_is_there_with_its_default():
    from ktrdr.api.settings import ApiSettings

    for name, field in ApiSettings.model_fields.items():
        variable = f"KTRDR_API_{name.upper()}"
        assert variable in SETTINGS, variable
        if name != "database":  # its default is made of KTRDR_HOME
            assert SETTINGS[variable] == ("" if field.default in (None, ()) else str(field.default)), variable
    known = {f"KTRDR_API_{name.upper()}" for name in ApiSettings.model_fields}
    assert {name for name in SETTINGS if name.startswith("KTRDR_API_")} == known


def test_every_variable_that_the_code_speaks_of_is_there_and_no_other():
    sources = [path.read_text(encoding="utf-8") for path in ROOT.glob("packages/*/src/**/*.py")]
    named = set(re.findall(r"\bKTRDR_[A-Z_]*[A-Z]\b", "\n".join(sources)))
    assert len(named) > 10
    assert named - SETTINGS.keys() == set()
    assert {name for name in SETTINGS if not name.startswith("KTRDR_API_")} <= named


def test_every_metric_is_there():
    from ktrdr.api.http.request_metrics import Metrics

    metrics = Metrics()
    metrics.answered("GET", "/api/v1/health", 200, 0.1)
    text = metrics.text(operations={"queued": 1}, workers=1, running=1, listeners=0, free_bytes=1).decode()
    exported = {
        name for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE) if "_created" not in name
    }
    table = rows(section("## Metrics"))
    named = {re.match(r"`(\w+)", row[0])[1] for row in table if row[0].startswith("`ktrdr_") and len(row) == 2}
    assert named == exported
    for used in re.findall(r"ktrdr_\w+", section("## Metrics")):
        assert used in exported, used


def test_the_table_of_states_is_the_code_s():
    from ktrdr.api.ledger.states import STATES, sources_of

    table = section("## Operations and their states").partition("\n### ")[0]
    told = {(row[0].strip("`"), row[1].strip("`")) for row in rows(table)}
    allowed = {(source, target) for target in STATES for source in sources_of(target)}
    # An operation cannot fail before it has begun, though the ledger would allow it.
    assert told - {("", "queued")} == allowed - {("queued", "failed")}


def test_the_routes_that_need_no_token_are_those_that_are_named(tmp_path, monkeypatch):
    """Every route of the application is asked without a token, by every method it has."""
    from fastapi.testclient import TestClient
    from starlette.routing import Route

    from ktrdr.api.app import create_app
    from ktrdr.api.http.request_metrics import PREFIX
    from ktrdr.api.settings import ApiSettings

    monkeypatch.setenv("KTRDR_HOME", str(tmp_path))
    named = {row[0].strip("`") for row in rows(section("### Tokens")) if row[0].startswith("`/")}
    app = create_app(ApiSettings(token="secret", rate_limit=0))
    asked, open_to_all = set(), set()
    with TestClient(app, base_url="http://127.0.0.1") as client:
        described = app.openapi()["paths"]
        paths: dict[str, set[str]] = {}
        for route in app.routes:
            # FastAPI keeps a router that was included as it is, without its prefix.
            for each in [route] if isinstance(route, Route) else route.original_router.routes:
                whole = PREFIX + each.path if PREFIX + each.path in described else each.path
                paths.setdefault(whole, set()).update(each.methods)
        assert described.keys() <= paths.keys()
        for template, methods in paths.items():
            for method in methods | ({"HEAD"} if "GET" in methods else set()):
                path = re.sub(r"{operation_id}", "01K9ZJ5T3C8E6W2V4R7Q1M0N8B", template)
                answer = client.request(method, re.sub(r"{\w+}", "x", path))
                asked.add((method, template))
                if answer.status_code != 401:
                    open_to_all.add(template)
                    assert method in ("GET", "HEAD"), template
    assert len(asked) > 60
    assert open_to_all == named == set(paths) & named


@contextlib.contextmanager
def serving(console, directory, port):
    """Run `ktrdr serve`, which has no workers, for as long as the block runs; yield a function that asks it."""
    environ = console.environment(directory) | {"KTRDR_API_PORT": str(port)}
    process = subprocess.Popen(["ktrdr", "serve"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    try:
        end = time.monotonic() + 120
        while True:
            try:
                ask("/health")
                break
            except urllib.error.URLError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.1)
        yield ask
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_settings_are_refused_as_shown(console, tmp_path):
    assert console.run(section("## Settings"), tmp_path) == 4
    assert len((tmp_path / "token").read_text().strip()) > 40


@pytest.mark.slow
def test_a_backup_of_a_server_at_work_is_restored_and_old_operations_are_pruned(console, prepared, tmp_path, free_port):
    directory = tmp_path / "work"
    shutil.copytree(prepared, directory, symlinks=True)
    strategy = (directory / "rsi_turns.yaml").read_text(encoding="utf-8")
    with serving(console, directory, free_port) as ask:
        first = ask("/trainings", {"strategy_text": strategy})
        second = ask("/trainings", {"strategy_text": strategy, "seed": 2})
        ask(f"/operations/{second['id']}/cancel", {})
        assert console.run(section("### SQLite"), directory) >= 8
        # The one that was restored has all there was; so has the first, which was not stopped.
        restored = sqlite3.connect(directory / "restored" / "ledger.sqlite")
        states = "SELECT id, state FROM operations ORDER BY id"
        assert restored.execute(states).fetchall() == [(first["id"], "queued"), (second["id"], "cancelled")]
        ledger = sqlite3.connect(directory / "home" / "ledger.sqlite")
        with ledger:
            ledger.execute("UPDATE operations SET finished_at = datetime('now', '-91 days') WHERE state = 'cancelled'")
        runs = directory / "home" / "runs" / "rsi_turns" / "1-1"
        runs.mkdir(parents=True)
        (runs / "result.json").write_text("{}")
        assert console.run(section("## Pruning"), directory) == 2
        assert [item["id"] for item in ask("/operations")["items"]] == [first["id"]]
        assert ledger.execute("SELECT DISTINCT operation_id FROM operation_events").fetchall() == [(first["id"],)]
        assert (runs / "result.json").exists()  # it is not old


@pytest.fixture
def free_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]
