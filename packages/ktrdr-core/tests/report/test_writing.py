"""Whole or not at all, and nothing loaded before it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ktrdr.core.errors import BadInputError, StoreError
from ktrdr.core.report import write_report


def test_directories_are_made_and_files_replaced(result, html, tmp_path: Path):
    path = tmp_path / "a" / "b" / "report.html"
    write_report(result, path)
    path.write_text("old", encoding="utf-8")
    write_report(result, path)
    assert path.read_text(encoding="utf-8") == html
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


def test_a_full_disk_leaves_the_old_report(result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="the disk is full; nothing was written"):
        write_report(result, path)
    assert path.read_text(encoding="utf-8") == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_directory_is_refused(result, tmp_path: Path):
    with pytest.raises(BadInputError, match="which is a directory; add a file name"):
        write_report(result, tmp_path)


def test_importing_it_loads_nothing():
    code = "import sys, ktrdr.core.report; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in answer.stdout.split()}
    assert not loaded & {"jinja2", "plotly", "numpy", "pandas", "pydantic", "duckdb"}
