"""What holds for every test here: how many examples hypothesis tries, and how much CPU a test may take."""

from __future__ import annotations

import resource
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

_BEGAN = pytest.StashKey[float]()
_SHARED = pytest.StashKey[float]()


def _cpu_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


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
    if used > CPU_LIMIT and settings.get_current_profile_name() == "quick" and not item.get_closest_marker("slow"):
        pytest.fail(
            f"{item.nodeid} took {used:.1f} s of CPU, more than {CPU_LIMIT:g} s: make it do less, or mark it slow",
            pytrace=False,
        )
