"""What holds for every test here: how many examples hypothesis tries, and how much CPU a test may take."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Generator

import pytest
from hypothesis import settings

# `quick` is for each change, `full` (`--hypothesis-profile=full`) for `make test-all`. A test may take as long as it
# takes on a machine that is busy with others: hypothesis sets no time limit.
settings.register_profile("quick", max_examples=20, deadline=None)
settings.register_profile("full", max_examples=150, deadline=None)
settings.load_profile("quick")

# CPU seconds of this process and of the children it has waited for, with what the test's own fixtures take. Fixtures
# that tests share are not counted: which test has to make them depends on the order.
CPU_LIMIT = 10.0

# CPU seconds of a loop on a machine for which the limit holds. A shared machine may give half as much for a second.
LOOP_SECONDS = 0.05

_BEGAN = pytest.StashKey[float]()
_SHARED = pytest.StashKey[float]()


def _cpu_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _slowness() -> float:
    """Return the CPU seconds of a loop at this moment over those for which the limit holds; at least 1."""
    best = math.inf
    for _ in range(5):
        began = time.process_time()
        sum(range(4_000_000))
        best = min(best, time.process_time() - began)
    return max(1.0, best / LOOP_SECONDS)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    item.stash[_BEGAN] = _cpu_seconds()
    item.config.stash[_SHARED] = 0.0
    yield


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    began = _cpu_seconds()
    try:
        return (yield)
    finally:
        if fixturedef.scope != "function":
            request.config.stash[_SHARED] += _cpu_seconds() - began


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    yield
    used = _cpu_seconds() - item.stash[_BEGAN] - item.config.stash[_SHARED]
    limited = settings.get_current_profile_name() == "quick" and not item.get_closest_marker("slow")
    if limited and used > CPU_LIMIT and used > (allowed := CPU_LIMIT * _slowness()):
        pytest.fail(
            f"{item.nodeid} took {used:.1f} s of CPU, more than {allowed:.1f} s: make it do less, or mark it slow",
            pytrace=False,
        )
