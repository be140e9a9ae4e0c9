"""Digest of the code of a user indicator: its formula may change without a new version of its distribution."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import resolve_name
from types import FunctionType
from typing import NamedTuple

from ktrdr.core.indicators.types import IndicatorType

__all__ = ["IndicatorCode", "code_digest"]

_CORE = "ktrdr.core"


class IndicatorCode(NamedTuple):
    """Identity of the code of a user indicator.

    Attributes:
        distribution: its distribution.
        version: version of the distribution.
        digest: :func:`code_digest`; ``None`` if the code cannot be read.
    """

    distribution: str
    version: str
    digest: str | None


def code_digest(module: str, indicator: IndicatorType) -> str | None:
    """Return the sha256 (hex) of the code of a user indicator that has been imported.

    That is the source of its module, of the module of its formula, and of the modules of the same package that these
    import, at any level. Other distributions and data files are not read.

    Args:
        module: name of the imported module.
        indicator: what the module provides.

    Returns:
        The hash; ``None`` if the source of the module cannot be read, as that of code which was typed in.
    """
    waiting, found = [module], dict[str, bytes]()
    formula = indicator.formula
    # Objects of other classes name the module of their class.
    if isinstance(formula, FunctionType) and not _within(formula.__module__, _CORE):
        waiting.append(formula.__module__)
    package = module.partition(".")[0]
    while waiting:
        name = waiting.pop()
        spec = None if name in found else _spec(name)
        content = None if spec is None else _content(spec)
        if spec is not None and content is not None:
            found[name] = content
            imported = _imported(content, name, spec)
            waiting += [own for own in imported if _within(own, package) and not _within(own, _CORE)]
    if module not in found:
        return None
    digest = hashlib.sha256()
    for name, content in sorted(found.items()):
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _spec(name: str) -> ModuleSpec | None:
    """Return where a module is, without importing it or a package above it."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__spec__", None)
    above = _spec(name.rpartition(".")[0]) if "." in name else None
    if above is None or above.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(name, list(above.submodule_search_locations))


def _content(spec: ModuleSpec) -> bytes | None:
    """Return the source of a module, else the bytes of its file, which may be compiled."""
    try:
        source = spec.loader.get_source(spec.name)  # type: ignore[union-attr]
        return source.encode() if source is not None else spec.loader.get_data(spec.origin)  # type: ignore[union-attr]
    except (AttributeError, ImportError, OSError, TypeError, UnicodeError):  # a package or loader without files
        return None


def _imported(content: bytes, name: str, spec: ModuleSpec) -> Iterator[str]:
    """Yield the names of the modules that a source imports anywhere."""
    import ast

    package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
    try:
        statements = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError):  # it is compiled
        return
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            try:
                origin = resolve_name("." * statement.level + (statement.module or ""), package)
            except ImportError:  # above the outermost package: it fails when it is run
                continue
            for alias in statement.names:
                within = f"{origin}.{alias.name}"
                # What is no module is a name in the module that it is imported from.
                yield within if _within(origin, name.partition(".")[0]) and _spec(within) is not None else origin
