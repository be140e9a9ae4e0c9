"""`ktrdr explain`: what a model saw and said at one bar, against the bundle and the bars themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.backtesting.signals import decide
from ktrdr.core.cli.main import main
from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.sample import install_sample, sample_bars
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.indicators.computation import compute_indicator
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.plugins import Rule, manager
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.workflows.run_training import train as train_strategy

Run = Callable[..., tuple[int, str, str]]

TEXT = """
name: waves
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: multi_timeframe, list: [1h, 4h], base_timeframe: 1h}
  date_range: {start: 2017-02-01, end: 2017-03-31}
indicators: {rsi_14: {type: rsi, period: 14}, roc_5: {type: roc, period: 5}}
fuzzy_sets:
  rsi: {indicator: rsi_14, low: [0, 25, 45], middle: [30, 50, 70], high: [55, 75, 100]}
nn_inputs:
  - {fuzzy_set: rsi, timeframes: all, lags: [2]}
  - {raw_indicator: roc_5, timeframes: [1h]}
model: {type: softmax_regression}
decisions: {confidence_threshold: 0.4}
training:
  labels: {source: direction, horizon: 4, threshold: 0.0005}
  epochs: 4
  batch_size: 64
  learning_rate: 0.5
"""


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example_plugins: PluginManager) -> Bundle:
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(manager, "default_manager", lambda: example_plugins)
    install_sample(default_store())
    loaded = load_strategy_text(TEXT, plugins=example_plugins)
    return train_strategy(loaded, plugins=example_plugins).bundle


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def execute(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return execute


@pytest.fixture
def probabilities(bundle: Bundle, example_plugins: PluginManager) -> tuple[np.ndarray, np.ndarray]:
    """Times and the model's outputs from the start of its training data on, as a backtest gets them."""
    from ktrdr.core.features.inputs import stored_inputs

    bars = stored_inputs(default_store(), "EURUSD", ("1h", "4h"), np.datetime64("2017-02-01", "ns"))
    matrix = FeaturePipeline(bundle.strategy).with_normalizers(bundle.normalizers()).transform(bars)
    return matrix.time, bundle.load_predictor(example_plugins).predict(matrix.values)


def explained(run: Run, *arguments: str) -> dict[str, Any]:
    status, out, err = run("explain", "waves", "--json", *arguments)
    assert (status, err) == (0, "")
    return json.loads(out)


def test_outputs_and_decision_are_those_of_the_model(
    run: Run, bundle: Bundle, probabilities: tuple[np.ndarray, np.ndarray]
) -> None:
    time, outputs = probabilities
    direction = decide(outputs, bundle.strategy.decisions, np.ones(len(time))).direction
    for row in (300, 1500, int(np.flatnonzero(direction)[0]), len(time) - 1):
        found = explained(run, "--at", str(time[row]))
        assert found["time"] == str(time[row])[:16].replace("T", " ")
        np.testing.assert_allclose(list(found["outputs"].values()), outputs[row], atol=1e-9)
        assert found["decision"] == {1: "BUY", -1: "SELL", 0: "HOLD"}[int(direction[row])]


def test_by_default_it_is_the_latest_decision(
    run: Run, bundle: Bundle, probabilities: tuple[np.ndarray, np.ndarray]
) -> None:
    time, outputs = probabilities
    direction = decide(outputs, bundle.strategy.decisions, np.ones(len(time))).direction
    last = int(np.flatnonzero(direction)[-1])
    found = explained(run)
    assert found["time"] == str(time[last])[:16].replace("T", " ")
    assert found["decision"] in ("BUY", "SELL")
    assert "above the confidence_threshold of 0.4" in found["reason"]


def test_values_and_memberships_are_those_of_the_visible_bars(run: Run, bundle: Bundle) -> None:
    found = explained(run, "--at", "2017-06-14T13:30")
    assert found["time"] == "2017-06-14 13:00"
    assert found["known_at"] == "2017-06-14 14:00"
    inputs = {entry["id"]: entry for entry in found["inputs"]}
    assert list(inputs) == list(bundle.manifest.feature_ids)
    bars = sample_bars().between(np.datetime64("2017-02-01"), None)
    rsi = compute_indicator("rsi", bundle.strategy.indicators["rsi_14"].parameters, bars)["rsi"]
    row = int(np.searchsorted(bars.time, np.datetime64("2017-06-14T13:00")))
    for name, lag in (("1h_rsi_middle", 0), ("1h_rsi_middle_lag2", 2)):
        assert inputs[name]["value"] == pytest.approx(rsi[row - lag])
        degree = max(0.0, min((rsi[row - lag] - 30) / 20, (70 - rsi[row - lag]) / 20))
        assert inputs[name]["degree"] == pytest.approx(degree)
        assert inputs[name]["seen"] == pytest.approx(degree, abs=1e-6)
    # At 14:00 the 4h bar of 08:00 is the last whole one; with a lag of two hours too.
    assert inputs["4h_rsi_low"]["value"] == inputs["4h_rsi_low_lag2"]["value"]
    later = {entry["id"]: entry for entry in explained(run, "--at", "2017-06-14T15:00")["inputs"]}
    assert later["4h_rsi_low"]["value"] != inputs["4h_rsi_low"]["value"]
    assert later["4h_rsi_low_lag2"]["value"] == inputs["4h_rsi_low"]["value"]
    # Raw: its own units, and the normalized number the model gets.
    roc = inputs["1h_roc_5_raw"]
    normalizer = bundle.normalizers()["EURUSD"]["1h_roc_5_raw"]
    assert roc["seen"] == pytest.approx((roc["value"] - normalizer["offset"]) / normalizer["scale"], rel=1e-5)
    assert roc["degree"] is None


def test_a_model_that_cannot_say_what_inputs_add(run: Run, bundle: Bundle) -> None:
    status, out, _ = run("explain", "waves/1", "--at", "2017-06-14T13:00")
    assert status == 0
    assert "waves/1 on EURUSD 1h: bar of 2017-06-14 13:00, decided at its close, 2017-06-14 14:00 UTC" in out
    assert "Models of this type do not give the contribution of each input." in out
    assert "rules" not in out


@pytest.fixture
def talkative(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the example's predictor what a torch model offers: contributions (made up: feature f adds f / 100), and
    rules. Its twin does not have them, so the tests ask for native prediction."""
    from ktrdr_ml_example.model import SoftmaxPredictor

    def contributions(self: Any, features: np.ndarray) -> np.ndarray:
        assert len(features) == self.window
        return np.tile(np.arange(features.shape[1])[:, None] / 100, (len(features), 1, 3))

    def rules(self: Any) -> Sequence[Rule]:
        return [
            Rule((("rsi", "low"),), 0.75, {"BUY": 0.9, "HOLD": 0.1, "SELL": 0.0}, "if rsi is low then BUY 90%"),
            *(Rule((("rsi", "high"),), 0.01, {"BUY": 0.0}, f"rule {number}") for number in range(25)),
        ]

    monkeypatch.setattr(SoftmaxPredictor, "contributions", contributions, raising=False)
    monkeypatch.setattr(SoftmaxPredictor, "rules", rules, raising=False)


@pytest.mark.usefixtures("talkative")
def test_a_majority_vote_is_the_reason_for_no_contributions(run: Run, example_plugins: PluginManager) -> None:
    ensemble = "{type: ensemble, of: {type: softmax_regression}, vote: VOTE, members: {seeds: 2}}"
    text = TEXT.replace("{type: softmax_regression}", ensemble)
    for vote in ("majority", "average"):
        voting = load_strategy_text(text.replace("VOTE", vote).replace("waves", vote), plugins=example_plugins)
        train_strategy(voting, plugins=example_plugins)
    reason = "A majority vote has no contributions of its inputs; `vote: average` has."
    assert reason in run("explain", "majority", "--inference", "native")[1]
    assert "The sum is the difference between" in run("explain", "average", "--inference", "native")[1]


@pytest.mark.usefixtures("talkative")
def test_contributions_and_rules(run: Run, bundle: Bundle) -> None:
    found = explained(run, "--at", "2017-06-14T13:00", "--inference", "native")
    ids = list(bundle.manifest.feature_ids)
    assert [entry["contributions"]["BUY"] for entry in found["inputs"]] == pytest.approx(np.arange(len(ids)) / 100)
    assert len(found["rules"]) == 26
    assert found["rules"][0]["conditions"] == [["rsi", "low"]]

    _, out, _ = run("explain", "waves", "--at", "2017-06-14T13:00", "--inference", "native")
    assert "26 rules, by weight" in out
    assert " 75.0%  if rsi is low then BUY 90%" in out
    assert "... 6 more with --json" in out
    shown = [line.split()[0] for line in out.splitlines() if line.strip().startswith(("1h_", "4h_"))]
    assert shown == ids[::-1]  # the largest first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--at", "2017-06-17T12:00"], "the nearest open at 2017-06-16 20:00 and 2017-06-18 21:00"),
        (["--at", "2017-02-01T03:00"], "because some features are missing there; the first bar with all features is"),
        (["--at", "2019-01-01"], "there is no 1h bar of EURUSD at 2019-01-01 00:00"),
        (["--at", "yesterday"], "is not a date"),
        (["--symbol", "GBPUSD"], "GBPUSD"),
    ],
)
def test_bad_input_is_one_sentence(run: Run, bundle: Bundle, arguments: list[str], message: str) -> None:
    status, out, err = run("explain", "waves", *arguments)
    assert (status, out) == (2, "")
    assert message in err


def test_a_time_before_the_training_data_can_be_explained(run: Run, bundle: Bundle) -> None:
    assert explained(run, "--at", "2017-01-20T10:00")["time"] == "2017-01-20 10:00"


def test_an_unknown_model(run: Run, bundle: Bundle) -> None:
    status, _, err = run("explain", "wave")
    assert status == 2
    assert "did you mean `waves`?" in err
