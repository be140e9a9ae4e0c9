"""Start verdicts, and read what is stored of them."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from ktrdr.api.routes.strategies import EXAMPLE
from ktrdr.core.verdicts.stored_verdict import load_verdict_facts

ASKED = {"strategy_text": EXAMPLE, "epochs": 3, "quick": True, "commission": 0.0001}
API = "/api/v1/verdicts"


@pytest.fixture
def stored(home, made_home, judged):
    shutil.copytree(made_home.path / "verdicts", home / "verdicts")
    return home / "verdicts" / "waves" / "1"


def start(client, body=ASKED, key=None):
    return client.post(API, json=body, headers={} if key is None else {"Idempotency-Key": key})


def test_one_that_nobody_can_run_waits_and_says_for_what(client):
    answer = start(client)
    assert answer.status_code == 202, answer.text
    operation = answer.json()
    assert (operation["kind"], operation["state"], operation["requires"]) == ("verdict", "queued", ["ml-torch"])
    (listed,) = client.get("/api/v1/operations?kind=verdict").json()["items"]
    assert listed["id"] == operation["id"]
    none = client.get(f"{API}/{operation['id']}/result")
    assert (none.status_code, none.json()["type"]) == (409, "urn:ktrdr:problem:no-result")
    assert client.get(f"/api/v1/evaluations/{operation['id']}/result").status_code == 404


def test_a_wrong_name_in_a_path_or_a_query_is_answered_with_an_example(client):
    for path, place in ((f"{API}?name=a%20b", "query.name"), (f"{API}/a%20b/1", "path.name")):
        answer = client.get(path)
        assert answer.status_code == 422
        assert answer.json()["detail"] == f"{place}: must be written like rsi_reversion, not 'a b'"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "give exactly one of `strategy` and `strategy_text`"),
        ({"strategy": "absent"}, 404, "no strategy `absent`"),
        ({"strategy_text": "name: x"}, 422, "errors"),
        ({**ASKED, "seeds": 6}, 422, "the quick form has one seed"),
        ({"strategy_text": EXAMPLE, "seeds": 4}, 422, "body.seeds: Input should be greater than or equal to 5"),
        ({"strategy_text": EXAMPLE, "seeds": 4}, 422, "seeds"),
        ({**ASKED, "quick": "perhaps"}, 422, "quick"),
        ({**ASKED, "commission": 1}, 422, "commission"),
        ({**ASKED, "reserve": True}, 422, "has no reserve that could be opened"),
        ({**ASKED, "ensemble": True}, 422, "ensemble"),
        ({**ASKED, "start": "2020-02-02", "end": "2020-02-01"}, 422, "before"),
    ],
)
def test_what_cannot_be_judged_is_refused_and_leaves_nothing(client, body, status, said):
    answer = start(client, body, key="k")
    assert answer.status_code == status, answer.text
    assert said in answer.text
    assert client.get("/api/v1/operations").json()["items"] == []
    assert start(client, key="k").status_code == 202


def test_it_runs_is_cancelled_goes_on_and_gives_its_result(serving, engine_double, eventually, stored, judged):
    engine = engine_double()
    with serving(engine) as client:
        operation = start(client).json()["id"]
        (attempt,) = eventually(lambda: engine.submitted, len)
        assert engine.jobs[attempt] == {
            "strategy": EXAMPLE,
            "symbols": None,
            "start": None,
            "end": None,
            "seed": None,
            "epochs": 3,
            "seeds": None,
            "quick": True,
            "capital": 10_000.0,
            "commission": 0.0001,
            "slippage": 0.0,
            "trials": None,
            "reserve": False,
            "device": "auto",
        }
        path = f"/api/v1/operations/{operation}"
        engine.tell("started", attempt, "tcp://127.0.0.1:1")
        assert client.post(f"{path}/cancel").status_code in (200, 202)
        eventually(lambda: engine.stopped, len)
        engine.tell("cancelled", attempt)
        assert client.post(f"{path}/resume").status_code in (200, 202)
        again = eventually(lambda: engine.submitted[1:], len)[0]
        engine.tell("started", again, "tcp://127.0.0.1:1")
        engine.tell("completed", again, judged)

        told = client.get(path).json()
        assert (told["result"]["word"], told["result"]["exit_status"]) == ("NOT PROVEN", 3)
        assert str(Path(judged["directory"]).parents[2]) not in json.dumps(told)
        result = client.get(f"{API}/{operation}/result")
        assert result.status_code == 200, result.text
        whole = client.get(f"{API}/{result.json()['verdict']}").json()
        assert result.json() == {**whole, "exit_status": 3}


def test_what_is_stored_is_listed_and_read(client, stored):
    facts = load_verdict_facts("waves/1", stored.parents[1])
    (listed,) = client.get(API).json()
    assert (listed["verdict"], listed["word"], listed["evaluation"]) == ("waves/1", "NOT PROVEN", "waves/1")
    assert (listed["sharpe"], listed["trials"]) == (facts.deflation.sharpe, facts.deflation.trials)
    assert client.get(f"{API}?name=waves").json() == [listed]
    assert client.get(f"{API}?name=other").json() == []
    assert client.get(f"{API}/waves/1").json() == json.loads(facts.model_dump_json())

    report = client.get(f"{API}/waves/1/report")
    assert report.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in report.headers["content-security-policy"]
    assert report.headers["content-disposition"] == "inline"
    assert report.text.lstrip().lower().startswith("<!doctype html>")

    archive = zipfile.ZipFile(io.BytesIO(client.get(f"{API}/waves/1/archive").content))
    assert {name: archive.read(name) for name in archive.namelist()} == {
        file.name: file.read_bytes() for file in stored.iterdir()
    }


@pytest.mark.parametrize("place", ["waves/2", "other/1"])
@pytest.mark.parametrize("what", ["", "/archive", "/report"])
def test_what_is_not_stored_is_not_found(client, stored, place, what):
    answer = client.get(f"{API}/{place}{what}")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:ktrdr:problem:not-found")


def test_what_is_damaged_is_listed_with_the_reason_and_refused(client, stored):
    file = stored / "verdict.json"
    file.write_text(file.read_text()[:-10])
    (listed,) = client.get(API).json()
    assert (listed["verdict"], listed["word"]) == ("waves/1", None)
    assert listed["problem"]
    answer = client.get(f"{API}/waves/1")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:ktrdr:problem:bad-input")
