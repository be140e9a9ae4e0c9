"""`ktrdr evaluate`, run as a user runs it, with a backend that needs numpy alone."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ktrdr.core.cli.main import main
from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.sample import install_sample
from ktrdr.core.plugins import manager
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.validation.stored_evaluation import load_evaluation

Run = Callable[..., tuple[int, str, str]]

TEXT = """
name: waves
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: single, timeframe: 1h}
  date_range: {start: 2017-01-01, end: 2017-03-31}
indicators: {rsi_14: {type: rsi, period: 14}}
fuzzy_sets:
  rsi: {indicator: rsi_14, low: [0, 25, 45], middle: [30, 50, 70], high: [55, 75, 100]}
nn_inputs: [{fuzzy_set: rsi, timeframes: all}]
model: {type: softmax_regression}
decisions: {confidence_threshold: 0.34}
training:
  labels: {source: direction, horizon: 4, threshold: 0.0005}
  epochs: 3
  batch_size: 64
  learning_rate: 0.5
validation: {type: walk_forward, train: 6w, test: 2w, anchored: true, reserve: 0.2}
"""
# What depends on the machine and on what the ledger has seen.
OF_THE_RUN = {"evaluation", "seconds", "trial_count", "directory", "report"}


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


def test_it_prints_the_result_and_where_it_is_stored_with_its_report(run: Run, file: str, home: Path) -> None:
    status, out, err = run("evaluate", file, "--seeds", "2", "--commission", "0.0001")
    assert status == 0, err
    facts = load_evaluation("waves/1").facts
    assert (facts.evaluation, facts.validation.type, len(facts.seeds)) == ("waves/1", "walk_forward", 2)
    assert facts.account["commission"] == 0.0001
    directory = home / "evaluations" / "waves" / "1"
    assert re.search(r"^Evaluation +waves/1$", out, re.MULTILINE)
    assert re.search(rf"^Files +{directory}$", out, re.MULTILINE)
    assert re.search(rf"^Report +{directory / 'report.html'}$", out, re.MULTILINE)
    assert "Next: `ktrdr train --from waves/1`" in out
    report = (directory / "report.html").read_text(encoding="utf-8")
    assert report.lower().startswith("<!doctype html>")
    # Not a terminal: plain lines, one for every finished step.
    assert "\x1b[" not in err
    assert re.search(r"^training: ", err, re.MULTILINE)


def test_json_and_nothing_else(run: Run, file: str, home: Path, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere.html"
    arguments = ("--seeds", "1", "--seed", "9", "--epochs", "1", "--json", "--report", str(place))
    status, out, err = run("evaluate", file, *arguments)
    assert (status, err) == (0, "")
    told = json.loads(out)
    stored = load_evaluation("waves/1").facts.model_dump(mode="json")
    assert {key: told[key] for key in stored} == stored
    assert (told["seeds"], told["directory"]) == ([9], str(home / "evaluations" / "waves" / "1"))
    assert told["report"] == str(place)
    assert place.is_file()
    assert not (home / "evaluations" / "waves" / "1" / "report.html").exists()
    assert max(seed["best_epoch"] for fold in told["folds"] for seed in fold["seeds"]) == 1


def test_each_is_stored_as_the_next_and_counted(run: Run, file: str) -> None:
    first = json.loads(run("evaluate", file, "--seeds", "1", "--json")[1])
    second = json.loads(run("evaluate", file, "--seeds", "1", "--epochs", "2", "--json")[1])
    assert [each["evaluation"] for each in (first, second)] == ["waves/1", "waves/2"]
    assert [each["trial_count"]["number"] for each in (first, second)] == [1, 2]
    more = json.loads(run("evaluate", file, "--seeds", "1", "--trials", "40", "--json")[1])
    assert more["trial_count"]["number"] == 42


def test_ctrl_c_keeps_what_is_trained_and_says_how_to_go_on(
    run: Run, file: str, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    arguments = ("--seed", "4", "--seeds", "2")
    whole = json.loads(run("evaluate", file, *arguments, "--json")[1])
    from ktrdr_ml_example import training

    steps = 0
    honest = training._step

    def step(*given: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 100:
            signal.raise_signal(signal.SIGINT)
        honest(*given)

    monkeypatch.setattr(training, "_step", step)
    status, out, err = run("evaluate", file, *arguments)
    assert (status, out) == (130, "")
    command = f"ktrdr evaluate '{file}' --seed 4 --seeds 2 --resume"
    assert f"Cancelled; the finished trainings are kept. Continue with `{command}`." in err
    assert steps == 100  # the batch under way was the last
    assert [path.name for path in (home / "evaluations" / "waves").iterdir() if path.name[0] != "."] == ["1"]
    status, out, err = run("evaluate", file, *arguments, "--resume", "--json")
    assert status == 0, err
    again = json.loads(out)
    assert {key: value for key, value in again.items() if key not in OF_THE_RUN} == {
        key: value for key, value in whole.items() if key not in OF_THE_RUN
    }
    # It is the same trial, which has been counted already.
    assert again["trial_count"]["number"] == whole["trial_count"]["number"] == 1


def test_resume_without_anything_kept_says_so(run: Run, file: str, home: Path) -> None:
    status, out, err = run("evaluate", file, "--resume")
    assert (status, out) == (2, "")
    assert "Error: there is nothing to resume" in err
    assert "leave out --resume to begin from the start" in err
    assert not (home / "evaluations").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--symbols", "GBPUSD"], "GBPUSD"),
        (["--symbols", "EURUSD,,"], "--symbols 'EURUSD,,' has an empty part"),
        (["--seed", str(2**40)], "--seed must be at most 4,294,967,295, not 1,099,511,627,776"),
        (["--seeds", "0"], "--seeds must be at least 1, not 0 (trainings of each fold"),
        (["--seeds", "1001"], "--seeds must be at most 1,000, not 1,001"),
        (["--epochs", "0"], "--epochs must be at least 1, not 0"),
        (["--capital", "0"], "--capital must be above 0, not 0"),
        (["--commission", "2"], "--commission must be below 1, not 2"),
        (["--start", "2017-04-01"], "start (2017-04-01) after they end (2017-03-31)"),
        (["--end", "2017-01-31", "--start", "2017-02-01"], "the end (2017-01-31) is before the start (2017-02-01)"),
        (["--end", "2016-12-31", "--start", "2016-01-01"], "there are no 1h bars of EURUSD"),
        (["--device", "cuda"], "there is no device `cuda` here"),
        (["--report", "."], "--report . is a directory"),
        (["--start", "2017-02-20"], "`validation.train: 6w` leaves no bar to test"),
        (["--start", "2017-03-20"], "EURUSD has no 1h bars before the reserve, which begins at 2017-03-14 21:00"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    run: Run, file: str, home: Path, arguments: list[str], message: str
) -> None:
    status, out, err = run("evaluate", file, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not (home / "evaluations").exists()


def test_a_split_beside_the_section_is_refused_with_the_remedy(run: Run, file: str, home: Path) -> None:
    text = TEXT.replace("  epochs: 3\n", "  epochs: 3\n  data_split: {train: 0.7, validation: 0.15, test: 0.15}\n")
    Path(file).write_text(text, encoding="utf-8")
    status, _, err = run("evaluate", file)
    assert status == 2
    assert "data_split" in err
    assert "holdout" in err


def test_warnings_of_the_strategy_are_shown(run: Run, file: str) -> None:
    text = TEXT.replace("indicators: {", "indicators: {sma_9: {type: sma, period: 9}, ")
    Path(file).write_text(text, encoding="utf-8")
    _, _, err = run("evaluate", file, "--seeds", "1", "--epochs", "1")
    assert "Warning:" in err
    assert "`sma_9` is not used" in err
