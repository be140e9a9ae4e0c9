"""The repository's own tools and list of commands, and a copy of the source tree in which a test may plant a fault."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def load() -> Callable[[str], ModuleType]:
    """Return ``load("tools/results.py")``: the module in that file, loaded once."""

    def load(path: str) -> ModuleType:
        name = Path(path).stem
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, ROOT / path)
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return sys.modules[name]

    return load


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
