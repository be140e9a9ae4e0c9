"""A copy of the source tree, in which a test may plant what must not be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copied_tree(tmp_path: Path) -> Path:
    """The sources of every distribution, and the contracts."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for source in ROOT.glob("packages/*/src"):
        ignored = shutil.ignore_patterns("__pycache__", "samples")
        shutil.copytree(source, tmp_path / source.relative_to(ROOT), ignore=ignored)
    return tmp_path


@pytest.fixture
def run_in() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return ``run_in(tree, *command)``, which runs Python on the sources below ``tree`` and not on those installed."""

    def run(tree: Path, *command: str) -> subprocess.CompletedProcess[str]:
        sources = os.pathsep.join(str(path) for path in sorted(tree.glob("packages/*/src")))
        environment = os.environ | {"PYTHONPATH": sources}
        return subprocess.run(
            [sys.executable, *command], cwd=tree, env=environment, capture_output=True, text=True, timeout=300
        )

    return run
