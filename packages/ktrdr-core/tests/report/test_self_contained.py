"""The page fetches nothing, runs nothing but its own scripts, and shows hostile text as text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ktrdr.core.backtesting.results import BacktestResult
from ktrdr.core.report import write_report

# Attributes a browser fetches, or sends something to.
FETCHING = {
    *("src", "srcset", "href", "xlink:href", "data", "action", "formaction"),
    *("poster", "background", "cite", "ping", "manifest"),
}
HOSTILE = """</script><script>alert(1)</script><img src=x onerror=alert(1)><!--"'& {{ 7 * 7 }} {% raw %}"""


def fetched(page: Any) -> list[str]:
    """Return what a browser would fetch to show ``page``, or could be led to by it."""
    found = []
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in FETCHING and not (value or "").startswith(("#", "data:")):
                found.append(f"<{tag} {name}={value}>")
            if name.startswith("on"):
                found.append(f"<{tag} {name}>")
            if name == "style" and "url(" in (value or ""):
                found.append(f"<{tag} style={value}>")
        if attributes.get("http-equiv", "").lower() == "refresh":
            found.append(f"<{tag} refresh>")
    for style in page.styles:
        found += re.findall(r"@import[^;]*|url\((?!['\"]?data:)[^)]*\)", style)
    # The first script holds the figures, the second is plotly's library, the third our own.
    for script in (page.scripts[0], page.scripts[-1]):
        found += re.findall(
            r"https?:|//[a-z0-9.-]+\.[a-z]{2,}|\b(?:fetch|XMLHttpRequest|import|WebSocket)\b\s*\(", script
        )
    return found


def test_nothing_is_fetched(page):
    assert fetched(page) == []
    assert len(page.scripts) == 3
    assert all(attributes.keys() <= {"type", "id"} for attributes in page.tags("script"))


def test_a_browser_is_told_to_fetch_nothing(page):
    """plotly.js names map servers it would ask for maps, of which there are none here: the policy forbids it."""
    (policy,) = [each["content"] for each in page.tags("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    assert not re.search(r"https?:|\*", policy)
    head = [tag for tag, _ in page.elements]
    assert head.index("meta") < head.index("style")


@pytest.mark.parametrize(
    "planted",
    [
        '<img src="https://example.org/a.png">',
        '<script src="//example.org/a.js"></script>',
        '<link rel="stylesheet" href="https://example.org/a.css">',
        "<style>@import 'https://example.org/a.css';</style>",
        "<style>p { background: url(https://example.org/a.png) }</style>",
        '<p style="background: url(//example.org/a.png)">',
        '<p onclick="alert(1)">',
        '<meta http-equiv="refresh" content="0; url=https://example.org">',
        "<script>fetch('/x')</script>",
        "<script>const a = 'https://example.org'</script>",
    ],
)
def test_the_check_finds_what_it_is_for(html: str, planted: str, read_page: Callable[[str], Any]):
    assert fetched(read_page(html.replace("</body>", f"{planted}</body>")))


def test_hostile_text_stays_text(result: BacktestResult, page, tmp_path: Path, read_page: Callable[[str], Any]):
    strategy = result.manifest.strategy
    evil_set = strategy.fuzzy_sets["rsi"]
    evil_set = evil_set.model_copy(update={"memberships": {HOSTILE: evil_set.memberships["low"]}})
    evil_strategy = strategy.model_copy(update={"description": HOSTILE, "fuzzy_sets": {"rsi": evil_set}})
    importance = {
        "repeats": 1,
        "features": [{"id": HOSTILE, "log_loss": {"mean": 0.1, "std": 0.0}}],
    }
    hostile = dataclasses.replace(
        result,
        manifest=result.manifest.model_copy(
            update={
                "strategy": evil_strategy,
                "importance": importance,
                "facts": {"best_epoch": HOSTILE},
                "architecture": {"activation": HOSTILE},
                "baselines": {HOSTILE: {"test": {"accuracy": 0.5}}},
            }
        ),
        strategy_text=HOSTILE,
        warnings=(HOSTILE,),
        period=HOSTILE,
        baselines=(dataclasses.replace(result.baselines[0], name=HOSTILE, statement=HOSTILE),),
        provenance={**result.provenance, "core_version": HOSTILE},
        symbols=(dataclasses.replace(result.symbols[0], symbol=HOSTILE, passed={HOSTILE: 1}),),
    )
    made = read_page(write_report(hostile, tmp_path / "hostile.html").read_text(encoding="utf-8"))
    assert [tag for tag, _ in made.elements if tag in ("script", "img", "style", "iframe", "object")] == [
        "style",
        "script",
        "script",
        "script",
    ]
    assert fetched(made) == []
    shown = "\n".join(made.text)
    assert shown.count(HOSTILE) >= 6
    assert made.scripts[1:] == page.scripts[1:]
    # plotly reads tags in labels.
    labels = [trace["name"] for trace in made.figures["membership-0"]["data"][1:]]
    labels += made.figures["importance"]["data"][0]["y"]
    assert labels
    assert all("<" not in label and "&lt;/script" in label for label in labels)


def test_the_same_result_gives_the_same_bytes(result: BacktestResult, html: str, tmp_path: Path):
    from ktrdr.core.backtesting.results import read_result

    again = write_report(result, tmp_path / "again.html").read_bytes()
    assert again == html.encode("utf-8")
    result.write(tmp_path / "run")
    assert write_report(read_result(tmp_path / "run"), tmp_path / "read.html").read_bytes() == again
