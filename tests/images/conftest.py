"""The images that `nox -s images` has built, and containers of them.

Nothing here is skipped: whoever runs these tests wants images tried, and the session says why where it cannot.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "deploy/images"))


@pytest.fixture(scope="session")
def builder() -> Any:
    """The module that builds and measures."""
    import build

    return build


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return ``container(role, **more)``: a container, not started yet, with a home of its own."""
    import build
    from containers import Container

    made = []

    def make(role: str, **more: Any) -> Container:
        home = more.pop("home", tmp_path / f"home-{len(made)}")
        home.mkdir(exist_ok=True)
        home.chmod(0o777)
        mounts = {"/var/lib/ktrdr": home, **more.pop("mounts", {})}
        made.append(Container(build.image(role), tmp_path / f"{role}-{len(made)}.log", mounts=mounts, **more))
        return made[-1]

    yield make
    for each in reversed(made):
        each.remove()


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Return a function that finds a free port on loopback."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return find


@pytest.fixture(scope="session")
def wait() -> Callable[..., Any]:
    """Return ``wait(look, what)``: call ``look`` until what it returns is true."""

    def until(look: Callable[[], Any], what: str, timeout: float = 120) -> Any:
        deadline = time.monotonic() + timeout
        while not (found := look()):
            assert time.monotonic() < deadline, f"waited {timeout:g} s in vain until {what}"
            time.sleep(0.2)
        return found

    return until
