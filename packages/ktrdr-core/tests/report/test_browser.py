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

# Zooms one picture, switches the theme, sorts a column down and up, and writes down what became of it.
PLAYED = """
(async function () {
  const [first, ...others] = Array.from(document.querySelectorAll("[data-time]"));
  const wait = () => new Promise((done) => setTimeout(done, 300));
  const seen = {};
  await Plotly.relayout(first, { "xaxis.range[0]": "2017-10-01", "xaxis.range[1]": "2017-11-01" });
  await wait();
  seen.together = others.map((place) => place.layout.xaxis.range.map((each) => String(each).slice(0, 10)));
  const ground = () => getComputedStyle(document.body).backgroundColor, ink = () => first.layout.font.color;
  seen.before = [ground(), ink()];
  document.getElementById("theme").click();
  await wait();
  seen.after = [ground(), ink()];
  seen.kept = String(first.layout.xaxis.range[0]).slice(0, 10);
  const table = document.querySelector("table.sortable"), titles = Array.from(table.tHead.rows[0].cells, (cell) => cell.textContent);
  const column = titles.indexOf("net"), nets = () => Array.from(table.tBodies[0].rows, (row) => Number(row.cells[column].dataset.sort));
  const button = table.tHead.rows[0].cells[column].querySelector("button");
  button.click(); seen.down = nets();
  button.click(); seen.up = nets();
  seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
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
    drawn = shown.partition("<script")[0]
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
    played, complaints = browse(html.replace("</body>", f"<script>{PLAYED}</script></body>"), tmp_path)
    assert not complaints
    (told,) = re.findall(r'<pre id="seen">(.*?)</pre>', played)
    seen = json.loads(told)
    assert seen["together"] == [["2017-10-01", "2017-11-01"]] * 2
    assert seen["kept"] == "2017-10-01"
    assert all(before != after for before, after in zip(seen["before"], seen["after"], strict=True))
    nets = sorted(result.trades["net"].tolist())
    assert seen["up"] == pytest.approx(nets)
    assert seen["down"] == pytest.approx(nets[::-1])
    assert seen["overflow"] == 0, "the page scrolls sideways on a phone"
