"""What the routes answer."""

from __future__ import annotations

import errno

import pytest


def test_health(client):
    answer = client.get("/api/v1/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"


def test_a_home_without_models_gives_an_empty_list(client):
    assert client.get("/api/v1/models").json() == []


def test_plugins_are_told_as_found(client, monkeypatch):
    monkeypatch.setenv("KTRDR_LOAD_PLUGINS", "none")
    assert all(plugin["state"] == "blocked" for plugin in client.get("/api/v1/plugins").json())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/v1/absent", 404), ("POST", "/api/v1/health", 405), ("GET", "/api/v1/models/none/1", 404)],
)
def test_errors_are_problem_details(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:ktrdr:problem:")
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/v1/data/ABC/1d", "DELETE, GET, HEAD"),
        ("POST", "/api/v1/calendars/ABC", "GET, HEAD, PUT"),
        ("PUT", "/api/v1/data", "GET, HEAD, POST"),
        ("PATCH", "/api/v1/strategies/x", "DELETE, GET, HEAD, PUT"),
        ("OPTIONS", "/api/v1/health", "GET, HEAD"),
    ],
)
def test_a_method_that_is_not_there_is_answered_with_those_that_are(client, method, path, allowed):
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


CSV = "Date,Open,High,Low,Close,Volume\n" + "".join(
    f"2020-01-{day:02d},10,12,9,11,100\n" for day in (2, 3, 6, 7, 8, 9, 10)
)


def test_a_file_is_imported_listed_read_checked_and_deleted(client):
    answer = client.post("/api/v1/data?filename=ABC.csv&symbol=ABC", content=CSV)
    assert answer.status_code == 201, answer.text
    (written,) = answer.json()["datasets"]
    assert (written["symbol"], written["timeframe"], written["added"]) == ("ABC", "1d", 7)
    (listed,) = client.get("/api/v1/data").json()
    assert listed["rows"] == 7

    page = client.get("/api/v1/data/ABC/1d?limit=4").json()
    assert page["close"] == [11.0] * 4
    rest = client.get("/api/v1/data/ABC/1d", params={"start": page["next"]}).json()
    assert len(rest["time"]) == 3
    assert rest["next"] is None
    assert rest["time"][0] > page["time"][-1]

    assert client.get("/api/v1/data/ABC/1d/report").json()["ok"] is True
    assert client.get("/api/v1/data/ABC/1d/parquet").content[:4] == b"PAR1"
    assert client.delete("/api/v1/data/ABC/1d").status_code == 204
    assert client.get("/api/v1/data").json() == []


def test_the_calendar_of_a_symbol_is_stored_shown_and_changed(client):
    path = "/api/v1/calendars/SOL"
    body = "\n".join(CSV.splitlines()[:4])
    answer = client.post("/api/v1/data?filename=SOL.csv&symbol=SOL", content=body)
    assert answer.status_code == 422
    assert "SOL could be a coin (24/7) or a share (XNYS)" in answer.json()["detail"]
    assert client.get(path).status_code == 404
    assert client.put(path, json={"calendar": "XNYS"}).status_code == 404

    assert client.post("/api/v1/data?filename=SOL.csv&symbol=SOL&calendar=nyse", content=body).status_code == 201
    (listed,) = client.get("/api/v1/data").json()
    assert (listed["calendar"], listed["calendar_stored"]) == ("XNYS", True)
    assert client.get(path).json() == {
        "symbol": "SOL", "calendar": "XNYS", "told_by": "stored", "choices": [], "warning": "",
    }  # fmt: skip
    assert client.put(path, json={"calendar": "24/7"}).json()["calendar"] == "24/7"
    assert client.get("/api/v1/data/SOL/1d/report").json()["calendar"] == "24/7"
    answer = client.put(path, json={"calendar": "MOON"})
    assert (answer.status_code, "unknown calendar `MOON`" in answer.json()["detail"]) == (422, True)

    client.post("/api/v1/data?filename=ABC.csv&symbol=ABC", content=CSV)
    listed = client.get("/api/v1/data").json()[0]
    assert (listed["calendar"], listed["calendar_stored"]) == ("XNYS", False)
    assert client.get("/api/v1/calendars/ABC").json()["told_by"] == "name"
    parquet = client.get("/api/v1/data/SOL/1d/parquet").content
    again = client.post("/api/v1/data?filename=SOL.parquet&symbol=COPY&timeframe=1d", content=parquet)
    assert again.json()["datasets"][0]["validation"]["calendar"] == "24/7"


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        ("filename=..%2Fevil.csv", CSV, 422),
        ("filename=ABC.csv&symbol=..%2Fx", CSV, 422),
        ("filename=ABC.csv&symbol=ABC", "not a table", 422),
        ("filename=ABC.csv&symbol=ABC", "", 422),
    ],
)
def test_a_bad_file_or_name_changes_nothing(client, query, body, status):
    answer = client.post(f"/api/v1/data?{query}", content=body)
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert client.get("/api/v1/data").json() == []


def test_no_path_of_the_server_is_told(client, home):
    answer = client.get("/api/v1/data/ABC/1d")
    assert answer.status_code == 404
    assert str(home) not in answer.text
    assert "$KTRDR_HOME" in answer.json()["detail"]


def test_a_full_disk_is_said_and_other_trouble_is_a_fault(home, serving, monkeypatch):
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.errors import DiskFullError

    trouble: Exception = OSError(errno.ENOSPC, "No space left on device", str(home / "data"))

    def refuse(*arguments, **more):
        raise trouble

    monkeypatch.setattr(BarStore, "datasets", refuse)
    with serving(raise_server_exceptions=False) as client:
        answer = client.get("/api/v1/data")
        assert (answer.status_code, answer.json()["type"]) == (507, "urn:ktrdr:problem:disk-full")
        assert str(home) not in answer.text
        trouble = DiskFullError(f"cannot write {home}: the disk is full; nothing was written")
        answer = client.get("/api/v1/data")
        assert (answer.status_code, answer.json()["type"]) == (507, "urn:ktrdr:problem:disk-full")
        assert str(home) not in answer.text
        trouble = OSError(errno.EIO, "Input/output error")
        answer = client.get("/api/v1/data")
        assert (answer.status_code, answer.json()["type"]) == (500, "urn:ktrdr:problem:fault")
