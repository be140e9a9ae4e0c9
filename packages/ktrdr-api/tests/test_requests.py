"""What the API may be asked is what a worker may be asked: requests and jobs are made of the same settings."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ktrdr.api.routes.backtests import BacktestRequest
from ktrdr.api.routes.evaluations import EvaluationRequest
from ktrdr.api.routes.sweeps import SweepRequest
from ktrdr.api.routes.trainings import TrainingRequest
from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.kinds import BacktestJob, EvaluationJob, SweepJob, TrainingJob, parse_job

NUMBERS = st.sampled_from(
    [-1, 0, 0.5, 1, 3, 100, 1e15, 1e16, 2**32 - 1, 2**32, 2**40, 10**9, 10**9 + 1, float("inf"), float("nan"), "7", "x"]
)
DAYS = st.sampled_from([None, "2017-01-01", "2017-12-31", "2018-02-30", "yesterday"])
SYMBOLS = st.none() | st.lists(st.sampled_from(["EURUSD", "^GSPC", "A", "..", "a/b", "con", "x" * 33]), max_size=4)
DEVICES = st.sampled_from(["auto", "cpu", "cuda:1", "GPU", "", "cuda:1\n", "x" * 33])
MODELS = st.sampled_from(["a", "a/1", "a/0", "a/1/2", "", "../a", "a" * 65, "a/1000000000"])
COMMON = {"symbols": SYMBOLS, "start": DAYS, "end": DAYS, "device": DEVICES, "surprise": st.just(1)}
TRADING = {**COMMON, "capital": NUMBERS, "commission": NUMBERS, "slippage": NUMBERS}
GRIDS = st.dictionaries(
    st.sampled_from(["risk.lot_size", "x" * 101]), st.lists(st.sampled_from([1, 1.5, True, None, "x"]), max_size=3)
)


def bodies(subject, optional):
    # Few at a time: of many values one is nearly always wrong.
    chosen = st.sets(st.sampled_from(sorted(optional)), max_size=3)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({**subject, **{name: optional[name] for name in names}}))


def outcome(read, refusal):
    try:
        return read()
    except refusal:
        return None


def agree(kind, request, job, body, subject):
    asked = outcome(lambda: request.model_validate(body), ValidationError)
    parsed = outcome(lambda: parse_job(kind, body if subject is None else subject), BadInputError)
    if asked is None or parsed is None:
        assert asked is parsed is None, (asked, parsed)
        return
    more = {} if subject is None else {"strategy": asked.strategy_text}
    assert asked.to(job, **more) == parsed
    assert parse_job(kind, json.loads(json.dumps(parsed.model_dump(mode="json")))) == parsed


@given(bodies({"model": MODELS}, {**TRADING, "trials": NUMBERS, "explain": NUMBERS, "seed": NUMBERS}))
def test_a_backtest_is_accepted_by_both_and_is_the_same_or_by_neither(body):
    agree("backtest", BacktestRequest, BacktestJob, body, None)


@given(bodies({"model": MODELS, "settings": GRIDS}, {**TRADING, "metric": st.sampled_from(["calmar", "x" * 41])}))
def test_a_sweep_is_accepted_by_both_and_is_the_same_or_by_neither(body):
    agree("sweep", SweepRequest, SweepJob, body, None)


TEXTS = {"strategy_text": st.sampled_from(["name: a", "", "x" * 131_073])}


def named(body):
    subject = {**body, "strategy": body["strategy_text"]}
    del subject["strategy_text"]
    return subject


@given(bodies(TEXTS, {**COMMON, "epochs": NUMBERS}))
def test_a_training_is_accepted_by_both_and_is_the_same_or_by_neither(body):
    agree("training", TrainingRequest, TrainingJob, body, named(body))


@given(bodies(TEXTS, {**TRADING, "epochs": NUMBERS, "seeds": NUMBERS, "trials": NUMBERS, "reserve": st.booleans()}))
def test_an_evaluation_is_accepted_by_both_and_is_the_same_or_by_neither(body):
    agree("evaluation", EvaluationRequest, EvaluationJob, body, named(body))


PLANTED = """
import importlib.util, json, re, sys
from pathlib import Path
spec = importlib.util.find_spec("ktrdr.core.jobs.job_settings")
line = 'planted: int = Field(default=7, ge=3, le=9, description="Planted here alone.")'
head = rf"(class {sys.argv[1]}\\(\\w+\\):\\n    \\"\\"\\".*?\\"\\"\\"\\n)"
text, found = re.subn(head, rf"\\1    {line}\\n", Path(spec.origin).read_text(), flags=re.S)
assert found == 1
module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
exec(compile(text, spec.origin, "exec"), module.__dict__)

from click.testing import CliRunner
from ktrdr.api.app import create_app
from ktrdr.core.cli.main import cli
from ktrdr.core.jobs.kinds import parse_job
schemas = create_app().openapi()["components"]["schemas"]
subjects = {
    "training": {"strategy": "a"},
    "evaluation": {"strategy": "a"},
    "backtest": {"model": "a"},
    "sweep": {"model": "a", "settings": {"x": [1]}},
}
print(json.dumps({
    kind: {
        "help": " ".join(CliRunner().invoke(cli, [command, "--help"]).output.split()),
        "schema": schemas[f"{kind.title()}Request"]["properties"].get("planted"),
        "job": parse_job(kind, subject).model_dump(mode="json").get("planted"),
    }
    for (kind, subject), command in zip(subjects.items(), ("train", "evaluate", "backtest", "sweep"))
}))
"""


@pytest.mark.parametrize(
    ("place", "kinds"),
    [
        ("TrainingSettings", {"training"}),
        ("EvaluationSettings", {"evaluation"}),
        ("TradingSettings", {"backtest", "sweep"}),
        ("AccountSettings", {"evaluation", "backtest", "sweep"}),
    ],
)
def test_a_field_is_added_in_one_place(place, kinds):
    """One line in the class of the settings: option, request and job have it."""
    done = subprocess.run([sys.executable, "-c", PLANTED, place], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for kind, seen in json.loads(done.stdout).items():
        if kind in kinds:
            assert "--planted INTEGER Planted here alone. [default: 7; >=3, <=9]" in seen["help"]
            schema = {key: seen["schema"][key] for key in ("type", "default", "minimum", "maximum", "description")}
            assert list(schema.values()) == ["integer", 7, 3, 9, "Planted here alone."]
            assert seen["job"] == 7
        else:
            assert "--planted" not in seen["help"]
            assert (seen["schema"], seen["job"]) == (None, None)


STARTS = {
    "trainings": {"strategy": "rsi_reversion"},
    "evaluations": {"strategy": "rsi_reversion"},
    "backtests": {"model": "waves"},
    "sweeps": {"model": "waves", "settings": {"risk.max_holding_period": [5, None]}},
}


@pytest.fixture
def stocked(client, home, made_home):
    from ktrdr.api.routes.strategies import EXAMPLE

    for name in ("models", "data"):
        shutil.copytree(made_home.path / name, home / name)
    client.put("/api/v1/strategies/rsi_reversion", content=EXAMPLE)
    return client


@pytest.mark.parametrize("path", STARTS)
def test_symbols_that_cannot_be_worked_on_are_refused_at_once(stocked, path):
    def start(*symbols):
        return stocked.post(f"/api/v1/{path}", json={**STARTS[path], "symbols": symbols})

    twice = start("EURUSD", "EURUSD")
    assert twice.status_code == 422
    assert "`EURUSD` is given twice" in twice.json()["detail"]
    absent = start("EURUSD", "GBPUSD")
    assert absent.status_code == 422
    assert absent.json()["type"] == "urn:ktrdr:problem:unknown-symbol"
    assert absent.json()["field"] == "body.symbols"
    assert absent.json()["detail"] == "there are no bars of GBPUSD on this server; stored are EURUSD"
    assert start("eurusd").json()["detail"].endswith("; stored are EURUSD, did you mean `EURUSD`?")
    assert stocked.get("/api/v1/operations").json()["items"] == []
    assert start("EURUSD").status_code == 202


@pytest.mark.parametrize("path", STARTS)
@pytest.mark.parametrize("field", ["start", "end"])
def test_days_are_refused_in_the_words_of_the_command_line(stocked, path, field):
    answer = stocked.post(f"/api/v1/{path}", json={**STARTS[path], field: "2017-02-30"})
    said = f"body.{field}: '2017-02-30' is not a date: day is out of range for month; write it as 2017-01-31"
    assert (answer.status_code, answer.json()["detail"]) == (422, said)


@pytest.mark.parametrize("question", ["data/EURUSD/1h?start=noon", "data/EURUSD/1h/parquet?end=noon"])
def test_times_are_refused_in_the_words_of_the_command_line(stocked, question):
    answer = stocked.get(f"/api/v1/{question}")
    field = question.partition("?")[2].partition("=")[0]
    said = f"query.{field}: 'noon' is not a date: write it as 2017-01-31 or 2017-01-31T14:00 (UTC)"
    assert (answer.status_code, answer.json()["detail"]) == (422, said)


def test_where_nothing_is_stored_that_is_said(client):
    from ktrdr.api.routes.strategies import EXAMPLE

    answer = client.post("/api/v1/trainings", json={"strategy_text": EXAMPLE, "symbols": ["EURUSD"]})
    assert (answer.status_code, "nothing is stored yet" in answer.json()["detail"]) == (422, True)


MANY = {
    "symbols": ("/trainings", {"strategy": "a", "symbols": [1] * 5000}),
    "no symbols": ("/backtests", {"model": "a", "symbols": {str(number): 1 for number in range(5000)}}),
    "keys": ("/backtests", {str(number): 1 for number in range(5000)}),
    "keys to sweep": ("/sweeps", {"model": "a", "settings": {str(number): [{}] for number in range(5000)}}),
    "values to sweep": ("/sweeps", {"model": "a", "settings": {"risk.lot_size": [{}] * 5000}}),
    "memberships": ("/fuzzy/calculate", {"memberships": {str(number): [{}] for number in range(5000)}}),
    "numbers of a membership": ("/fuzzy/calculate", {"memberships": {"low": [{}] * 5000}}),
    "keys of a function": ("/fuzzy/calculate", {"memberships": {"low": {str(number): 1 for number in range(5000)}}}),
    "parameters": ("/indicators/rsi/calculate", {"parameters": {str(number): [{}] for number in range(5000)}}),
    "numbers of a parameter": ("/indicators/rsi/calculate", {"parameters": {"period": [{}] * 5000}}),
}


@pytest.mark.parametrize("kind", sorted(MANY))
def test_thousands_of_wrong_values_are_a_few_errors(client, kind):
    """Each would be an error of its own otherwise, and a body may hold hundreds of thousands."""
    path, body = MANY[kind]
    answer = client.post(f"/api/v1{path}", json=body)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) < 15


@pytest.mark.parametrize(
    "body",
    [
        rb'{"strategy": "\ud800"}',
        rb'{"strategy": "a", "symbols": ["\udfff"]}',
        rb'{"\ud800": 1}',
        rb'{"model": "a", "settings": {"\ud800": ["\ud800"]}}',
        rb'{"strategy_text": "name: \ud800"}',
    ],
)
@pytest.mark.parametrize("path", ["trainings", "evaluations", "backtests", "sweeps", "fuzzy/calculate"])
def test_half_a_character_is_the_clients_fault(client, path, body):
    answer = client.post(f"/api/v1/{path}", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:ktrdr:problem:invalid-request"
