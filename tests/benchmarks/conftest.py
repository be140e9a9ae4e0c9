"""The benchmarks are scripts: their folder is what Python looks in when they run, and here too."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))


@pytest.fixture(scope="session")
def root():
    return ROOT
