"""What the environments are: their files, with what they extend put in."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENTS = ROOT / "deploy/environments"
_VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::-([^}]*))?\}")


def interpolate(text: str, given: dict[str, str]) -> str:
    """Fill in ``${NAME:-default}`` as Compose does, with what is ``given``."""
    return _VARIABLE.sub(lambda match: given.get(match[1]) or match[2] or "", text)


def merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Merge a service with the one it extends: mappings key by key, volumes and ports added, the rest replaced."""
    merged = dict(base)
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        elif key in ("volumes", "ports") and key in merged:
            merged[key] = [*merged[key], *value]
        else:
            merged[key] = value
    return merged


def read_services(path: Path, given: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the services of a compose file by name; sources of bind mounts become absolute."""
    services = yaml.safe_load(interpolate(path.read_text(encoding="utf-8"), given))["services"]
    found = {}
    for name, service in services.items():
        extends = service.pop("extends", None)
        service["volumes"] = [
            str((path.parent / source).resolve()) + volume[len(source) :] if source.startswith(".") else volume
            for volume in service.get("volumes", [])
            for source in [volume.partition(":")[0]]
        ]
        if extends is not None:
            service = merge(read_services(path.parent / extends["file"], given)[extends["service"]], service)
        found[name] = service
    return found


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def compose() -> Callable[..., dict[str, dict[str, Any]]]:
    """Return ``compose(environment, **variables)``: its services."""
    return lambda environment, **given: read_services(ENVIRONMENTS / environment / "compose.yaml", given)
