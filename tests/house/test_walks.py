"""The paths through the code that CONTRIBUTING describes name existing files and functions."""

from __future__ import annotations

import re

import pytest


def hops(text):
    """Return ``(path, name or None)`` of every file that a walk names, with the names that stand behind it."""
    walks = text.partition("### Four paths through the code")[2].partition("\n## ")[0]
    found, path = [], None
    for word in re.findall(r"`([^`]+)`", walks):
        if word.endswith(".py"):
            path = word
            found.append((path, None))
        elif path is not None and word.isidentifier():
            found.append((path, word))
    return found


def missing(root, text):
    """Return the hops that lead nowhere."""
    wrong = []
    for path, name in hops(text):
        files = list(root.glob(f"packages/*/src/ktrdr/{path}"))
        defined = name is None or any(
            re.search(rf"^\s*(?:async )?(?:def|class) {name}\b", file.read_text(encoding="utf-8"), re.MULTILINE)
            for file in files
        )
        if len(files) != 1 or not defined:
            wrong.append((path, name))
    return wrong


@pytest.fixture(scope="session")
def text(root):
    return (root / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_every_hop_leads_somewhere(root, text):
    assert len(hops(text)) > 50
    assert missing(root, text) == []


def test_a_hop_that_leads_nowhere_is_found(root, text):
    changed = text.replace("`simulate`", "`simulated`").replace(
        "`core/backtesting/fills.py`", "`core/backtesting/walk.py`"
    )
    assert missing(root, changed) == [
        ("core/backtesting/simulation.py", "simulated"),
        ("core/backtesting/walk.py", None),
        ("core/backtesting/walk.py", "Fills"),
    ]
