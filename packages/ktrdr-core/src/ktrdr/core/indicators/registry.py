"""The registry of indicator types: built-in ones, and those of installed distributions.

A distribution adds a type with an entry point in the group ``ktrdr.indicators``: its name is the name of the type, and
it points to an :class:`~ktrdr.core.indicators.types.IndicatorType`. The type is imported on first use. A name that two
distributions provide, or that is built in, raises an error that names both when the type is used.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ktrdr.core.errors import BadInputError, PluginError, one_line
from ktrdr.core.indicators import momentum, statistics, trend, volatility, volume
from ktrdr.core.indicators.indicator_code import IndicatorCode, code_digest
from ktrdr.core.indicators.types import IndicatorType
from ktrdr.core.parameters import did_you_mean
from ktrdr.core.plugins.discovery import INDICATOR_GROUP, PluginRecord, discover

__all__ = [
    "REFUSED",
    "IndicatorRegistry",
    "default_registry",
    "get_indicator",
    "indicator_names",
    "resolve_name",
    "unknown_indicator",
]

REFUSED: Mapping[str, str] = {
    "zigzag": "`zigzag` looks into the future, so it cannot be an indicator; it exists as a label source:"
    " `training: {labels: {source: zigzag}}`",
}
"""Names that are deliberately not indicators, and the reasons."""

_BUILT_IN: Mapping[str, IndicatorType] = {
    indicator.name: indicator
    for group in (momentum, trend, volatility, volume, statistics)
    for indicator in group.INDICATORS
}
_ALIASES: Mapping[str, str] = {alias: name for name, indicator in _BUILT_IN.items() for alias in indicator.aliases}
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class IndicatorRegistry:
    """The built-in types, and the user types found on ``path`` (``sys.path`` if None).

    ``KTRDR_BLOCK_PLUGINS`` and ``KTRDR_LOAD_PLUGINS`` in ``environ`` apply as for every plugin.
    """

    def __init__(self, *, path: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._path = path
        self._environ = environ
        self._loaded: dict[str, IndicatorType] = {}
        self._digests: dict[str, str | None] = {}

    def names(self) -> tuple[str, ...]:
        """Return the built-in names, then those of usable user indicators, without importing them."""
        return (
            *_BUILT_IN,
            *(name for name, records in self._records.items() if not _obstacle(name, records)),
        )

    def resolve(self, name: str) -> str | None:
        """Return the canonical name for a name or alias in any case, or None if there is no such type."""
        name = name.lower()
        if name in _BUILT_IN:
            return name
        if name in _ALIASES:
            return _ALIASES[name]
        return name if name in self._records else None

    def get(self, name: str) -> IndicatorType:
        """Return a type by name or alias; a user indicator is imported.

        Raises:
            BadInputError: there is no such type; the message suggests one.
            PluginError: the user indicator is blocked, in conflict or broken.
        """
        resolved = self.resolve(name)
        if resolved is None:
            raise BadInputError(self.unknown(name))
        records = self._records.get(resolved)
        if records is None:
            return _BUILT_IN[resolved]
        obstacle = _obstacle(resolved, records)
        if obstacle:
            raise PluginError(f"indicator `{resolved}`: {obstacle}")
        if resolved not in self._loaded:
            self._loaded[resolved] = _load(resolved, records[0])
            # Read at once: a process goes on with the code that it has imported, even if the file changes.
            self._digests[resolved] = code_digest(records[0].module.partition(":")[0], self._loaded[resolved])
        return self._loaded[resolved]

    def unknown(self, name: str) -> str:
        """Return the message about a name that is not a type."""
        if name.lower() in REFUSED:
            return REFUSED[name.lower()]
        hint = did_you_mean(name, (*self.names(), *_ALIASES)) or "; `ktrdr indicators` lists those there are"
        return f"unknown indicator type `{name}`{hint}"

    def is_foreign(self, name: str) -> bool:
        """Return True if the type called ``name`` is a user indicator."""
        return name not in _BUILT_IN and name in self._records

    def origin(self, name: str) -> str:
        """Return the distribution of a type, with its version if it is not ``ktrdr-core``."""
        records = self._records.get(name) if self.is_foreign(name) else None
        return "ktrdr-core" if records is None else records[0].origin

    def code(self, name: str) -> IndicatorCode:
        """Return the identity of the code of the user indicator called ``name``, which is imported.

        One that cannot be used has no digest: whoever computes it is told why.
        """
        with contextlib.suppress(PluginError):
            self.get(name)
        record = self._records[name][0]
        return IndicatorCode(record.distribution, record.version, self._digests.get(name))

    def problems(self) -> dict[str, str]:
        """Return why user indicators cannot be used, by name; indicators are not imported to find out."""
        obstacles = {name: _obstacle(name, records) for name, records in self._records.items()}
        return {name: obstacle for name, obstacle in obstacles.items() if obstacle}

    @functools.cached_property
    def _records(self) -> dict[str, list[PluginRecord]]:
        """Entry points by the name of the type; blocked entry points with a built-in name are left out."""
        found: dict[str, list[PluginRecord]] = {}
        for record in discover(INDICATOR_GROUP, path=self._path, environ=self._environ):
            name = _ALIASES.get(record.name.lower(), record.name.lower())
            if record.state != "blocked" or name not in _BUILT_IN:
                found.setdefault(name, []).append(record)
        return found


def _obstacle(name: str, records: Sequence[PluginRecord]) -> str:
    """Return why the type of ``records`` cannot be used, or an empty text."""
    if all(record.state == "blocked" for record in records):
        return f"{records[0].message}; change that to use it"
    providers = " and ".join(sorted({record.distribution for record in records}))
    if name in _BUILT_IN or name in REFUSED:
        claimed = records[0].name
        return (
            f"ktrdr-core and {providers} both provide `{claimed}`; uninstall {providers},"
            f" or leave it out with KTRDR_BLOCK_PLUGINS={claimed}"
        )
    if len(records) > 1:
        return f"{providers} both provide `{name}`; uninstall one of them"
    return ""


def _load(name: str, record: PluginRecord) -> IndicatorType:
    """Import a user indicator."""
    where = f"indicator `{name}` of {record.origin}"
    module, _, attribute = record.module.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in filter(None, attribute.split(".")):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # foreign code may raise any exception
        reason = one_line(error, named=True)
        raise PluginError(
            f"{where} cannot be imported from {record.module} ({reason}); update or uninstall {record.distribution}"
        ) from error
    if not isinstance(found, IndicatorType):
        raise PluginError(f"{where}: {record.module} is {type(found).__name__}, and must be an IndicatorType")
    fault = _fault(found, name)
    if fault:
        raise PluginError(f"{where}: {fault}; update or uninstall {record.distribution}")
    return found


def _fault(indicator: IndicatorType, name: str) -> str:
    known = {"time", "open", "high", "low", "close", "volume"}
    if indicator.name != name or not _NAME.fullmatch(name):
        return f"its name is `{indicator.name}`, and must be that of the entry point, in lower case"
    if indicator.aliases:
        return "aliases are not supported, since finding them would import every indicator"
    if not indicator.outputs or len(set(indicator.outputs)) != len(indicator.outputs):
        return "its outputs must be one or more different names"
    if set(indicator.inputs) - known:
        return f"its inputs must be among {', '.join(sorted(known))}"
    return ""


@functools.cache
def default_registry() -> IndicatorRegistry:
    """Return the registry of this process, which discovers distributions once."""
    return IndicatorRegistry()


def get_indicator(name: str) -> IndicatorType:
    """Return a type by name or alias, in any case; see :meth:`IndicatorRegistry.get`."""
    return default_registry().get(name)


def indicator_names() -> tuple[str, ...]:
    """Return the names of all types, built-in ones first."""
    return default_registry().names()


def resolve_name(name: str) -> str | None:
    """Return the canonical name for a name or alias, in any case, or None."""
    return default_registry().resolve(name)


def unknown_indicator(name: str) -> str:
    """Return the message about a name that :func:`resolve_name` does not know."""
    return default_registry().unknown(name)
