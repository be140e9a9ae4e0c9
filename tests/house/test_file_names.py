"""A file is found by its name: one name, one file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

PACKAGES = Path(__file__).parents[2] / "packages"

# Name -> how often, and why.
REPEATED = {
    "main.py": 3,  # where a program starts: command line, server, worker
    "commands.py": 2,  # what a distribution adds to the command line: API, worker
    # Named after what a person names: the command of the command line, and the resource of the API.
    "data.py": 2,
    "indicators.py": 2,
    "models.py": 2,
    "plugins.py": 2,
    "trials.py": 2,
    # What each backend has.
    "declaration.py": 2,
    "hooks.py": 2,
    "reporting.py": 2,
    "samples.py": 2,
}


def test_a_file_name_stands_once():
    names = Counter(path.name for path in PACKAGES.glob("*/src/**/*.py"))
    del names["__init__.py"]
    assert {name: count for name, count in names.items() if count > 1} == REPEATED
