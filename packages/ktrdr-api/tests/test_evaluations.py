"""Start evaluations, and read what is stored of them. The evaluation itself is a real one, made once."""

from __future__ import annotations

import io
import json
import shutil
import zipfile

import numpy as np
import pytest

from ktrdr.api.routes.strategies import EXAMPLE
from ktrdr.core.validation.stored_evaluation import load_evaluation

ASKED = {"strategy_text": EXAMPLE, "epochs": 3, "seeds": 2}
API = "/api/v1/evaluations"


@pytest.fixture
def stored(home, made_home):
    shutil.copytree(made_home.path / "evaluations", home / "evaluations")
    return made_home


def start(client, body=ASKED, key=None):
    return client.post(API, json=body, headers={} if key is None else {"Idempotency-Key": key})


def test_one_that_nobody_can_run_waits_and_says_for_what(client):
    answer = start(client)
    assert answer.status_code == 202, answer.text
    operation = answer.json()
    assert (operation["kind"], operation["state"], operation["requires"]) == ("evaluation", "queued", ["ml-torch"])
    assert "plugin `torch`" in operation["waiting_for"]
    (listed,) = client.get("/api/v1/operations?kind=evaluation").json()["items"]
    assert listed["id"] == operation["id"]
    none = client.get(f"{API}/{operation['id']}/result")
    assert (none.status_code, none.json()["type"]) == (409, "urn:ktrdr:problem:no-result")
    assert client.get(f"/api/v1/trainings/{operation['id']}/result").status_code == 404


def test_a_wrong_name_in_a_path_or_a_query_is_answered_with_an_example(client):
    for path, place in ((f"{API}?name=a%20b", "query.name"), (f"{API}/a%20b/1", "path.name")):
        answer = client.get(path)
        assert answer.status_code == 422
        assert answer.json()["detail"] == f"{place}: must be written like rsi_reversion, not 'a b'"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "give exactly one of `strategy` and `strategy_text`"),
        ({"strategy": "x", "strategy_text": EXAMPLE}, 422, "exactly one"),
        ({"strategy": "../x"}, 422, "body.strategy: must be written like rsi_reversion, not '../x'"),
        ({**ASKED, "device": "GPU 1"}, 422, "body.device: must be written like cpu or cuda:1, not 'GPU 1'"),
        ({"strategy": "absent"}, 404, "no strategy `absent`"),
        ({"strategy_text": "name: x"}, 422, "errors"),
        ({**ASKED, "seeds": 0}, 422, "body.seeds: Input should be greater than or equal to 1"),
        ({**ASKED, "epochs": 0}, 422, "epochs"),
        ({**ASKED, "capital": 0}, 422, "capital"),
        ({**ASKED, "commission": 1}, 422, "commission"),
        ({**ASKED, "reserve": "perhaps"}, 422, "reserve"),
        ({**ASKED, "ensemble": True}, 422, "ensemble"),
        ({**ASKED, "start": "2020-02-02", "end": "2020-02-01"}, 422, "before"),
        (
            {"strategy_text": EXAMPLE + "validation: {type: cpcv, groups: 2, test_groups: 2}\n"},
            422,
            "test_groups",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_refused_and_leaves_nothing(client, body, status, said):
    answer = start(client, body, key="k")
    assert answer.status_code == status, answer.text
    assert said in answer.text
    assert client.get("/api/v1/operations").json()["items"] == []
    assert start(client, key="k").status_code == 202


def test_the_same_key_gives_the_same_operation_whatever_has_become_of_the_strategy(client):
    etag = client.put("/api/v1/strategies/rsi_reversion", content=EXAMPLE).headers["etag"]
    first = start(client, {"strategy": "rsi_reversion"}, key="k").json()
    assert client.delete("/api/v1/strategies/rsi_reversion", headers={"If-Match": etag}).status_code == 204
    assert start(client, {"strategy": "rsi_reversion"}, key="k").json()["id"] == first["id"]
    conflict = start(client, {"strategy": "rsi_reversion", "seeds": 7}, key="k")
    assert conflict.json()["type"] == "urn:ktrdr:problem:idempotency-conflict"
    assert client.get(f"/api/v1/operations/{first['id']}").json()["job"]["strategy"] == EXAMPLE


def test_it_runs_is_cancelled_goes_on_and_gives_its_result(serving, engine_double, eventually, stored):
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
            "seeds": 2,
            "capital": 10_000.0,
            "commission": 0.0,
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
        assert client.get(path).json()["state"] == "cancelled"
        assert client.post(f"{path}/resume").status_code in (200, 202)
        again = eventually(lambda: engine.submitted[1:], len)[0]
        assert (again.operation_id, again.number) == (operation, 2)
        engine.tell("started", again, "tcp://127.0.0.1:1")
        engine.tell("completed", again, stored.evaluated)

        result = client.get(f"{API}/{operation}/result")
        assert result.status_code == 200, result.text
        assert result.json() == client.get(f"{API}/{result.json()['evaluation']}").json()
        assert str(stored.path) not in client.get(path).text


def test_what_is_stored_is_listed_and_read(client, stored):
    whole = load_evaluation("waves/1", stored.path / "evaluations")
    facts = whole.facts
    (listed,) = client.get(API).json()
    assert (listed["evaluation"], listed["folds"], listed["seeds"]) == ("waves/1", 15, 2)
    assert listed["sharpe"] == pytest.approx(facts.spread["sharpe"].median)
    assert client.get(f"{API}?name=waves").json() == [listed]
    assert client.get(f"{API}?name=other").json() == []
    assert client.get(f"{API}/waves/1").json() == json.loads(facts.model_dump_json())

    curves = client.get(f"{API}/waves/1/curves?limit=50000").json()
    assert curves["total"] == len(curves["time"]) == len(whole.curves.time)
    np.testing.assert_array_equal(curves["accounts"], whole.curves.equity)
    np.testing.assert_array_equal(curves["buy_and_hold"], whole.curves.buy_and_hold)
    page = client.get(f"{API}/waves/1/curves?offset=10&limit=5").json()
    assert page["time"] == curves["time"][10:15]
    assert page["accounts"] == [account[10:15] for account in curves["accounts"]]
    assert client.get(f"{API}/waves/1/curves?offset=1000000").json()["time"] == []

    report = client.get(f"{API}/waves/1/report")
    assert report.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in report.headers["content-security-policy"]
    assert report.headers["content-disposition"] == "inline"
    assert report.text.lstrip().lower().startswith("<!doctype html>")

    archive = zipfile.ZipFile(io.BytesIO(client.get(f"{API}/waves/1/archive").content))
    assert {name: archive.read(name) for name in archive.namelist()} == {
        file.name: file.read_bytes() for file in stored.evaluation.iterdir()
    }


@pytest.mark.parametrize("place", ["waves/2", "other/1"])
@pytest.mark.parametrize("what", ["", "/curves", "/archive", "/report"])
def test_what_is_not_stored_is_not_found(client, stored, place, what):
    answer = client.get(f"{API}/{place}{what}")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:ktrdr:problem:not-found")


def test_what_is_damaged_is_listed_with_the_reason_and_refused(client, stored, home):
    file = home / "evaluations" / "waves" / "1" / "evaluation.json"
    file.write_text(file.read_text()[:-10])
    (listed,) = client.get(API).json()
    assert (listed["evaluation"], listed["folds"]) == ("waves/1", None)
    assert listed["problem"]
    answer = client.get(f"{API}/waves/1")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:ktrdr:problem:bad-input")
