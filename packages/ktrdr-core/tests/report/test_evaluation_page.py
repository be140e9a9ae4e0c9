"""The report of an evaluation: what it shows, that it is drawn offline, and that hostile text stays text."""

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

from ktrdr.core.backtesting.metrics import format_metric
from ktrdr.core.errors import BadInputError
from ktrdr.core.report.evaluation_charts import MOST_LINES
from ktrdr.core.report.evaluation_page import write_evaluation_page
from ktrdr.core.report.evaluation_plot import evaluation_plot
from ktrdr.core.validation.evaluation_parts import Evaluation
from ktrdr.core.validation.evaluation_result import Interval, PartTimes, PathResult, ReserveResult
from ktrdr.core.validation.evaluation_sentences import prediction_sentence

HOSTILE = """</script><script>alert(1)</script><img src=x onerror=alert(1)><!--"'& {{ 7 * 7 }} {% raw %}"""
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

Make = Callable[..., Evaluation]
Show = Callable[[Evaluation], Any]


@pytest.fixture
def show(tmp_path: Path, read_page: Callable[[str], Any]) -> Show:
    def shown(evaluation: Evaluation) -> Any:
        path = write_evaluation_page(evaluation, tmp_path / "page.html")
        return read_page(path.read_text(encoding="utf-8"))

    return shown


def opened(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with an opened reserve after its bars."""
    facts = evaluation.facts
    start = facts.period.end
    reserve = ReserveResult(
        period=PartTimes(start=start, end=start.replace(year=start.year + 1)),
        bars=700,
        opened=2,
        seeds=(PathResult(path=1, seed=0, metrics={"sharpe": 0.7, "total_return": 0.031, "trades": 12}),),
        metrics=facts.metrics,
        buy_and_hold={"sharpe": 0.2, "total_return": 0.011},
    )
    return dataclasses.replace(evaluation, facts=facts.model_copy(update={"reserve": reserve}))


def test_every_section_is_there(make_evaluation: Make, show: Show, tmp_path: Path):
    page = show(opened(make_evaluation()))
    assert {
        "Equity of every path and seed", "Spread over paths and seeds", "Folds", "Predictions by fold",
        "Kinds of market", "Accounts", "Reserve", "All metrics", "Settings", "Trials", "Provenance", "Strategy file",
        "The median account trades rarely.", "3 trials known to this ledger",
    } <= set(page.text)  # fmt: skip
    # No empty section of trades.
    assert "<h2>Trades</h2>" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_the_documentation_describes_is_there(make_evaluation: Make, show: Show):
    """Every section that stands in bold in the part of the page on the report."""
    text = (Path(__file__).parents[4] / "docs" / "explanation" / "validation.md").read_text(encoding="utf-8")
    described = set(re.findall(r"\*\*(.+?)\*\*", text.partition("## Report of an evaluation")[2])) - {"At the top"}
    assert len(described) > 9
    shown = show(opened(make_evaluation())).text
    assert [each for each in described if not any(text.startswith(each) for text in shown)] == []


def test_the_headline_has_the_median_account_and_the_verdict_of_the_interval(make_evaluation: Make, show: Show):
    evaluation = make_evaluation()
    facts, text = evaluation.facts, " ".join(show(evaluation).text)
    median = next(each for each in facts.paths if (each.path, each.seed) == facts.median_path)
    spread = facts.spread["sharpe"]
    assert (
        f"the median account has a Sharpe ratio of {median.metrics['sharpe']:.2f} (5 paths with 2 seeds each:"
        f" {spread.min:.2f} to {spread.max:.2f}); buy and hold has {facts.buy_and_hold['sharpe']:.2f}."
    ) in text
    assert (
        "better than the majority class: MCC 0.061 (90% interval 0.024 to 0.098; the majority class has 0), log loss"
        " 1.071 (1.064 to 1.079) beside 1.093, accuracy 41.2% beside 37.2%."
    ) in text


def test_accounts_median_and_buy_and_hold_are_drawn(make_evaluation: Make, show: Show):
    evaluation = make_evaluation()
    page = show(evaluation)
    thin, median, held = page.figures["equity"]["data"]
    curves, facts = evaluation.curves, evaluation.facts
    gaps = [place for place, value in enumerate(thin["x"]) if value is None]
    assert len(gaps) == len(facts.paths)
    ends = [thin["y"][place - 1] for place in gaps]
    assert ends == pytest.approx(curves.equity[:, -1].tolist(), rel=1e-6)
    row = [(each.path, each.seed) for each in facts.paths].index(facts.median_path)
    assert median["y"][-1] == pytest.approx(curves.equity[row, -1], rel=1e-6)
    assert held["y"][-1] == pytest.approx(curves.buy_and_hold[-1], rel=1e-6)
    points = [trace for trace in page.figures["spread"]["data"] if trace["type"] == "box"]
    assert sorted(points[0]["x"]) == pytest.approx(sorted(each.metrics["sharpe"] for each in facts.paths), rel=1e-6)


def test_folds_are_bars_of_time(make_evaluation: Make, show: Show):
    evaluation = opened(make_evaluation())
    traces = {trace["name"]: trace for trace in show(evaluation).figures["folds"]["data"]}
    assert list(traces) == ["left out", "train", "validation", "test", "reserve"]
    for part in ("train", "validation", "test"):
        expected = [
            (f"{period.start:%Y-%m-%d %H:%M}", f"{period.end:%Y-%m-%d %H:%M}", fold.fold)
            for fold in evaluation.facts.folds
            for period in getattr(fold, part)
        ]
        x, y = traces[part]["x"], traces[part]["y"]
        assert list(zip(x[::3], x[1::3], y[::3], strict=True)) == expected


def test_many_accounts_are_drawn_in_part(make_evaluation: Make, show: Show):
    evaluation = make_evaluation(seeds=12, hours=400)
    page = show(evaluation)
    assert page.figures["equity"]["data"][0]["x"].count(None) == MOST_LINES
    assert any(f"{MOST_LINES} of them are drawn" in text for text in page.text)


def test_one_account_has_neither_a_median_nor_a_spread(make_evaluation: Make, show: Show):
    evaluation = make_evaluation()
    facts = evaluation.facts
    one = dataclasses.replace(
        evaluation,
        facts=facts.model_copy(
            update={"paths": facts.paths[:1], "median_path": (1, 0), "seeds": (0,), "spread": {}, "regimes": ()}
        ),
        curves=dataclasses.replace(evaluation.curves, equity=evaluation.curves.equity[:1]),
    )
    page = show(one)
    assert [trace["name"] for trace in page.figures["equity"]["data"]] == ["strategy", "buy and hold"]
    assert "spread" not in page.figures
    assert "Kinds of market" not in page.text


def test_a_regression_is_judged_by_its_information_coefficient(make_evaluation: Make, show: Show):
    text = " ".join(show(make_evaluation(output="regression")).text)
    assert "cannot be told from chance: information coefficient 0.033 (90% interval -0.021 to 0.087" in text
    assert "RMSE 0.00123 (0.00119 to 0.00128) beside 0.00124." in text


@pytest.mark.parametrize(
    ("mcc", "log_loss", "verdict"),
    [
        ((0.02, 0.09), (1.05, 1.08), "The predictions are better than the majority class: "),
        (
            (0.02, 0.09),
            (1.05, 1.12),
            "The predictions are not shown to be better than the majority class, although MCC",
        ),
        ((-0.02, 0.09), (1.05, 1.08), "The predictions cannot be told from chance: "),
        ((-0.09, -0.02), (1.05, 1.12), "The predictions are worse than chance: "),
    ],
)
def test_the_verdict_is_that_of_both_intervals(
    make_evaluation: Make, mcc: tuple[float, float], log_loss: tuple[float, float], verdict: str
):
    metrics = dict(make_evaluation().facts.metrics)
    for name, (low, high) in (("mcc", mcc), ("log_loss", log_loss)):
        metrics[name] = Interval(value=(low + high) / 2, low=low, high=high)
    assert prediction_sentence(make_evaluation(metrics=metrics).facts).startswith(verdict)


def test_unknown_intervals_and_accounts_without_trades(make_evaluation: Make, show: Show):
    evaluation = make_evaluation()
    facts = evaluation.facts
    bare = {name: Interval(value=own.value) for name, own in facts.metrics.items()}
    still = tuple(
        own.model_copy(update={"metrics": own.metrics | {"sharpe": None, "trades": 0}}) for own in facts.paths
    )
    changed = facts.model_copy(update={"metrics": bare, "paths": still, "spread": {}})
    text = " ".join(show(dataclasses.replace(evaluation, facts=changed)).text)
    assert "The samples are too few to tell the predictions from chance: MCC 0.061 (the majority class has 0)" in text
    assert "No account has a Sharpe ratio" in text


def test_a_synthetic_market_is_named(make_evaluation: Make, show: Show):
    text = " ".join(show(make_evaluation(world="mean_reversion, seed 7")).text)
    assert "EURUSD (synthetic market: mean_reversion, seed 7)" in text
    assert "The bars are synthetic" in text


def test_the_reserve_is_shown_closed_or_opened(make_evaluation: Make, show: Show):
    evaluation = opened(make_evaluation())
    text = " ".join(show(evaluation).text)
    assert "Reserve, opened: " in text
    assert format_metric("total_return", 0.031) in text
    reserve = evaluation.facts.reserve
    assert reserve is not None
    closed = reserve.model_copy(update={"opened": 0, "seeds": (), "metrics": {}, "buy_and_hold": {}})
    facts = evaluation.facts.model_copy(update={"reserve": closed})
    page = show(dataclasses.replace(evaluation, facts=facts))
    assert any("This evaluation has not used it." in text for text in page.text)
    assert "Reserve" not in page.text


def test_hostile_text_stays_text(make_evaluation: Make, show: Show, read_page: Callable[[str], Any]):
    plain = show(make_evaluation())
    evaluation = make_evaluation(
        strategy=HOSTILE,
        model=HOSTILE,
        plugin=HOSTILE,
        symbols=(HOSTILE,),
        bars={HOSTILE: 3000},
        world=HOSTILE,
        warnings=(HOSTILE, HOSTILE),
        provenance={
            "core_version": HOSTILE,
            "environment": {"packages": {HOSTILE: HOSTILE}},
            "git": {"commit": HOSTILE},
        },
    )
    page = show(dataclasses.replace(evaluation, text=HOSTILE))
    assert [tag for tag, _ in page.elements].count("script") == [tag for tag, _ in plain.elements].count("script")
    assert not page.tags("img")
    assert " ".join(page.text).count(HOSTILE) >= 6


def test_the_same_evaluation_gives_the_same_bytes(make_evaluation: Make, tmp_path: Path):
    one, other = (write_evaluation_page(make_evaluation(), tmp_path / name) for name in ("a/one.html", "other.html"))
    assert one.read_bytes() == other.read_bytes()


def test_a_directory_is_refused(make_evaluation: Make, tmp_path: Path):
    with pytest.raises(BadInputError, match="which is a directory; add a file name"):
        write_evaluation_page(make_evaluation(), tmp_path)


def test_the_plot_has_the_lines_of_the_report(make_evaluation: Make):
    evaluation = make_evaluation()
    figure = evaluation_plot(evaluation)
    assert figure.data[0].name == "each path and seed"
    assert len(figure.data) == 3
    assert figure.data[2].y[-1] == pytest.approx(float(evaluation.curves.buy_and_hold[-1]), rel=1e-6)
    assert np.all(np.diff(figure.layout.xaxis.tickvals) > 0)


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
@pytest.mark.parametrize("width", [390, 1240])
def test_a_browser_draws_it_offline_without_scrolling_sideways(make_evaluation: Make, tmp_path: Path, width: int):
    assert BROWSER is not None
    path = write_evaluation_page(opened(make_evaluation()), tmp_path / "page.html")
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
    for key in ("equity", "spread", "folds"):
        (place,) = re.findall(
            rf'<div class="figure[^>]*data-figure="{key}".*?(?=<div class="block|$)', answer.stdout, re.S
        )
        assert "main-svg" in place, key
