"""`ktrdr cache` shows and clears what trainings and backtests keep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ktrdr.core.cli.main import cli, main
from ktrdr.core.jobs.job_settings import BacktestSettings, TrainingSettings
from ktrdr.core.work.progress import ProgressEvent
from ktrdr.core.workflows.run_backtest import backtest
from ktrdr.core.workflows.run_training import train


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["cache", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_an_empty_cache(home):
    assert json.loads(run("show", "--json")) == {
        "place": str(home / "cache"),
        "entries": 0,
        "bytes": 0,
        "limit": 2 * 2**30,
    }
    assert run("clear") == f"Removed 0 entries (0 bytes) from {home / 'cache'}.\n"
    assert not (home / "cache").exists()


def test_what_trainings_and_backtests_keep_is_shown_and_removed(home, write_strategy):
    trained = train(write_strategy("waves"), TrainingSettings(epochs=1))
    # One indicator, the rows with all features, and the matrix.
    assert json.loads(run("show", "--json"))["entries"] == 3
    first = backtest(trained.bundle, BacktestSettings())
    # The bars of a backtest are others than those of the training.
    shown = json.loads(run("show", "--json"))
    files = [path for path in (home / "cache").iterdir() if path.name != ".lock"]
    assert (shown["entries"], shown["bytes"]) == (4, sum(path.stat().st_size for path in files))
    assert run("show").splitlines() == [
        f"place    {home / 'cache'}",
        "entries  4",
        f"size     {shown['bytes']:,} bytes",
        "limit    2,147,483,648 bytes",
    ]
    again = backtest(trained.bundle, BacktestSettings())
    assert json.loads(run("show", "--json"))["entries"] == 4
    assert again.to_json()["metrics"]["final_equity"] == first.to_json()["metrics"]["final_equity"]
    assert json.loads(run("clear", "--json")) == {
        "place": str(home / "cache"),
        "entries": 4,
        "bytes": shown["bytes"],
    }
    assert json.loads(run("show", "--json"))["entries"] == 0


def test_a_limit_of_0_turns_it_off(home, write_strategy, monkeypatch):
    monkeypatch.setenv("KTRDR_CACHE_LIMIT", "0")
    train(write_strategy("waves"), TrainingSettings(epochs=1))
    assert not (home / "cache").exists()
    assert "limit    0: the cache is off (KTRDR_CACHE_LIMIT)" in run("show")


@pytest.mark.parametrize("command", [("cache", "show"), ("cache", "clear"), ("train", "waves.yaml")])
def test_a_wrong_limit_is_one_sentence(home, write_strategy, monkeypatch, capsys, command):
    path = write_strategy("waves")
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("KTRDR_CACHE_LIMIT", "2G")
    with pytest.raises(SystemExit) as ended:
        main(list(command))
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error == (
        "Error: KTRDR_CACHE_LIMIT is not a size: '2G'; set it to a number of bytes such as 500MB or 2GiB, or to 0 to"
        " turn the cache off\n"
    )
    monkeypatch.setenv("KTRDR_CACHE_LIMIT", "2GiB")
    assert main_status(*command) == 0


def main_status(*command: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(command))
    return int(ended.value.code or 0)


def test_a_person_sees_why_features_are_not_kept(home, write_strategy):
    (home / "cache").write_text("in the way", encoding="utf-8")
    events: list[ProgressEvent] = []
    train(write_strategy("waves"), TrainingSettings(epochs=1), progress=events.append)
    notes = [event for event in events if event.step == "cache"]
    assert [(note.fraction, note.message) for note in notes] == [
        (1.0, f"features are not kept in the cache: cannot write {home / 'cache'}: File exists; nothing was written")
    ]


def test_a_cache_that_cannot_be_read(home, monkeypatch, capsys):
    (home / "cache").mkdir()

    def refuse(place: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("ktrdr.core.cache.array_cache.os.scandir", refuse)
    assert main_status("cache", "show") == 1
    assert capsys.readouterr().err == (
        f"Error: cannot read the cache {home / 'cache'}: Permission denied; correct its permissions\n"
    )
