"""Start trainings from stored evaluations, and backtests of the reserve."""

from __future__ import annotations

import shutil

import pytest

from ktrdr.api.routes.strategies import EXAMPLE
from ktrdr.core.jobs.job_settings import TrainingSettings
from ktrdr.core.validation.stored_evaluation import load_evaluation
from ktrdr.core.workflows.run_training import train

API = "/api/v1/trainings"


@pytest.fixture
def stored(home, made_home):
    """The facts of the evaluation that is stored in the home of the server."""
    shutil.copytree(made_home.path / "evaluations", home / "evaluations")
    shutil.copytree(made_home.path / "data", home / "data", dirs_exist_ok=True)
    return load_evaluation(made_home.evaluation.parent.name, home / "evaluations").facts


def test_the_job_has_the_text_and_the_number_of_the_evaluation(client, stored, home):
    name = stored.evaluation.partition("/")[0]
    answer = client.post(API, json={"evaluation": name})
    assert answer.status_code == 202, answer.text
    job = client.get(answer.headers["location"]).json()["job"]
    assert job["evaluation"] == stored.evaluation
    assert job["strategy"] == load_evaluation(name, home / "evaluations").text
    assert answer.json()["requires"] == ["ml-example"]


REFUSED = [
    (
        {"evaluation": "{name}", "strategy_text": EXAMPLE},
        422,
        "give exactly one of `strategy`, `strategy_text` and `evaluation`",
    ),
    ({"evaluation": "{name}", "strategy": "x"}, 422, "exactly one"),
    ({"evaluation": "absent"}, 404, "there is no evaluation of `absent`"),
    ({"evaluation": "{name}/9"}, 404, "has no evaluation 9"),
    ({"evaluation": "../x"}, 422, "body.evaluation: must be written like rsi_reversion/1, not '../x'"),
    ({"evaluation": "{name}", "epochs": 3}, 422, "leave out `epochs`"),
    ({"evaluation": "{name}", "symbols": ["EURUSD"]}, 422, "leave out `symbols`"),
]


@pytest.mark.parametrize(("body", "status", "said"), REFUSED)
def test_what_cannot_be_trained_is_refused_and_leaves_nothing(client, stored, body, status, said):
    name = stored.evaluation.partition("/")[0]
    filled = {key: value.format(name=name) if isinstance(value, str) and "{name}" in value else value
              for key, value in body.items()}  # fmt: skip
    answer = client.post(API, json=filled)
    assert answer.status_code == status
    assert said in answer.text
    assert client.get("/api/v1/operations").json()["items"] == []


def test_a_damaged_evaluation_is_refused(client, stored, home):
    (home / "evaluations" / stored.evaluation / "strategy.json").write_text("{")
    answer = client.post(API, json={"evaluation": stored.evaluation})
    assert answer.status_code == 422
    assert stored.evaluation in answer.json()["detail"]


@pytest.mark.parametrize("path", ["backtests", "sweeps"])
def test_the_stored_predictions_are_traded_without_a_choice_of_what_predicts(client, stored, made_home, path):
    result = train(None, TrainingSettings(evaluation=stored.evaluation), plugins=made_home.plugins)
    asked = {"model": result.bundle.ref}
    if path == "sweeps":
        asked["settings"] = {"risk.stop_loss.percent": [1.0, 2.0]}
    for option in ({"inference": "portable"}, {"device": "cuda"}):
        answer = client.post(f"/api/v1/{path}", json={**asked, **option})
        assert answer.status_code == 422, answer.text
        assert "leave out --" in answer.text
    answer = client.post(f"/api/v1/{path}", json=asked)
    assert answer.status_code == 202, answer.text
    assert answer.json()["requires"] == ["backtest"]
    assert client.get(answer.headers["location"]).json()["job"]["inference"] == "auto"


def test_an_opened_reserve_is_part_of_the_job_and_none_of_a_sweep(client, home, made_home):
    shutil.copytree(made_home.path / "models", home / "models")
    shutil.copytree(made_home.path / "data", home / "data", dirs_exist_ok=True)
    model = made_home.result["model"]
    answer = client.post("/api/v1/backtests", json={"model": model, "reserve": True})
    assert answer.status_code == 202, answer.text
    assert client.get(answer.headers["location"]).json()["job"]["reserve"] is True
    settings = {"risk.stop_loss.percent": [1.0, 2.0]}
    answer = client.post("/api/v1/sweeps", json={"model": model, "settings": settings, "reserve": True})
    assert answer.status_code == 422
    assert "reserve" in answer.text
