"""Search for entry points without importing the modules they name."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

import importlib_metadata

__all__ = ["BACKEND_GROUP", "COMMAND_GROUP", "INDICATOR_GROUP", "PluginRecord", "PluginState", "discover"]

BACKEND_GROUP = "ktrdr.plugins"
COMMAND_GROUP = "ktrdr.commands"
INDICATOR_GROUP = "ktrdr.indicators"

PluginState = Literal["available", "blocked", "clash"]


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """An entry point, whose module has not been imported.

    ``message`` says why the state is not ``available``; it is empty otherwise.
    """

    name: str
    distribution: str
    version: str
    module: str
    state: PluginState
    message: str = ""

    @property
    def origin(self) -> str:
        """``distribution version``, for messages."""
        return f"{self.distribution} {self.version}"


def discover(
    group: str,
    *,
    path: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[PluginRecord, ...]:
    """List the entry points of ``group``, sorted by name and distribution.

    A name that two distributions provide is a clash.

    Args:
        group: group of the entry points.
        path: directories to search instead of ``sys.path``.
        environ: environment variables instead of those of the process. ``KTRDR_BLOCK_PLUGINS`` lists names to block,
            ``KTRDR_LOAD_PLUGINS`` the only names not to block, separated by commas.
    """
    environ = os.environ if environ is None else environ
    blocked = _names(environ.get("KTRDR_BLOCK_PLUGINS", ""))
    only = _names(environ["KTRDR_LOAD_PLUGINS"]) if environ.get("KTRDR_LOAD_PLUGINS") else None

    found: dict[str, list[tuple[str, str, str]]] = {}
    for distribution, version, name, value in _entry_points(group, path):
        found.setdefault(name, []).append((distribution, version, value))

    records: list[PluginRecord] = []
    for name, origins in sorted(found.items()):
        state: PluginState = "available"
        message = ""
        if name in blocked:
            state, message = "blocked", "listed in KTRDR_BLOCK_PLUGINS"
        elif only is not None and name not in only:
            state, message = "blocked", "not listed in KTRDR_LOAD_PLUGINS"
        elif len(origins) > 1:
            names = " and ".join(sorted(distribution for distribution, _, _ in origins))
            state, message = "clash", f"{names} both provide `{name}`; uninstall one of them"
        records.extend(
            PluginRecord(name, distribution, version, value, state, message)
            for distribution, version, value in sorted(origins)
        )
    return tuple(records)


def _names(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _entry_points(group: str, path: Sequence[str] | None) -> Iterable[tuple[str, str, str, str]]:
    # Without places that do not exist, such as the archive of the standard library on every path: they are taken for
    # archives, for which zipfile is imported. An empty text is the current directory.
    places = [place for place in (sys.path if path is None else path) if place == "" or os.path.exists(place)]
    seen: set[str] = set()
    for distribution in importlib_metadata.distributions(path=places):
        entry_points = [entry_point for entry_point in distribution.entry_points if entry_point.group == group]
        if not entry_points:
            continue
        name, version = _identity(distribution.read_text)
        # A distribution may be found twice, on an editable path and in site-packages: the first one is used.
        key = name.lower().replace("_", "-").replace(".", "-")
        if key in seen:
            continue
        seen.add(key)
        for entry_point in entry_points:
            yield name, version, entry_point.name, entry_point.value


def _identity(read_text: Callable[[str], str | None]) -> tuple[str, str]:
    """Return name and version of the distribution whose files are read; ``unknown`` if its metadata lack one.

    They are read from the lines of the metadata: parsing all of them imports `email`, and takes longer than the rest of
    the search.
    """
    text = read_text("METADATA") or read_text("PKG-INFO") or ""
    found: dict[str, str] = {}
    # The headers end with an empty line; a description follows. Of a header that comes twice the first counts, as in an
    # e-mail; the other line ends of `splitlines` do not end one.
    for line in takewhile(bool, (line.removesuffix("\r") for line in text.split("\n"))):
        key, _, value = line.partition(":")
        found.setdefault(key.lower(), value.strip())
    return found.get("name") or "unknown", found.get("version") or "unknown"
