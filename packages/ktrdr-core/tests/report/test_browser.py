"""The page in a real browser, without a network: everything is drawn, and nothing is complained about."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium here (Debian: apt-get install chromium)")

# Zooms one picture, takes a logarithm, switches the theme, sorts a column both ways, and writes down what became of it.
PLAYED = """
(async function () {
  const wait = (time) => new Promise((done) => setTimeout(done, time));
  while (document.documentElement.dataset.drawn !== "yes") await wait(50);
  const [first, ...others] = Array.from(document.querySelectorAll("[data-time]"));
  const seen = {};
  await Plotly.relayout(first, { "xaxis.range[0]": 500, "xaxis.range[1]": 600 });
  await wait(300);
  seen.together = others.map((place) => place.layout.xaxis.range);
  const price = document.querySelector('[data-figure="price-0"]');
  seen.axes = Array.from(document.querySelectorAll("[data-time]"), (place) => [place.layout.xaxis.type, place.layout.xaxis.categoryarray.length]);
  seen.prices = price.layout.yaxis.range;
  seen.marks = price.layout.xaxis.tickvals.map((mark) => [mark, price.layout.xaxis.ticktext[price.layout.xaxis.tickvals.indexOf(mark)]]);
  document.querySelector('[data-log="price-0"]').click();
  await wait(300);
  seen.logarithmic = [price.layout.yaxis.type, ...price.layout.yaxis.range.map((each) => 10 ** each)];
  const ground = () => getComputedStyle(document.body).backgroundColor, ink = () => first.layout.font.color;
  seen.before = [ground(), ink()];
  document.getElementById("theme").click();
  await wait(300);
  seen.after = [ground(), ink()];
  seen.kept = first.layout.xaxis.range;
  document.documentElement.dataset.theme = "dark";
  window.dispatchEvent(new Event("beforeprint"));
  seen.paper = [ground(), ink()];
  window.dispatchEvent(new Event("afterprint"));
  seen.screen = [ground(), document.documentElement.dataset.theme];
  const table = document.querySelector("table.sortable"), titles = Array.from(table.tHead.rows[0].cells, (cell) => cell.textContent);
  const column = titles.indexOf("net"), nets = () => Array.from(table.tBodies[0].rows, (row) => Number(row.cells[column].dataset.sort));
  const button = table.tHead.rows[0].cells[column].querySelector("button");
  button.click(); seen.down = nets();
  button.click(); seen.up = nets();
  const wide = (element) => element.scrollWidth - element.clientWidth;
  seen.overflow = wide(document.documentElement) + wide(document.querySelector("main"));
  seen.trades = Array.from(table.tBodies[0].rows, (row) => wide(row.closest(".panel")));
  seen.labels = Array.from(table.tBodies[0].rows[0].cells, (cell) => getComputedStyle(cell, "::before").content.slice(1, -1));
  seen.titles = titles;
  const told = document.createElement("pre");
  told.id = "seen"; told.textContent = JSON.stringify(seen);
  document.body.prepend(told);
})();
"""  # noqa: E501


def browse(html: str, directory: Path) -> tuple[str, list[str]]:
    """Return the page after its scripts have run, without a network, and what the browser complained about."""
    assert BROWSER is not None
    path = directory / "report.html"
    path.write_text(html, encoding="utf-8")
    answer = subprocess.run(
        [
            BROWSER,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={directory / 'profile'}",
            "--enable-logging=stderr",
            "--virtual-time-budget=10000",
            "--window-size=500,900",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return answer.stdout, [line for line in answer.stderr.splitlines() if "CONSOLE" in line]


@needs_browser
def test_it_is_drawn_offline(html: str, page, tmp_path: Path):
    shown, complaints = browse(html, tmp_path)
    assert not complaints
    drawn = shown[shown.index("<body") :].partition("<script")[0]
    for key, figure in page.figures.items():
        (place,) = re.findall(
            rf'<div class="figure[^>]*data-figure="{key}".*?(?=<div class="figure|<h2|$)', drawn, re.S
        )
        assert "main-svg" in place, key
        for trace in figure["data"]:
            named = trace.get("showlegend", True) and figure["layout"].get("showlegend", True)
            if trace["type"] == "scatter" and named:
                assert f">{trace['name']}<" in place, (key, trace["name"])


@needs_browser
def test_it_answers_to_a_person(html: str, result, tmp_path: Path):
    # A phone's width; the browser's own window is never below 500.
    narrow = html.replace("</head>", "<style>main { width: 390px; }</style></head>")
    played, complaints = browse(narrow.replace("</body>", f"<script>{PLAYED}</script></body>"), tmp_path)
    assert not complaints
    (told,) = re.findall(r'<pre id="seen">(.*?)</pre>', played)
    seen = json.loads(told)
    assert seen["together"] == [[500, 600]] * 4
    assert seen["kept"] == [500, 600]
    # An axis of bars, not of time: between Friday's last and Sunday's first there is no room for a line.
    assert seen["axes"] == [["category", len(result.equity["time"])]] * 5
    # The other axis follows: prices, and trades, of the bars in sight.
    bars = result.symbols[0].positions
    low, high = bars["low"][500:601].min(), bars["high"][500:601].max()
    assert 0.998 * low < seen["prices"][0] < low
    assert high < seen["prices"][1] < 1.002 * high
    kind, *ends = seen["logarithmic"]
    assert kind == "log"
    assert ends == pytest.approx(seen["prices"], rel=1e-4)
    # Marks stand where a day begins.
    opens = [str(each)[:16].replace("T", " ") for each in bars["time"]]
    assert len(seen["marks"]) >= 2
    for mark, text in seen["marks"]:
        row = opens.index(mark)
        assert opens[row - 1][:10] < mark[:10]
        assert text.split()[0] == str(int(mark[8:10]))
    assert all(before != after for before, after in zip(seen["before"], seen["after"], strict=True))
    # Paper is white, whatever the screen is, and the screen is as it was.
    assert seen["paper"] == ["rgb(251, 250, 248)", "#1c1e21"]
    assert seen["screen"] == ["rgb(21, 23, 26)", "dark"]
    nets = sorted(result.trades["net"].tolist())
    assert seen["up"] == pytest.approx(nets)
    assert seen["down"] == pytest.approx(nets[::-1])
    assert seen["overflow"] == 0, "the page scrolls sideways on a phone"
    # Each trade is a card that needs no scrolling, and each value in it says what it is.
    assert set(seen["trades"]) == {0}
    assert seen["labels"] == seen["titles"]
