"""The report of a verdict: what it shows, that it is drawn offline, and that hostile text stays text."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.report.page import Page
from ktrdr.core.report.verdict_content import TONES, verdict_cards, verdict_content
from ktrdr.core.report.verdict_page import write_verdict_page
from ktrdr.core.report.verdict_plot import verdict_plot
from ktrdr.core.strategy.model import CpcvValidation, HoldoutValidation
from ktrdr.core.verdicts.edge_conditions import mark_to_beat
from ktrdr.core.verdicts.verdict_parts import Verdict
from ktrdr.core.verdicts.verdict_result import Delay, NullWorlds

HOSTILE = """</script><script>alert(1)</script><img src=x onerror=alert(1)><!--"'& {{ 7 * 7 }} {% raw %}"""
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WORDS = ("EDGE", "NOT PROVEN", "NONE", "INVALID")

Make = Callable[..., Verdict]
Show = Callable[[Verdict], Any]


@pytest.fixture
def show(tmp_path: Path, read_page: Callable[[str], Any]) -> Show:
    def shown(verdict: Verdict) -> Any:
        return read_page(write_verdict_page(verdict, tmp_path / "page.html").read_text(encoding="utf-8"))

    return shown


def bare(text: str) -> str:
    """Return text without blanks and backticks, as a page has an element where a text has backticks."""
    return re.sub(r"[`\s]", "", text)


def changed(verdict: Verdict, **facts: Any) -> Verdict:
    return dataclasses.replace(verdict, facts=verdict.facts.model_copy(update=facts))


def picture(page: Page, key: str) -> Any:
    (found,) = [each for each in page.wide_figures if each.key == key]
    return found.figure


@pytest.mark.parametrize("word", WORDS)
def test_the_word_stands_first_with_its_sentence_and_reasons(made_verdict: Make, show: Show, word: str):
    verdict = made_verdict(word)
    facts, text = verdict.facts, show(verdict).text
    # After the titles (of the window and the page), the button and the subtitle.
    start = text.index(word)
    assert text[start + 1] == facts.sentence
    assert start <= 5
    whole, place = bare("".join(text)), 0
    for reason in facts.reasons:
        shown = reason.sentence[:1].upper() + reason.sentence[1:] + "."
        assert bool(reason.change) == (word != "INVALID")
        told = f"{shown} What would change it: {reason.change}." if reason.change else shown
        place = whole.index(bare(told), place + 1)
    assert ("Why it is not EDGE" in text) == (word in ("NOT PROVEN", "NONE"))
    assert ("Conditions of an edge" in text) == (word != "INVALID")
    assert whole.index(bare("Questions that only you can answer")) > place
    assert all(bare(question) in whole for question in facts.questions)
    assert TONES[facts.word] == verdict_content(verdict).banner.tone  # type: ignore[union-attr]


def test_conditions_are_before_the_pictures(made_verdict: Make, show: Show):
    verdict = made_verdict("NOT PROVEN")
    text = show(verdict).text
    table = text.index("Conditions of an edge")
    assert text.index("Why it is not EDGE") < table < text.index("What the same training finds where nothing is")
    cells = text[table:]
    for condition in verdict.facts.conditions:
        at = cells.index(condition.title[:1].upper() + condition.title[1:])
        met = {True: "met", False: "not met", None: "unknown"}[condition.met]
        assert cells[at + 1 : at + 4] == [met, condition.found or "-", condition.needed or "-"]


def test_an_account_that_never_trades_has_no_row_on_later_signals(made_verdict: Make):
    def rows(observed: float | None) -> list[str]:
        verdict = changed(made_verdict("NONE"), delay=Delay(observed=observed, later=observed))
        (table,) = [each for each in verdict_content(verdict).tables if each.title == "Further evidence"]
        return [row[0].text for row in table.rows]

    assert "Signals one bar later" in rows(0.5)
    assert "Signals one bar later" not in rows(None)


def test_an_invalid_verdict_shows_the_fault_and_no_result(made_verdict: Make, show: Show):
    page = show(made_verdict("INVALID"))
    assert page.figures == {}
    assert verdict_cards(made_verdict("INVALID").facts) == []
    at = page.text.index("Validity")
    assert page.text[at + 5 : at + 7] == ["Look-ahead", "found"]
    assert "Trials" not in page.text


def test_every_piece_of_evidence_has_a_picture(made_verdict: Make, show: Show):
    keys = {"nulls", "worlds", "paths", "deflation", "break-even", "permuted", "beside"}
    assert set(show(made_verdict("EDGE")).figures) == keys | {"linear"}
    quick = verdict_content(made_verdict("EDGE", quick=True))
    assert {each.key for each in quick.wide_figures} == keys
    assert all(each.note.endswith(".") for each in quick.wide_figures)


@pytest.mark.parametrize(
    ("folds", "fewer"),
    [
        (CpcvValidation(groups=6, test_groups=2, reserve=0.2), True),
        (CpcvValidation(groups=6, test_groups=1, reserve=0.2), False),
        (HoldoutValidation(train=0.6, validation=0.2, test=0.2, reserve=0.2), False),
    ],
)
def test_pictures_of_worlds_say_that_their_folds_are_fewer(made_verdict: Make, folds: Any, fewer: bool):
    verdict = made_verdict("EDGE")
    evaluation = verdict.facts.evaluation
    assert evaluation is not None
    verdict = changed(verdict, evaluation=evaluation.model_copy(update={"validation": folds}))
    notes = {each.key: each.note for each in verdict_content(verdict).wide_figures}
    told = {key for key, note in notes.items() if "fewer than those of the evaluation" in note}
    assert told == ({"nulls", "worlds", "linear"} if fewer else set())


def test_missing_evidence_has_no_picture(made_verdict: Make):
    bare = made_verdict(
        "NONE",
        linear=(),
        deflation=None,
        superior_ability=None,
        permuted_entries=None,
        break_even=None,
        delay=None,
        notes=("the account never trades",),
    )
    page = verdict_content(dataclasses.replace(bare, curves=None))
    assert {each.key for each in page.wide_figures} == {"nulls", "beside"}
    (further,) = [table for table in page.tables if table.title == "Further evidence"]
    assert [row[0].text for row in further.rows] == ["Out of sample", "Predictions"]
    (missing,) = [each for each in page.last_lists if each.title == "What could not be told"]
    assert missing.points[0].text == "The account never trades."


def test_all_worlds_are_counted_beside_the_mark_of_the_real_bars(made_verdict: Make):
    verdict = made_verdict("EDGE")
    traces = picture(verdict_content(verdict), "nulls")["data"]
    bars = [trace for trace in traces if trace["type"] == "bar"]
    for worlds, trace in zip(verdict.facts.nulls, bars, strict=True):
        assert sum(value or 0 for value in trace["y"]) == len(worlds.values)
        lines = {each["name"]: each for each in traces if each["yaxis"] == trace["yaxis"]}
        assert lines["real bars"]["x"] == pytest.approx([worlds.observed] * 2, rel=1e-6)
        assert lines["needed"]["x"] == pytest.approx([mark_to_beat(worlds)] * 2, rel=1e-6)


def test_a_figure_that_misses_its_limit_does_not_look_like_it(made_verdict: Make):
    verdict = made_verdict("NOT PROVEN")
    nulls = tuple(each.model_copy(update={"p": 0.0502}) for each in verdict.facts.nulls)
    found = verdict.facts.deflation
    assert found is not None
    close = changed(verdict, nulls=nulls, deflation=found.model_copy(update={"probability": 0.94996}))
    page = verdict_content(close)
    assert [card.value for card in page.cards[:3]] == ["5.02%", "5.02%", "94.996%"]
    assert all("p = 5.02%" in each["text"] for each in picture(page, "nulls")["layout"]["annotations"])
    nearly_certain = changed(verdict, deflation=found.model_copy(update={"probability": 0.99999}))
    assert verdict_content(nearly_certain).cards[2].value == "over 99.9%"


def test_worlds_that_are_all_alike_or_failed_are_drawn(made_verdict: Make):
    verdict = made_verdict("NONE")
    alike, failed = verdict.facts.nulls
    nulls = (
        alike.model_copy(update={"values": (0.0,) * 20}),
        failed.model_copy(update={"values": (None, *failed.values[1:])}),
    )
    page = verdict_content(changed(verdict, nulls=nulls))
    figure = picture(page, "nulls")
    assert sum(value or 0 for value in figure["data"][0]["y"]) == 20
    titles = [each["text"] for each in figure["layout"]["annotations"]]
    assert titles[1].endswith("(1 training failed)</b>")
    as_good = 1 + sum(value >= failed.observed for value in failed.values[1:] if value is not None)
    assert page.cards[1].note == f"{as_good} of {len(failed.values)} null worlds as good"
    none: NullWorlds = failed.model_copy(update={"values": (None,) * 20})
    assert "nulls" not in [each.key for each in verdict_content(changed(verdict, nulls=(none,))).wide_figures]


def test_the_curves_of_real_bars_and_worlds_are_drawn(made_verdict: Make):
    verdict = made_verdict("EDGE")
    curves = verdict.curves
    assert curves is not None
    traces = {each["name"]: each for each in picture(verdict_content(verdict), "worlds")["data"]}
    assert list(traces) == ["null worlds: sign flips", "null worlds: GARCH", "buy and hold", "real bars"]
    gaps = [place for place, value in enumerate(traces["real bars"]["x"]) if value is None]
    ends = [traces["real bars"]["y"][place - 1] for place in gaps]
    assert ends == pytest.approx(curves.observed[:, -1].tolist(), rel=1e-6)
    failed = dataclasses.replace(curves, worlds={**curves.worlds, "garch": np.zeros((0, len(curves.time)))})
    assert verdict_content(dataclasses.replace(verdict, curves=failed)).wide_figures


def test_random_orders_add_up_to_all(made_verdict: Make):
    verdict = made_verdict("EDGE")
    orders = verdict.facts.permuted_entries
    assert orders is not None
    for quantiles in (orders.quantiles, (0.0,) * 60 + (0.5,) * 41, (0.3,) * 101):
        page = verdict_content(changed(verdict, permuted_entries=orders.model_copy(update={"quantiles": quantiles})))
        bars, mark = picture(page, "permuted")["data"]
        assert sum(value or 0.0 for value in bars["y"]) == pytest.approx(1, abs=1e-5)
        assert mark["x"][0] == pytest.approx(orders.observed, rel=1e-6)


def test_the_interval_and_the_trials_are_on_one_axis(made_verdict: Make):
    verdict = made_verdict("NOT PROVEN")
    found = verdict.facts.deflation
    assert found is not None
    figure = picture(verdict_content(verdict), "deflation")
    low, high = figure["layout"]["xaxis"]["range"]
    assert low < min(0, found.low)
    assert high > max(found.high, found.expected_best)
    point = figure["data"][-1]
    assert point["x"][0] + point["error_x"]["array"][0] == pytest.approx(found.high, rel=1e-5)
    assert point["x"][0] - point["error_x"]["arrayminus"][0] == pytest.approx(found.low, rel=1e-5)


def test_costs_have_the_paid_one_and_that_of_no_profit(made_verdict: Make):
    verdict = made_verdict("EDGE")
    found = verdict.facts.break_even
    assert found is not None
    curve, paid, nothing = picture(verdict_content(verdict), "break-even")["data"]
    assert curve["x"] == list(found.costs)
    assert paid["x"][0] == found.paid
    assert nothing["x"][0] == pytest.approx(found.cost, rel=1e-6)
    poor = found.model_copy(update={"cost": None, "sharpe": (None,) * len(found.costs)})
    page = verdict_content(changed(verdict, break_even=poor))
    assert len(picture(page, "break-even")["data"]) == 2
    assert "no profit" in [card.value for card in page.cards]


def test_hostile_text_stays_text(made_verdict: Make, show: Show):
    plain = show(made_verdict("NONE"))
    verdict = made_verdict(
        "NONE",
        strategy=HOSTILE,
        symbols=(HOSTILE,),
        world=HOSTILE,
        sentence=HOSTILE,
        questions=(HOSTILE,),
        notes=(HOSTILE,),
        warnings=(HOSTILE,),
    )
    findings = tuple(each.model_copy(update={"title": HOSTILE, "sentence": HOSTILE}) for each in verdict.facts.validity)
    reasons = tuple(
        each.model_copy(update={"title": HOSTILE, "sentence": HOSTILE, "change": HOSTILE})
        for each in verdict.facts.conditions
    )
    hostile = changed(verdict, validity=findings, conditions=reasons, reasons=reasons)
    page = show(dataclasses.replace(hostile, text=HOSTILE))
    assert [tag for tag, _ in page.elements].count("script") == [tag for tag, _ in plain.elements].count("script")
    assert not page.tags("img")
    assert not [each for tag in ("link", "iframe", "object") for each in page.tags(tag)]
    assert " ".join(page.text).count(HOSTILE) >= 15


def test_parts_between_backticks_are_code_and_hostile_ones_stay_text(made_verdict: Make, show: Show):
    facts = {
        "questions": ("Is `--trials` right?",),
        "notes": (f"write `{HOSTILE}`", "one ` alone"),
        "warnings": ("`a`",),
    }
    page, plain = show(made_verdict("NONE", **facts)), show(made_verdict("NONE", questions=()))
    assert [page.text[page.text.index("--trials") + step] for step in (-1, 1)] == ["Is", "right?"]
    assert len(page.tags("code")) == len(plain.tags("code")) + 3
    assert not page.tags("img")
    assert len(page.tags("script")) == len(plain.tags("script"))
    assert HOSTILE in page.text
    assert "One ` alone." in page.text


def test_nothing_is_fetched_and_no_number_is_unknown(made_verdict: Make, show: Show):
    page = show(made_verdict("NOT PROVEN", quick=True))
    assert not [each for _, each in page.elements if each.keys() & {"src", "href", "action"}]
    for script in (page.scripts[0], page.scripts[-1]):
        assert not re.search(r"https?:|\bfetch\s*\(", script)
    assert not re.search(r"\bNaN\b|Infinity", page.scripts[0])
    assert "nan" not in " ".join(page.text).lower().split()


def test_the_same_verdict_gives_the_same_bytes(made_verdict: Make, tmp_path: Path):
    one, other = (write_verdict_page(made_verdict(), tmp_path / name) for name in ("a/one.html", "other.html"))
    assert one.read_bytes() == other.read_bytes()


def test_a_directory_is_refused(made_verdict: Make, tmp_path: Path):
    with pytest.raises(BadInputError, match="which is a directory; add a file name"):
        write_verdict_page(made_verdict(), tmp_path)


def test_the_plot_has_the_null_worlds_of_the_report(made_verdict: Make):
    verdict = made_verdict("EDGE")
    figure = verdict_plot(verdict)
    assert [trace.name for trace in figure.data] == ["worlds", "needed", "real bars"] * 2
    with pytest.raises(BadInputError, match="is INVALID, so nothing was trained"):
        verdict_plot(made_verdict("INVALID"))


WIDTHS = """
(async function () {
  const wait = (time) => new Promise((done) => setTimeout(done, time));
  while (document.documentElement.dataset.drawn !== "yes") await wait(50);
  const wide = (element) => element.scrollWidth - element.clientWidth;
  const seen = { page: wide(document.documentElement) + wide(document.querySelector("main")) };
  seen.tables = Array.from(document.querySelectorAll(".wide"), wide);
  const told = document.createElement("pre");
  told.id = "seen"; told.textContent = JSON.stringify(seen);
  document.body.prepend(told);
})();
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here (Debian: apt-get install chromium)")
@pytest.mark.parametrize(("word", "width"), [("NONE", 390), ("EDGE", 1240), ("INVALID", 390)])
def test_a_browser_draws_it_offline_without_scrolling_sideways(
    made_verdict: Make, tmp_path: Path, word: str, width: int
):
    assert BROWSER is not None
    verdict = made_verdict(word)
    path = write_verdict_page(verdict, tmp_path / "page.html")
    # A window is never below 500, where the rules for a phone do apply.
    html = path.read_text(encoding="utf-8").replace("</head>", f"<style>main {{ width: {width}px; }}</style></head>")
    path.write_text(html.replace("</body>", f"<script>{WIDTHS}</script></body>"), encoding="utf-8")
    answer = subprocess.run(
        [
            *(BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--virtual-time-budget=10000"),
            *(f"--window-size={max(width + 20, 500)},900", "--dump-dom", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert not [line for line in answer.stderr.splitlines() if "CONSOLE" in line]
    (told,) = re.findall(r'<pre id="seen">(.*?)</pre>', answer.stdout)
    seen = json.loads(told)
    assert seen["page"] == 0
    assert set(seen["tables"]) == {0}
    for each in verdict_content(verdict).wide_figures:
        (place,) = re.findall(
            rf'<div class="figure[^>]*data-figure="{each.key}".*?(?=<div class="block|$)', answer.stdout, re.S
        )
        assert "main-svg" in place, each.key
