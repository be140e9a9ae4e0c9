"""The worker's package is importable without a plugin and loads no framework."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import ktrdr.worker


def test_the_version_is_that_of_the_distribution():
    assert ktrdr.worker.__version__ == version("ktrdr-worker")


def test_importing_it_loads_no_framework():
    code = "import sys, ktrdr.worker; print({'torch', 'sklearn', 'skops'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
