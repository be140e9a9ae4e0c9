"""An ensemble on the command line: trained, shown, verified, moved, traded and explained as one model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ktrdr.core.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "120")

    def execute(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return execute


@pytest.fixture
def file(write_strategy: Callable[..., Path]) -> str:
    path = write_strategy("many")
    text = path.read_text(encoding="utf-8")
    ensemble = "model: {type: ensemble, of: {type: softmax_regression}, vote: majority, members: {seeds: 3}}"
    path.write_text(text.replace("model: {type: softmax_regression}", ensemble), encoding="utf-8")
    return str(path)


def test_it_is_validated_and_its_features_listed(run: Run, file: str) -> None:
    status, out, _ = run("validate", file)
    assert status == 0
    assert "valid; `many` has 3 features" in out
    assert run("strategy", "features", file)[1].count("1h_rsi_") == 3


def test_a_wrong_key_is_reported_at_its_place(run: Run, file: str) -> None:
    path = Path(file)
    path.write_text(path.read_text(encoding="utf-8").replace("seeds: 3", "seeds: 300"), encoding="utf-8")
    status, _, err = run("validate", file)
    assert status == 2
    assert "model.members.seeds: `seeds` must be at most 64, not 300" in err


def test_it_is_trained_shown_and_used_as_one_model(run: Run, file: str, home: Path, tmp_path: Path) -> None:
    status, out, _ = run("train", file)
    assert status == 0
    assert "many/1: ensemble of 3 softmax_regression trained with example on cpu" in out
    assert "Kept: all 3 members, each with its best epoch (" in out
    assert " ± " in out

    out = run("models", "show", "many")[1]
    assert "ensemble of 3 softmax_regression, classification" in out
    assert "vote                  majority" in out
    for number, seed in enumerate((1, 2, 3), 1):
        assert f"member {number}              seed {seed}, epoch " in out
    shown = json.loads(run("models", "show", "many", "--json")[1])
    assert [member["seed"] for member in shown["members"]] == [1, 2, 3]

    assert "3 x softmax_regression" in run("models", "list")[1]
    (listed,) = json.loads(run("models", "list", "--json")[1])
    assert (listed["model_type"], listed["members"]) == ("softmax_regression", 3)

    assert run("models", "verify", "many")[1].startswith("many/1: ok; the twin differs by at most ")
    status, out, _ = run("explain", "many")
    assert status == 0
    assert "Decision: " in out
    status, out, _ = run("backtest", "many", "--report")
    assert status == 0
    (report,) = (home / "runs").rglob("report.html")
    assert "ensemble of 3 softmax_regression of plugin example" in report.read_text(encoding="utf-8")
    status, out, _ = run("sweep", "many", "--set", "decisions.confidence_threshold=0.3,0.5")
    assert status == 0

    exported = tmp_path / "many.zip"
    assert run("models", "export", "many", str(exported))[0] == 0
    assert run("models", "delete", "many/1", "--yes")[0] == 0
    assert "Imported many/2" in run("models", "import", str(exported))[1]
    weights = next((home / "models" / "many" / "2" / "members" / "03").glob("weights.*"))
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    status, _, err = run("models", "verify", "many")
    assert status == 2
    assert f"members/03/{weights.name} was changed after it was saved" in err
    status, _, err = run("backtest", "many")
    assert status == 2
    assert f"members/03/{weights.name} was changed after it was saved" in err


def test_json_of_a_training_has_the_members(run: Run, file: str) -> None:
    said = json.loads(run("train", file, "--json")[1])
    assert said["best_epoch"] is None
    assert [member["seed"] for member in said["members"]] == [1, 2, 3]
    assert set(said["members"][0]["metrics"]) == {"validation", "test"}
