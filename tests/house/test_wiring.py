"""Stores, plugins and engines are put together in one place: everything else calls `ktrdr.core.workflows`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ALLOWED = ("packages/ktrdr-core/src/ktrdr/core/workflows/", "packages/ktrdr-core/tests/training/")


def written_out(files):
    made = re.compile(r"^(?!\s*class )(?!.*:class:).*\bTrainingExecutor\(", re.MULTILINE)
    return sorted(name for name, text in files.items() if made.search(text) and not name.startswith(ALLOWED))


def test_a_training_is_put_together_in_the_workflow_alone():
    files = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for folder in ("packages", "deploy", "benchmarks", "examples", "docs", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != Path(__file__)
    }
    assert written_out(files) == []


def test_one_that_is_written_out_elsewhere_is_found():
    assert written_out({"packages/x.py": "result = TrainingExecutor(strategy).execute()\n"}) == ["packages/x.py"]
    assert written_out({"packages/x.py": "class TrainingExecutor(Base):\n"}) == []
