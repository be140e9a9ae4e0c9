"""What `ktrdr verdict` prints of a verdict."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable

import pytest

from ktrdr.core.cli.verdict_lines import print_verdict
from ktrdr.core.validation.evaluation_result import PartTimes, ReserveResult
from ktrdr.core.verdicts.verdict_parts import Verdict
from ktrdr.core.verdicts.verdict_result import VerdictFacts

Make = Callable[..., Verdict]
WORDS = ["EDGE", "NOT PROVEN", "NONE", "INVALID"]
FILES = {"Verdict": "made_up/1", "Report": "/home/me/.ktrdr/verdicts/made_up/1/report.html"}


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    def printed(facts: VerdictFacts, columns: int = 80) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        print_verdict(facts, FILES)
        return capsys.readouterr().out.splitlines()

    return printed


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("word", WORDS)
def test_it_fits_on_the_screen(made_verdict: Make, lines, word: str, columns: int):
    printed = lines(made_verdict(word).facts, columns)
    assert max(map(len, printed)) <= columns
    # No two blank lines follow each other, and no cell is cut off.
    assert not any(not one and not two for one, two in itertools.pairwise(printed))
    assert not any("…" in line for line in printed)


@pytest.mark.parametrize("word", WORDS)
def test_the_verdict_is_on_top_and_the_files_below(made_verdict: Make, lines, word: str):
    facts = made_verdict(word).facts
    printed = lines(facts, 100)
    assert printed[1] == f"made_up: {word}"
    assert facts.sentence.startswith(printed[2])
    assert printed[-2:] == ["Verdict  made_up/1", f"Report   {FILES['Report']}"]
    text = " ".join(" ".join(printed).split())
    for part in (facts.sentence, *facts.questions, *facts.notes):
        assert part in text
    for reason in facts.reasons:
        assert reason.change in text


def test_conditions_stand_with_what_was_found_and_what_is_needed(made_verdict: Make, lines):
    facts = made_verdict("NOT PROVEN").facts
    printed = lines(facts)
    for each in facts.conditions:
        (row,) = (line for line in printed if line.startswith(f" {each.title}  ") and each.found in line)
        assert row.split(each.title, 1)[1].split() == [
            *each.found.split(), *each.needed.split(), *("met" if each.met else "not met").split(),
        ]  # fmt: skip


def test_a_fault_is_named_and_no_condition_is_shown(made_verdict: Make, lines):
    printed = lines(made_verdict("INVALID").facts)
    assert "condition of an edge" not in "\n".join(printed)
    assert [line.split()[-2:] for line in printed if line.startswith(" look-ahead")] == [["a", "fault"]]
    assert "Further evidence" not in "\n".join(printed)
    # A fault has its remedy in its own sentence, and nothing is left of the empty one.
    assert not any(";." in line or "; ." in line or ".." in line for line in printed)


def test_what_cannot_be_told_has_a_dash(made_verdict: Make, lines):
    facts = made_verdict("EDGE").facts
    unknown = facts.conditions[0].model_copy(update={"met": None, "found": ""})
    printed = lines(facts.model_copy(update={"conditions": (unknown,)}))
    (row,) = (line for line in printed if line.startswith(f" {unknown.title}"))
    assert row.split() == ["no", "fault", "-", "0", "unknown"]


def test_trials_and_warnings_are_shown(made_verdict: Make, lines):
    facts = made_verdict("EDGE").facts
    printed = lines(facts.model_copy(update={"warnings": ("the bars are few",)}))
    assert "Counted: 3 trials known to this ledger." in printed
    assert "Warning: the bars are few." in printed


@pytest.mark.parametrize(("opened", "words"), [(0, "not opened"), (2, "opened")])
def test_a_reserve_is_named_with_its_days(made_verdict: Make, lines, opened: int, words: str):
    facts = made_verdict("EDGE").facts
    assert "reserve:" not in " ".join(lines(facts))
    assert facts.evaluation is not None
    # To the close of the last bar, which is the open of a day after it.
    period = PartTimes(start=dt.datetime(2017, 3, 20, tzinfo=dt.UTC), end=dt.datetime(2017, 4, 1, tzinfo=dt.UTC))
    evaluation = facts.evaluation.model_copy(update={"reserve": ReserveResult(period=period, bars=240, opened=opened)})
    text = " ".join(" ".join(lines(facts.model_copy(update={"evaluation": evaluation}))).split())
    assert f"; reserve: 2017-03-20 to 2017-03-31, {words}." in text
