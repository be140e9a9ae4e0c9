"""Reads the services of our compose files, with `extends` and variables resolved.

Supports only the parts of the specification that our files use: ``${NAME:-default}``, ``extends`` with a file, anchors,
merge keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["read_services"]

_VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::-([^}]*))?\}")


def read_services(path: Path, given: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the services of a compose file by name; relative sources of volumes become absolute paths."""
    text = _VARIABLE.sub(lambda match: given.get(match[1]) or match[2] or "", path.read_text(encoding="utf-8"))
    found = {}
    for name, service in yaml.safe_load(text)["services"].items():
        extends = service.pop("extends", None)
        service["volumes"] = [_absolute(volume, path.parent) for volume in service.get("volumes", [])]
        if extends is not None:
            base = read_services(path.parent / extends["file"], given)[extends["service"]]
            service = _merge(base, service)
        found[name] = service
    return found


def _absolute(volume: str, directory: Path) -> str:
    source, rest = volume.split(":", 1)
    return f"{(directory / source).resolve()}:{rest}" if source.startswith(".") else volume


def _merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Merge a service with the one it extends: mappings key by key, volumes and ports added, the rest replaced."""
    merged = dict(base)
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        elif key in ("volumes", "ports") and key in merged:
            merged[key] = [*merged[key], *value]
        else:
            merged[key] = value
    return merged
