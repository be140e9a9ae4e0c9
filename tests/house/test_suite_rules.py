"""The rules that the root `conftest.py` holds every test to, on tests planted beside a copy of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BUSY = """
import subprocess, sys, time
import pytest

CHILD = [sys.executable, "-c", "import time\\nwhile time.process_time() < {seconds}: sum(range(100_000))"]

def test_idle():
    pass

def test_in_this_process():
    end = time.process_time() + {seconds}
    while time.process_time() < end:
        sum(range(100_000))

def test_in_a_child():
    subprocess.run(CHILD, check=True)

@pytest.fixture
def busy():
    subprocess.run(CHILD, check=True)

def test_in_a_fixture(busy):
    pass

@pytest.fixture(scope="session")
def shared():
    subprocess.run(CHILD, check=True)

def test_with_a_shared_fixture(shared):
    pass

@pytest.mark.slow
def test_that_says_so():
    subprocess.run(CHILD, check=True)
"""

EFFORT = """
from hypothesis import given, settings, strategies as st

tried = []

@given(st.integers())
def test_a(number):
    tried.append(number)

def test_b():
    assert len(tried) == settings.default.max_examples
    print("tried", len(tried))
"""


@pytest.fixture
def run(tmp_path):
    """Return ``run(text, *options, loop=1e9)``: what pytest prints about a file with that text; the limit is 0.3 s.

    ``loop`` is the time that the loop takes where the limit holds: a long one, so that no machine is too slow for it.
    """
    conftest = (ROOT / "conftest.py").read_text(encoding="utf-8")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    def execute(text: str, *options: str, loop: float = 1e9) -> str:
        changed, found = re.subn(r"(?m)^(CPU_LIMIT|LOOP_SECONDS) = [\d.]+$", r"\1 = PLANTED", conftest)
        assert found == 2
        for value in (0.3, loop):
            changed = changed.replace("PLANTED", str(value), 1)
        (tmp_path / "conftest.py").write_text(changed, encoding="utf-8")
        (tmp_path / "test_planted.py").write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, "test_planted.py"],
            cwd=tmp_path,
            # As a worker of xdist this process has variables that its own pytest must not read.
            env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.stdout

    return execute


# One process of its own is enough to see its report arrive, and each costs seconds.
@pytest.mark.parametrize("spread", [(), ("-n1",)], ids=["alone", "spread"])
def test_a_test_that_takes_too_much_cpu_fails_unless_it_is_marked_slow(run, spread):
    said = run(BUSY.format(seconds=0.5), *spread)
    # Where CI is set, pytest's summary says it once more, in full.
    found = set(re.findall(r"::(test_\w+) took [\d.]+ s of CPU, more than", said))
    assert found == {"test_in_this_process", "test_in_a_child", "test_in_a_fixture"}
    assert "6 passed, 3 errors" in said


def test_where_the_processor_is_slower_a_test_may_take_more(run):
    assert "6 passed in" in run(BUSY.format(seconds=0.5), loop=1e-6)


def test_at_full_effort_a_test_may_take_more(run):
    assert "6 passed in" in run(BUSY.format(seconds=0.5), "--hypothesis-profile=full")


def test_tests_marked_slow_are_left_out_on_request_and_counted(run):
    assert "5 passed, 1 deselected" in run(BUSY.format(seconds=0), "-m", "not slow")


@pytest.mark.parametrize(("options", "tried"), [((), 20), (("--hypothesis-profile=full",), 150)], ids=["quick", "full"])
@pytest.mark.parametrize("spread", [(), ("-n1",)], ids=["alone", "spread"])
def test_the_profile_says_how_many_examples_hypothesis_tries(run, options, tried, spread):
    said = run(EFFORT, "-rP", *options, *spread)
    assert f"tried {tried}" in said
    assert "2 passed" in said
