"""`ktrdr verdict`, run as a user runs it; the making of the verdict is replaced by one that is made up."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from ktrdr.core.cli.main import main
from ktrdr.core.cli.verdict_lines import print_verdict
from ktrdr.core.errors import CancelledError, StoreError
from ktrdr.core.jobs.job_settings import VerdictSettings
from ktrdr.core.plugins import manager
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.report import verdict_page
from ktrdr.core.strategy.loader import LoadedStrategy
from ktrdr.core.verdicts.stored_verdict import load_verdict_facts
from ktrdr.core.verdicts.verdict_estimate import VerdictEstimate
from ktrdr.core.verdicts.verdict_parts import Verdict
from ktrdr.core.workflows import run_verdict

Run = Callable[..., tuple[int, str, str]]

TEXT = """
name: made_up
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: single, timeframe: 1h}
indicators: {rsi_14: {type: rsi, period: 14}}
fuzzy_sets:
  rsi: {indicator: rsi_14, low: [0, 25, 45], middle: [30, 50, 70], high: [55, 75, 100]}
nn_inputs: [{fuzzy_set: rsi, timeframes: all}]
model: {type: softmax_regression}
decisions: {confidence_threshold: 0.34}
training:
  labels: {source: direction, horizon: 4, threshold: 0.0005}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example_plugins: PluginManager) -> Path:
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(manager, "default_manager", lambda: example_plugins)
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
    path = tmp_path / "my strategy.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch, made_verdict: Callable[..., Verdict]) -> Callable[[str], list[Any]]:
    """Return ``judged(word)``, which makes every verdict that word, and returns the list of what was asked."""

    def become(word: str) -> list[Any]:
        asked: list[Any] = []

        def judge(strategy: LoadedStrategy, settings: VerdictSettings, *, resume: bool, **more: Any) -> Verdict:
            asked.append((strategy.strategy.name, settings, resume))
            return made_verdict(word, quick=settings.quick)

        monkeypatch.setattr(run_verdict, "judge", judge)
        return asked

    return become


@pytest.mark.parametrize(("word", "expected"), [("EDGE", 0), ("NOT PROVEN", 3), ("NONE", 4), ("INVALID", 5)])
def test_the_word_is_the_exit_status_and_everything_is_stored(
    run: Run, file: str, home: Path, judged: Callable[[str], list[Any]], word: str, expected: int
) -> None:
    asked = judged(word)
    status, out, _ = run("verdict", file, "--commission", "0.0002")
    assert status == expected
    assert asked == [("made_up", VerdictSettings(commission=0.0002), False)]
    facts = load_verdict_facts("made_up/1")
    assert facts.word == word
    assert word in out
    directory = home / "verdicts" / "made_up" / "1"
    assert re.search(r"^Verdict +made_up/1$", out, re.MULTILINE)
    assert bool(re.search(r"^Evaluation +made_up/1$", out, re.MULTILINE)) is (word != "INVALID")
    assert (home / "evaluations" / "made_up" / "1").is_dir() is (word != "INVALID")
    assert re.search(rf"^Files +{directory}$", out, re.MULTILINE)
    assert (directory / "report.html").read_text(encoding="utf-8").lower().startswith("<!doctype html>")


@pytest.mark.parametrize(("name", "value", "styled"), [("NO_COLOR", "1", False), ("TERM", "xterm", True)])
def test_a_verdict_has_no_escape_codes_where_the_user_wants_none(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    made_verdict: Callable[..., Verdict],
    name: str,
    value: str,
    styled: bool,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    warnings = ("something is odd", "word " * 40 + "end")
    facts = made_verdict("NOT PROVEN").facts.model_copy(update={"warnings": warnings})
    with click.Context(click.Command("verdict"), color=True).scope():
        print_verdict(facts)
    out = capsys.readouterr().out
    assert "Warning: something is odd." in out
    (rest,) = [line for line in out.splitlines() if "word end." in line]
    assert "Warning" not in rest
    assert ("\x1b[" in out) is styled


def test_what_comes_next_is_a_command(run: Run, file: str, judged: Callable[[str], list[Any]]) -> None:
    judged("EDGE")
    assert run("verdict", file)[1].endswith("\nNext: `ktrdr train --from made_up/1` trains the model to use.\n")
    again = f"`ktrdr verdict '{file}' --commission 0.00002`"
    quick = ("verdict", file, "--quick", "--commission", "2e-5")
    assert run(*quick)[1].endswith(f"\nNext: {again} judges in the full form.\n")
    judged("NOT PROVEN")
    told = run(*quick)[1]
    assert told.endswith(f"\nNext: read above what would change it; {again} then judges again.\n")
    for word in ("NONE", "INVALID"):
        judged(word)
        assert "Next:" not in run("verdict", file)[1]


def test_json_and_nothing_else(
    run: Run, file: str, home: Path, tmp_path: Path, judged: Callable[[str], list[Any]]
) -> None:
    asked = judged("NONE")
    place = tmp_path / "elsewhere.html"
    status, out, err = run("verdict", file, "--quick", "--resume", "--json", "--report", str(place))
    assert (status, err) == (4, "")
    assert asked == [("made_up", VerdictSettings(quick=True), True)]
    told = json.loads(out)
    stored = load_verdict_facts("made_up/1").model_dump(mode="json")
    assert {key: told[key] for key in stored} == stored
    assert told["directory"] == str(home / "verdicts" / "made_up" / "1")
    assert told["report"] == str(place)
    assert place.is_file()
    assert not (home / "verdicts" / "made_up" / "1" / "report.html").exists()


def test_a_cancelled_verdict_says_how_to_go_on(
    run: Run, file: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*given: Any, **more: Any) -> Verdict:
        error = CancelledError("cancelled")
        error.checkpoint = kept
        raise error

    monkeypatch.setattr(run_verdict, "judge", stop)
    kept: Path | None = tmp_path
    status, out, err = run("verdict", file, "--seeds", "6", "--commission", "0.0001")
    assert (status, out) == (130, "")
    command = f"ktrdr verdict '{file}' --commission 0.0001 --seeds 6 --resume"
    again = re.search(r"Cancelled; what is trained is kept\. Continue with `(.*)`", err)
    assert again is not None
    assert sorted(again[1].split(" --")) == sorted(command.split(" --"))
    kept = None
    assert run("verdict", file)[2].strip().endswith("Cancelled; nothing is kept that could be resumed.")
    assert not (home / "verdicts").exists()


def test_the_estimate_makes_no_verdict(
    run: Run, file: str, home: Path, monkeypatch: pytest.MonkeyPatch, judged: Callable[[str], list[Any]]
) -> None:
    asked = judged("EDGE")
    found = VerdictEstimate(seconds=200.4, trainings=1_250, worlds=240, measured=8)
    monkeypatch.setattr(run_verdict, "estimate", lambda *given, **more: found)
    status, out, _ = run("verdict", file, "--estimate")
    assert status == 0
    assert out == (
        "About 3 min 20 s on this machine: 1,250 trainings, in 240 worlds and on the real bars; measured in 8 of the"
        " worlds.\n"
    )
    assert json.loads(run("verdict", file, "--estimate", "--json")[1]) == dataclasses.asdict(found)
    assert (asked, (home / "verdicts").exists()) == ([], False)


def test_a_place_where_no_report_can_be_written_is_refused_before_anything_runs(
    run: Run, file: str, home: Path, tmp_path: Path, judged: Callable[[str], list[Any]]
) -> None:
    asked = judged("EDGE")
    for place in (Path(file) / "report.html", Path(file) / "deeper" / "report.html", tmp_path / ("x" * 300)):
        status, out, err = run("verdict", file, "--report", str(place))
        assert (status, out, asked) == (2, "", [])
        assert err.startswith(f"Error: --report {place} cannot be written: ")
        assert err.count("\n") == 1
    assert not (home / "verdicts").exists()
    before = sorted(tmp_path.iterdir())
    assert run("verdict", file, "--report", str(tmp_path / "new" / "deeper" / "report.html"))[0] == 0
    assert sorted(tmp_path.iterdir()) == sorted({*before, home, tmp_path / "new"})


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_report_that_fails_after_all_hides_no_verdict(
    run: Run, file: str, monkeypatch: pytest.MonkeyPatch, judged: Callable[[str], list[Any]], form: tuple[str, ...]
) -> None:
    def fail(*given: Any) -> Path:
        raise StoreError("the disk is full")

    judged("EDGE")
    monkeypatch.setattr(verdict_page, "write_verdict_page", fail)
    status, out, err = run("verdict", file, *form)
    assert status == StoreError.exit_status
    assert "the disk is full" in err
    assert "EDGE" in out
    assert not re.search("^Report ", out, re.MULTILINE)
    if form:
        assert (json.loads(out)["verdict"], json.loads(out)["report"]) == ("made_up/1", None)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--seeds", "4"), "--seeds must be at least 5, not 4"),
        (("--quick", "--seeds", "6"), "the quick form has one seed; leave out `--seeds`"),
        (("--quick", "--seeds", "5"), "the quick form has one seed; leave out `--seeds`"),
        (("--estimate", "--resume"), "--estimate measures on this machine and makes no verdict; leave out --resume"),
        (("--estimate", "--report", "x.html"), "makes no verdict; leave out --report"),
        (("--estimate", "--server", "http://127.0.0.1:1"), "makes no verdict; leave out --server"),
        (("--report", "."), "--report . is a directory; give the path of a file in it"),
        (("--commission", "1"), "--commission must be below 1, not 1"),
    ],
)
def test_wrong_input_is_one_sentence_and_status_2(
    run: Run, file: str, home: Path, judged: Callable[[str], list[Any]], arguments: tuple[str, ...], told: str
) -> None:
    asked = judged("EDGE")
    status, out, err = run("verdict", file, *arguments)
    assert (status, out, asked) == (2, "", [])
    assert told in err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert not (home / "verdicts").exists()


def test_a_file_that_is_not_there_is_one_sentence_and_status_2(run: Run, tmp_path: Path) -> None:
    status, out, err = run("verdict", str(tmp_path / "none.yaml"))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
