"""The page in a real browser, without a network: everything is drawn, and nothing is complained about."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here (Debian: apt-get install chromium)")
def test_it_is_drawn_offline(html: str, page, tmp_path: Path):
    assert BROWSER is not None
    path = tmp_path / "report.html"
    path.write_text(html, encoding="utf-8")
    answer = subprocess.run(
        [
            BROWSER,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--virtual-time-budget=10000",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    complaints = [line for line in answer.stderr.splitlines() if "CONSOLE" in line]
    assert not complaints
    drawn = answer.stdout.partition("<script")[0]
    for key, figure in page.figures.items():
        (place,) = re.findall(
            rf'<div class="figure js-plotly-plot" data-figure="{key}".*?(?=<div class="figure|<h2|$)', drawn, re.S
        )
        assert "main-svg" in place, key
        for trace in figure["data"]:
            if (
                trace["type"] == "scatter"
                and trace.get("showlegend", True)
                and figure["layout"].get("showlegend", True)
            ):
                assert f">{trace['name']}<" in place, (key, trace["name"])
