"""Loads a strategy file as a :class:`~ktrdr.core.strategy.model.Strategy`, or raises with every error in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ktrdr.core.errors import BadInputError
from ktrdr.core.limits import LONGEST_STRATEGY
from ktrdr.core.strategy.diagnostics import Diagnostic, StrategyError
from ktrdr.core.strategy.document import Node, Path, read_document
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.strategy.read_strategy import read_strategy
from ktrdr.core.strategy.section import Report

if TYPE_CHECKING:
    from ktrdr.core.plugins.manager import PluginManager

__all__ = ["LoadedStrategy", "load_strategy", "load_strategy_text", "read_strategy_file"]


@dataclass(frozen=True, slots=True)
class LoadedStrategy:
    """A strategy that was read from YAML.

    Attributes:
        strategy: the complete strategy, with defaults filled in.
        text: the text of the file, unchanged.
        warnings: warnings in the order of the file.
        places: line and column of every key and list item, from 1, by path (``("fuzzy_sets", "rsi")``).
    """

    strategy: Strategy
    text: str
    warnings: tuple[Diagnostic, ...]
    places: Mapping[Path, tuple[int, int]]


def load_strategy(
    path: str | os.PathLike[str], *, plugins: PluginManager | None = None, plugin_may_be_missing: bool = False
) -> LoadedStrategy:
    """Read a strategy file; see :func:`load_strategy_text`.

    Raises:
        BadInputError: the file does not exist, or it cannot be read as text.
        StrategyError: the file is not a valid strategy; the message has every error with its line and column.
    """
    text = read_strategy_file(path)
    return load_strategy_text(text, name=str(path), plugins=plugins, plugin_may_be_missing=plugin_may_be_missing)


def load_strategy_text(
    text: str,
    *,
    name: str = "strategy",
    plugins: PluginManager | None = None,
    plugin_may_be_missing: bool = False,
) -> LoadedStrategy:
    """Read a strategy from YAML text.

    Args:
        text: at most :data:`~ktrdr.core.limits.LONGEST_STRATEGY` characters.
        name: name of the file, for messages.
        plugins: plugins whose declarations are used to check ``model`` and ``training`` and to fill in the defaults of
            ``architecture``; without them, the architecture is taken as written.
        plugin_may_be_missing: warn, instead of refusing the strategy, if the plugin that trains its model is not
            installed.

    Raises:
        StrategyError: the text is not a valid strategy; the message has every error with its line and column.
    """
    document = read_document(text)
    report = Report()
    report.diagnostics += document.problems
    strategy = None if document.root is None else read_strategy(document.root, report, plugins, plugin_may_be_missing)
    found = tuple(sorted(report.diagnostics, key=lambda item: (item.line, item.column)))
    if strategy is None or report.failed or document.root is None:
        raise StrategyError(name, found)
    return LoadedStrategy(strategy, text, found, _places(document.root))


def read_strategy_file(path: str | os.PathLike[str]) -> str:
    """Return the text of a strategy file.

    Raises:
        BadInputError: the file does not exist, is larger than a strategy can be, or cannot be read as text.
    """
    limit = 4 * LONGEST_STRATEGY
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise BadInputError(
            f"there is no file `{path}`; give the path of a strategy, such as my_strategy.yaml"
        ) from None
    except IsADirectoryError:
        raise BadInputError(f"`{path}` is a directory; give the path of a strategy file in it") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadInputError(f"`{path}` cannot be read: {reason}") from None
    if len(content) > limit:
        raise BadInputError(
            f"`{path}` is larger than {limit:,} bytes; a strategy file has at most {LONGEST_STRATEGY:,} characters"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadInputError(
            f"`{path}` is not a text file: line {line} contains a byte that is not UTF-8; save it as UTF-8"
        ) from None


def _places(root: Node) -> dict[Path, tuple[int, int]]:
    places: dict[Path, tuple[int, int]] = {(): (root.line, root.column)}
    pending: list[tuple[Path, Node]] = [((), root)]
    while pending:
        path, node = pending.pop()
        if isinstance(node.value, dict):
            for key, entry in node.value.items():
                places[*path, key] = (entry.line, entry.column)
                pending.append(((*path, key), entry.node))
        elif isinstance(node.value, list):
            for index, item in enumerate(node.value):
                places[*path, index] = (item.line, item.column)
                pending.append(((*path, index), item))
    return places
