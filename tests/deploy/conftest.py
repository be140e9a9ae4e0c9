"""What the environments are: their files, with what they extend put in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENTS = ROOT / "deploy/environments"
sys.path.insert(0, str(ENVIRONMENTS))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def compose() -> Callable[..., dict[str, dict[str, Any]]]:
    """Return ``compose(environment, **variables)``: its services."""
    from compose import read_services

    return lambda environment, **given: read_services(ENVIRONMENTS / environment / "compose.yaml", given)
