"""Damaged files come in right or are refused; nothing else happens, and nothing is left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("vendor_mutants.py")


def _run(folder: Path, first: int, count: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), str(folder), str(first), str(count)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_some_mutations_of_good_files(tmp_path):
    result = _run(tmp_path, 5000, 40)
    assert result["faults"] == []
    assert min(result["counts"].values()) >= 5


@pytest.mark.slow
def test_a_thousand_mutations_of_good_files(tmp_path):
    result = _run(tmp_path, 0, 1000)
    assert result["faults"] == []
    assert sum(result["counts"].values()) == 1000
    assert result["peak_mb"] < 300
