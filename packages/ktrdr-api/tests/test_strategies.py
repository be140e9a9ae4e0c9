"""Strategy files on the server: stored whole, changed only by who has seen them, checked as the command line does."""

from __future__ import annotations

import threading

import pytest

from ktrdr.api.routes.strategies import EXAMPLE
from ktrdr.api.strategy_files import ChangedError, StrategyStore

PATH = "/api/v1/strategies/rsi_reversion"


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch):
    """As where no backend is installed beside the API: what only a backend knows is left to the worker."""
    monkeypatch.setattr("ktrdr.core.plugins.manager.default_manager", _none)


def _none():
    from ktrdr.core.plugins.manager import PluginManager

    return PluginManager(path=[])


def put(client, text=EXAMPLE, **headers):
    names = {"if_match": "If-Match", "if_none_match": "If-None-Match"}
    return client.put(PATH, content=text.encode(), headers={names[key]: value for key, value in headers.items()})


def test_a_strategy_is_stored_read_listed_changed_and_deleted(client, home):
    stored = put(client)
    assert stored.status_code == 201, stored.text
    etag = stored.headers["etag"]
    read = client.get(PATH)
    assert read.text == EXAMPLE
    assert read.headers["etag"] == etag
    assert read.headers["content-type"].startswith("application/yaml")
    assert (home / "strategies" / "rsi_reversion.yaml").read_text() == EXAMPLE
    (listed,) = client.get("/api/v1/strategies").json()
    assert listed == {
        "name": "rsi_reversion",
        "etag": etag.strip('"'),
        "description": None,
        "model_type": "mlp",
        "symbols": ["EURUSD"],
        "timeframes": ["1h"],
        "problem": "",
    }
    assert client.get(PATH, headers={"If-None-Match": etag}).status_code == 304
    changed = put(client, EXAMPLE.replace("period: 14", "period: 21"), if_match=etag)
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag
    assert client.delete(PATH, headers={"If-Match": etag}).status_code == 412
    assert client.delete(PATH).status_code == 428
    assert client.delete(PATH, headers={"If-Match": changed.headers["etag"]}).status_code == 204
    assert client.get(PATH).status_code == 404
    assert client.delete(PATH).status_code == 404


def test_nobody_overwrites_what_somebody_else_has_changed(client):
    etag = put(client).headers["etag"]
    other = put(client, EXAMPLE + "# theirs\n", if_match=etag)
    assert other.status_code == 200
    late = put(client, EXAMPLE + "# mine\n", if_match=etag)
    assert late.status_code == 412
    assert late.json()["field"] == "header.If-Match"
    assert put(client, EXAMPLE).status_code == 428
    assert put(client, EXAMPLE, if_none_match="*").status_code in (412, 428)
    assert client.get(PATH).text.endswith("# theirs\n")
    assert put(client, EXAMPLE, if_match='"none"').status_code == 412


def test_of_many_writers_at_once_one_wins(tmp_path):
    store = StrategyStore(tmp_path / "strategies")
    seen = store.put("x", "0", expected=None).etag
    won, barrier = [], threading.Barrier(8)

    def write(number):
        barrier.wait()
        try:
            store.put("x", f"text {number}", expected=seen)
        except ChangedError:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("x").text == f"text {won[0]}"
    assert store.names() == ["x"]


def test_every_error_is_told_with_its_place(client):
    broken = EXAMPLE.replace("period: 14", "perod: 14").replace("65, 100, 100", "100, 65, 100")
    answer = put(client, broken)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["type"] == "urn:ktrdr:problem:strategy"
    places = {(error["field"], error["line"]) for error in problem["errors"] if error["severity"] == "error"}
    assert places == {("indicators.rsi_14.perod", 6), ("fuzzy_sets.rsi.high", 8)}
    assert client.get("/api/v1/strategies").json() == []
    validated = client.post("/api/v1/validate-strategy", content=broken.encode()).json()
    assert validated["valid"] is False
    assert {error["path"] for error in validated["diagnostics"] if error["severity"] == "error"} == {
        "indicators.rsi_14.perod",
        "fuzzy_sets.rsi.high",
    }


def test_what_a_strategy_feeds_its_model(client):
    ids = ["1h_rsi_low", "1h_rsi_middle", "1h_rsi_high"]
    validated = client.post("/api/v1/validate-strategy", content=EXAMPLE.encode()).json()
    assert (validated["valid"], validated["name"], validated["features"]) == (True, "rsi_reversion", ids)
    put(client)
    features = client.get(f"{PATH}/features").json()
    assert [feature["id"] for feature in features["features"]] == ids
    assert features["warmup"] == 14
    assert features["features"][0]["indicator"] == "rsi_14"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("\xff".encode("latin-1"), "not-text"),
        (b"", "invalid-request"),
        (b"[1, 2", "strategy"),
        (b"a: &a [*a]", "strategy"),
    ]
    + [
        (EXAMPLE.replace("rsi_reversion", "other").encode(), "other-name"),
        (b"x: " + b"y" * 140_000, "invalid-request"),
    ],
)
def test_what_is_no_strategy_of_that_name_is_refused(client, text, kind):
    answer = client.put(PATH, content=text)
    assert answer.status_code == 422
    assert answer.json()["type"] == f"urn:ktrdr:problem:{kind}"
    assert client.get(PATH).status_code == 404


def test_a_file_that_became_invalid_is_listed_with_its_problem(client, home):
    (home / "strategies").mkdir(parents=True)
    (home / "strategies" / "old.yaml").write_text("name: old\nscope: universal\n")
    (home / "strategies" / "binary.yaml").write_bytes(b"\xff\x00")
    (home / "strategies" / "no name.yaml").write_text("name: x")
    (listed,) = client.get("/api/v1/strategies").json()
    assert listed["name"] == "old"
    assert listed["problem"]
    assert client.get("/api/v1/strategies/binary").status_code == 404


def test_line_ends_are_kept(client):
    text = EXAMPLE.replace("\n", "\r\n")
    assert put(client, text).status_code == 201
    assert client.get(PATH).text == text
