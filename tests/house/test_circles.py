"""The two circles of sessions hold every test that there is, and their minutes fit."""

from __future__ import annotations

import re

import pytest


@pytest.fixture(scope="session")
def noxfile(load):
    return load("noxfile.py")


def folders_of_tests(root):
    """Return every folder with tests: one for each distribution, one for each of those that cross them."""
    found = [*(root / "packages").glob("*/tests"), *(path for path in (root / "tests").iterdir() if path.is_dir())]
    return {str(path.relative_to(root)) for path in found if any(path.rglob("test_*.py"))}


def folders_run(text, suites):
    """Return the folders that the sessions of a noxfile give to pytest."""
    return {path for suite in suites for path in suite.tests} | set(re.findall(r'"((?:tests|packages)/[\w/-]+)"', text))


def test_every_folder_of_tests_is_run_by_a_session(root, noxfile):
    text = (root / "noxfile.py").read_text(encoding="utf-8")
    assert folders_of_tests(root) - folders_run(text, noxfile.SUITES) == set()


def test_a_folder_that_no_session_runs_is_found(root, noxfile):
    text = (root / "noxfile.py").read_text(encoding="utf-8").replace('"tests/cluster"', '"tests/clusters"')
    assert folders_of_tests(root) - folders_run(text, noxfile.SUITES) == {"tests/cluster"}


def test_every_distribution_has_a_session(root, noxfile):
    there = {path.parent.name for path in (root / "packages").glob("*/pyproject.toml")}
    assert set(noxfile.DISTRIBUTIONS) == there


def test_the_budget_stays_below_its_limit(noxfile):
    assert sum(noxfile.BUDGET_LANDED.values()) + sum(noxfile.BUDGET_TO_COME.values()) <= noxfile.BUDGET_LIMIT


def test_what_is_alone_runs_last(noxfile):
    from nox import registry

    second = [name for name, function in registry.get().items() if "second" in function.tags]
    assert second[-1] == "bench_guard"
    assert registry.get()["bench_guard"].allow_parallel is False
