"""The environment that a bundle records. The tests use a real git, in checkouts made here."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess

import numpy as np
import pytest

from ktrdr.core import __version__
from ktrdr.core.training.provenance import describe_environment, git_state


def test_versions_are_those_that_run_and_unknown_distributions_are_left_out():
    found = describe_environment(("filelock", "no-such-distribution"))
    assert found.python == platform.python_version()
    assert found.packages["numpy"] == np.__version__
    assert found.packages["ktrdr-core"] == __version__
    assert "filelock" in found.packages
    assert "no-such-distribution" not in found.packages


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    assert shutil.which("git"), "git is needed to test what is said about a checkout"
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    directory = tmp_path / "checkout"
    directory.mkdir()
    _git(directory, "init", "--quiet")
    return directory


def _git(directory, *arguments):
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True)


def _head(directory):
    answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=directory, check=True, capture_output=True, text=True)
    return answer.stdout.strip()


def test_commit_and_changes(checkout):
    assert git_state(checkout) is None  # no commit yet
    (checkout / "strategy.yaml").write_text("name: a\n")
    _git(checkout, "add", ".")
    _git(checkout, "commit", "--quiet", "-m", "One")
    clean = git_state(checkout)
    assert (clean.commit, clean.dirty) == (_head(checkout), False)
    (checkout / "strategy.yaml").write_text("name: b\n")
    assert git_state(checkout).dirty


def test_a_strategy_that_was_never_added_counts_as_a_change(checkout):
    _git(checkout, "commit", "--quiet", "--allow-empty", "-m", "One")
    (checkout / "strategy.yaml").write_text("name: a\n")
    assert git_state(checkout).dirty


def test_outside_of_a_checkout_and_without_git(tmp_path, monkeypatch):
    # Whatever the temporary directory lies in: git looks no further up than here.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None
