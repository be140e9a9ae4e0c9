"""What `ktrdr up` refuses before anything starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("variable", ["KTRDR_CACHE_LIMIT", "KTRDR_POPULATION_MEMORY"])
def test_a_wrong_size_in_the_environment_is_refused_before_anything_starts(tmp_path, variable):
    done = subprocess.run(
        [sys.executable, "-m", "ktrdr.core.cli.main", "up", "--workers", "1", "--port", "0"],
        env={**os.environ, "KTRDR_HOME": str(tmp_path / "home"), variable: "2G"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {variable} is not a size: '2G'; set it to")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "home").exists()
