"""A run closes with what it did not run."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def results(load):
    return load("tools/results.py")


@pytest.fixture
def tests(results, tmp_path):
    """The results of a real run of pytest: two passed, one failed, one broke before it began, two skipped alike."""
    (tmp_path / "test_planted.py").write_text(
        """
import pytest

@pytest.fixture
def broken():
    raise OSError("no")

def test_one(): assert 1
def test_two(): assert 2
def test_wrong(): assert 0
def test_error(broken): assert broken
@pytest.mark.parametrize("x", [1, 2])
def test_elsewhere(x): pytest.skip("this machine has no display")
""",
        encoding="utf-8",
    )
    path = tmp_path / "planted.xml"
    options = ["-q", "--import-mode=importlib", "-c", "/dev/null", "--rootdir", str(tmp_path), "--junitxml", str(path)]
    assert pytest.main([str(tmp_path / "test_planted.py"), *options]) == 1
    return results.read_results(path)


def test_results_are_read(tests):
    assert (tests.passed, tests.failed, dict(tests.skipped)) == (2, 2, {"this machine has no display": 2})


def test_what_was_not_run_is_said_before_the_count(results, tests):
    sessions = [
        {"name": "planted", "result": "failed", "reason": None},
        {"name": "images", "result": "skipped", "reason": "NOT RUN: containers need root"},
        {"name": "canary", "result": "aborted", "reason": None},
    ]
    assert results.closing_lines(sessions, {"planted": tests}) == [
        "NOT RUN: planted: 2 tests: this machine has no display",
        "NOT RUN: images: containers need root",
        "NOT RUN: canary: aborted",
        "2 passed, 2 failed, 2 skipped",
    ]


@pytest.mark.parametrize(("seconds", "verdict"), [(90 * 20, "2.0 min to spare"), (60 * 33, "1.0 min too many")])
def test_minutes_stand_beside_the_budget(results, seconds, verdict):
    lines = results.budget_lines(seconds, {"the house": 30, "trials": 2}, {"search": 1}, 50)
    assert lines[1:] == [
        "the house   30 min",
        "trials       2 min",
        "search       1 min  to come",
        f"in all 33 of 50; landed 32, used {seconds / 60:.1f}: {verdict}",
    ]
