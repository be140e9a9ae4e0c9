"""Every command of the tutorial is run, and its output compared with what the page shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def matches(expected, actual):
    """Compare line by line: `...` on a line of its own stands for any lines, within a line for anything."""
    parts = [r"(?:.*\n)*?" if line.strip() == "..." else _line(line) + r"[ ]*\n" for line in expected.splitlines()]
    return re.fullmatch("".join(parts), actual, re.ASCII) is not None


def _line(line):
    # How wide a table's columns are depends on what is in them.
    return r".*".join(r"[ ]+".join(re.escape(word) for word in re.split(" +", part)) for part in line.split("..."))


def commands(page):
    """Yield ``(command, expected output)`` of every console block, in order."""
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            yield command, output


def test_the_comparison_can_fail():
    assert matches("a ... c\n...\nend\n", "a b c\nx\ny\nend\n")
    assert matches("a   b\n", "a b   \n")
    assert not matches("a\nend\n", "a\nb\nend\n")
    assert not matches("a ... c\n", "a b d\n")


@pytest.fixture
def page(docs):
    return (docs / "tutorial.md").read_text(encoding="utf-8")


def test_the_tutorial(page, tmp_path):
    (tmp_path / "packages").symlink_to(ROOT / "packages")
    for name, content in re.findall(r'```yaml title="([\w.]+)"\n(.*?)```', page, re.DOTALL):
        (tmp_path / name).write_text(content, encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    assert shutil.which("ktrdr", path=path)
    environ = {**os.environ, "PATH": path, "KTRDR_HOME": str(tmp_path / "home"), "COLUMNS": "120"}
    ran = 0
    for command, expected in list(commands(page))[1:]:
        answer = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300, check=False
        )
        wanted = 2 if "# exit status 2" in command else 0
        assert answer.returncode == wanted, f"$ {command}\n{answer.stdout}{answer.stderr}"
        said = answer.stderr + answer.stdout if wanted else answer.stdout
        # Progress is on standard error; blank lines are for the eye.
        said, expected = (re.sub(r"\n\s*\n+", "\n", text).lstrip("\n") for text in (said, expected))
        assert matches(expected, said), f"$ {command}\n--- expected\n{expected}\n--- said\n{said}"
        ran += 1
    assert ran >= 12
