"""`ktrdr train` and `ktrdr explain`, run as a user runs them, with a backend that needs numpy alone."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ktrdr.core.cli.main import main
from ktrdr.core.cli.train import _print_metrics
from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.sample import install_sample
from ktrdr.core.models.manifest import MemberRecord
from ktrdr.core.models.member_spread import spread_of
from ktrdr.core.models.model_store import default_model_store
from ktrdr.core.plugins import manager
from ktrdr.core.plugins.manager import PluginManager

Run = Callable[..., tuple[int, str, str]]

TEXT = """
name: waves
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: single, timeframe: 1h}
  date_range: {start: 2017-01-01, end: 2017-03-31}
indicators: {rsi_14: {type: rsi, period: 14}, roc_5: {type: roc, period: 5}}
fuzzy_sets:
  rsi: {indicator: rsi_14, low: [0, 25, 45], middle: [30, 50, 70], high: [55, 75, 100]}
nn_inputs:
  - {fuzzy_set: rsi, timeframes: all, lags: [1]}
  - {raw_indicator: roc_5, timeframes: all}
model: {type: softmax_regression}
decisions: {confidence_threshold: 0.4}
training:
  labels: {source: direction, horizon: 4, threshold: 0.0005}
  epochs: 6
  batch_size: 64
  learning_rate: 0.5
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example_plugins: PluginManager) -> Path:
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(manager, "default_manager", lambda: example_plugins)
    install_sample(default_store())
    return tmp_path / "home"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def execute(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return execute


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "my waves.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


def test_it_prints_metrics_beside_baselines_importance_and_where_the_model_is(run: Run, file: str, home: Path) -> None:
    status, out, err = run("train", file)
    assert status == 0
    assert "waves/1: softmax_regression trained with example on cpu" in out
    assert "Kept: epoch " in out
    validation, test = out.split(" test  ")[0], out.split(" test  ")[1]
    for part in (validation, test):
        assert "balanced accuracy" in part
        assert "log loss" in part
    assert len(re.findall(r"model +majority +last value", out)) == 2
    assert "fuzzy set rsi" in out
    assert "raw indicator roc_5" in out
    assert re.search(r"fuzzy set rsi +[-+][0-9.]+% ± [0-9.]+% +[-+][0-9.]+% ± [0-9.]+%", out)
    assert f"Stored in {home / 'models' / 'waves' / '1'}" in out
    # Not a terminal: plain lines, one for every finished step.
    assert "training: 6/6 epochs  loss " in err
    assert "\x1b[" not in err
    assert [line.split(":")[0] for line in err.splitlines() if line.startswith(("data", "saving"))] == [
        "data",
        "saving",
    ]


def test_too_little_to_learn_and_to_judge_by_is_said_wherever_the_result_is(run: Run, file: str) -> None:
    """Two days of hours: some twenty samples to learn from, and four to judge by."""
    days = ("--start", "2017-01-02", "--end", "2017-01-04")
    status, out, _ = run("train", file, *days)
    assert status == 0
    said = re.findall(r"^Warning: (.*)\.$", out, re.MULTILINE)
    train, test, validation = (
        re.findall(rf"^(\d+) {part} samples? (?:is|are) too few to", "\n".join(said), re.MULTILINE)
        for part in ("training", "test", "validation")
    )
    assert [len(each) for each in (train, test, validation)] == [1, 1, 1]
    model = default_model_store().get("waves/1").manifest
    assert list(model.warnings) == said
    assert int(test[0]) == model.metrics["test"]["samples"]
    assert json.loads(run("train", file, *days, "--json")[1])["warnings"] == said
    assert json.loads(run("models", "show", "waves/1", "--json")[1])["warnings"] == said


def test_a_model_below_its_baselines_is_called_that_where_they_are_shown(run: Run, file: str) -> None:
    """With a step that is far too large little can be learned."""
    Path(file).write_text(TEXT.replace("learning_rate: 0.5", "learning_rate: 8"), encoding="utf-8")
    out = run("train", file)[1]
    (said,) = re.findall(r"^Warning: (the model is below its baselines: .*)\.$", out, re.MULTILINE)
    manifest = default_model_store().get("waves/1").manifest
    assert said in manifest.warnings
    own, *others = (f"{parts['test']['log_loss']:.4g}" for parts in (manifest.metrics, *manifest.baselines.values()))
    assert f"its log loss is {own}, " in said
    assert all(f" {other}" in said for other in others)


def test_the_stored_model_shows_the_same_numbers(run: Run, file: str) -> None:
    run("train", file)
    _, out, _ = run("models", "show", "waves")
    shown = {line[:20].strip(): line[21:] for line in out.splitlines()}
    assert {"validation metrics", "test metrics", "validation majority", "test last_value"} <= set(shown)
    accuracy = default_model_store().get("waves").manifest.baselines["majority"]["test"]["accuracy"]
    assert f"accuracy {accuracy:.4g}" in shown["test majority"]


def test_json_and_nothing_else(run: Run, file: str) -> None:
    status, out, err = run("train", file, "--json", "--epochs", "2", "--seed", "9")
    assert (status, err) == (0, "")
    result = json.loads(out)
    manifest = default_model_store().get("waves").manifest
    assert result["weights_hash"] == manifest.weights_hash
    assert (result["epochs"], result["seed"]) == (2, 9)
    assert result["metrics"] == manifest.metrics


def test_with_several_seeds_the_table_has_mean_spread_and_range(run: Run, file: str) -> None:
    status, out, _ = run("train", file, "--seeds", "3", "--seed", "4")
    assert status == 0
    manifest = default_model_store().get("waves").manifest
    assert re.search(
        rf"Kept: seed {manifest.seed}, the median of 3 trained seeds by val_loss \([0-9.]+\), epoch \d of 6\.", out
    )
    assert len(re.findall(r"model +mean±sd +min\.\.max +majority +value", out)) == 2
    spread = spread_of(manifest.members, "test")["accuracy"]
    shown = f"{spread.mean:.3f}±{spread.sd:.3f} +{spread.min:.3f}\\.\\.{spread.max:.3f}"
    own, majority = manifest.metrics["test"]["accuracy"], manifest.baselines["majority"]["test"]["accuracy"]
    assert re.search(rf"accuracy +{own:.3f} +{shown} +{majority:.3f}", out.split(" test  ")[1])


def test_the_model_of_several_seeds_shows_their_spread(run: Run, file: str) -> None:
    run("train", file, "--seeds", "3")
    _, out, _ = run("models", "show", "waves")
    shown = {line[:21].strip(): line[21:].strip() for line in out.splitlines()}
    manifest = default_model_store().get("waves").manifest
    assert shown["seed"].startswith(f"{manifest.seed}, the median of 3 trained seeds by val_loss (")
    assert f"accuracy {spread_of(manifest.members, 'test')['accuracy'].sd:.4g}" in shown["test, sd"]
    assert {f"{part}, {name}" for part in manifest.metrics for name in ("mean", "min", "max")} <= set(shown)


def test_the_command_that_resumes_has_the_seeds(run: Run, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = json.loads(run("train", file, "--seeds", "3", "--json")[1])
    from ktrdr_ml_example import training

    steps = 0
    honest = training._step

    def step(*arguments: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 150:
            signal.raise_signal(signal.SIGINT)
        honest(*arguments)

    monkeypatch.setattr(training, "_step", step)
    status, _, err = run("train", file, "--seeds", "3")
    assert status == 130
    assert f"Cancelled; a checkpoint is kept. Continue with `ktrdr train '{file}' --seeds 3 --resume`." in err
    again = json.loads(run("train", file, "--seeds", "3", "--resume", "--json")[1])
    assert again["resumed"]
    for key in ("weights_hash", "members", "seed"):
        assert again[key] == whole[key]


def test_the_table_with_seeds_fits_80_characters(run: Run, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run("train", file, "--seeds", "2")
    table = out.split("validation  ")[1].split("input permuted")[0]
    assert {line.split("  ")[0].strip() for line in table.splitlines()} >= {"balanced accuracy", "macro f1", "log loss"}
    assert max(map(len, table.splitlines())) <= 80


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-5])
def test_no_number_of_the_table_with_seeds_is_broken(
    scale: float, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = ("rmse", "mae", "r2", "directional_accuracy", "information_coefficient")
    rows = [
        {name: scale * value for name, value in zip(names, own, strict=True)}
        for own in ((2.12, 1.54, -2.34, 0.5123, -0.0123), (2.1234, 1.56, -1.12, 0.5012, -0.0345))
    ]
    manifest = SimpleNamespace(
        members=[MemberRecord(seed=seed, best_epoch=1, metrics={"validation": row}) for seed, row in enumerate(rows)],
        baselines={"mean": {"validation": rows[0]}, "last_value": {"validation": rows[1]}},
    )
    _print_metrics("validation", rows[0], manifest, names)  # type: ignore[arg-type]
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for name in ("rmse", "mae", "r2", "directional", "information"):
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert re.fullmatch(r" [\w ]+ +NUM +NUM±NUM +NUM\.\.NUM +NUM +NUM".replace("NUM", r"-?\d\.\d+(e-\d\d)?"), line)


def test_overrides(run: Run, file: str) -> None:
    status, out, _ = run("train", file, "--symbols", "EURUSD", "--start", "2017-02-01", "--end", "2017-06-30", "--json")
    assert status == 0
    data = default_model_store().get("waves").strategy.training_data
    assert (str(data.date_range.start), str(data.date_range.end)) == ("2017-02-01", "2017-06-30")
    assert json.loads(out)["samples"]["train"]["EURUSD"] > 1000


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(run: Run, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = json.loads(run("train", file, "--seed", "4", "--json")[1])["weights_hash"]

    from ktrdr_ml_example import training

    steps = 0
    honest = training._step

    def step(*arguments: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 40:
            signal.raise_signal(signal.SIGINT)
        honest(*arguments)

    monkeypatch.setattr(training, "_step", step)
    status, out, err = run("train", file, "--seed", "4")
    assert (status, out) == (130, "")
    assert f"Cancelled; a checkpoint is kept. Continue with `ktrdr train '{file}' --seed 4 --resume`." in err
    assert steps == 40  # the batch under way was the last
    assert default_model_store().versions("waves") == (1,)

    status, out, _ = run("train", file, "--seed", "4", "--resume", "--json")
    assert status == 0
    assert json.loads(out)["resumed"]
    assert json.loads(out)["weights_hash"] == whole


def test_cancelled_before_training_there_is_nothing_to_resume(
    run: Run, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ktrdr.core.training import sample_set

    honest = sample_set.label_symbol

    def label(*arguments: object) -> object:
        signal.raise_signal(signal.SIGTERM)
        return honest(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sample_set, "label_symbol", label)
    status, _, err = run("train", file)
    assert status == 130
    assert "Cancelled; nothing is kept that could be resumed." in err


def test_resume_without_a_checkpoint_says_so(run: Run, file: str) -> None:
    status, out, err = run("train", file, "--resume")
    assert (status, out) == (2, "")
    assert "Error: there is nothing to resume: no checkpoint of this run of `waves`" in err
    assert "leave out --resume" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--symbols", "GBPUSD"], "GBPUSD"),
        (["--symbols", ""], "--symbols '' has an empty part"),
        (["--symbols", "EURUSD,,"], "--symbols 'EURUSD,,' has an empty part"),
        (["--symbols", "EURUSD,../x"], "--symbols[1]: '../x' cannot be a symbol"),
        (["--seed", str(2**40)], "--seed must be at most 4,294,967,295, not 1,099,511,627,776 (seed of every random"),
        (["--start", "2017-04-01"], "start (2017-04-01) after they end (2017-03-31)"),
        (["--start", "1.4.2017"], "--start: '1.4.2017' is not a date: write it as 2017-01-31"),
        (["--device", "cuda"], "there is no device `cuda` here"),
        (["--seeds", "1"], "--seeds must be at least 2, not 1 (train with this many seeds"),
        (["--seeds", "1001"], "--seeds must be at most 1,000, not 1,001"),
        (["--epochs", "0"], "--epochs must be at least 1, not 0 (passes over the training part"),
        (["--end", "2017-01-31", "--start", "2017-02-01"], "the end (2017-01-31) is before the start (2017-02-01)"),
        (["--end", "2016-12-31", "--start", "2016-01-01"], "there are no 1h bars of EURUSD"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(run: Run, file: str, arguments: list[str], message: str) -> None:
    status, out, err = run("train", file, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert default_model_store().names() == ()


def test_a_file_that_is_no_strategy(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("a: [1,\n", encoding="utf-8")
    status, _, err = run("train", str(path))
    assert status == 2
    assert "bad.yaml" in err
    assert run("train", str(tmp_path / "absent.yaml"))[0] == 2


def test_warnings_of_the_strategy_are_shown(run: Run, file: str) -> None:
    text = TEXT.replace("roc_5: {type: roc, period: 5}", "roc_5: {type: roc, period: 5}, sma_9: {type: sma, period: 9}")
    Path(file).write_text(text, encoding="utf-8")
    _, _, err = run("train", file)
    assert "Warning:" in err
    assert "`sma_9` is not used" in err
