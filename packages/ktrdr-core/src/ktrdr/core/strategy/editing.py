"""Changes to the document of a strategy: values set or removed at a path."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

from ktrdr.core.errors import BadInputError
from ktrdr.core.strategy.document import Entry, Node, Path, format_path, read_document

__all__ = ["node_of", "parse_path", "with_value"]

_STEP = re.compile(r"(?:^|\.)([^.\[\]]+)|\[(\d{1,6})\]")


def parse_path(text: str) -> Path:
    """Return the path that ``text`` names, as :func:`~ktrdr.core.strategy.document.format_path` writes it.

    Args:
        text: keys with dots between them, positions of a list from 0 in brackets: ``nn_inputs[0].lags``.

    Raises:
        BadInputError: it is written in another way.
    """
    steps: list[str | int] = []
    position = 0
    while match := _STEP.match(text, position):
        steps.append(match[1] if match[1] is not None else int(match[2]))
        position = match.end()
    if not steps or position != len(text):
        raise BadInputError(f"`{text}` is no path in a strategy; write it like training.epochs or nn_inputs[0].lags")
    return tuple(steps)


def node_of(value: object) -> Node:
    """Return plain Python data as part of a document.

    Args:
        value: maps with text keys, lists, tuples, text, numbers (numpy's too), booleans, dates and ``None``.

    Raises:
        BadInputError: it holds something else, or more than a strategy may.
    """
    if value is None:
        return Node(1, 1, None, "null")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInputError(f"{value!r:.100} cannot stand in a strategy: {error}") from None
    document = read_document(text)
    if document.root is None or document.problems:
        raise BadInputError(f"{value!r:.100} cannot stand in a strategy: {document.problems[0].message}")
    return document.root


def with_value(root: Node, path: Path, value: Node | None) -> Node:
    """Return a copy of a document in which ``value`` stands at ``path``, or nothing if it is ``None``.

    Maps on the way that do not exist are made; a scalar on the way is replaced by a map.

    Raises:
        BadInputError: the path goes through a list without a position, or names a position that is not there.
    """
    return _changed(root, path, (), value)


def _changed(node: Node, path: Path, done: Path, value: Node | None) -> Node:
    step, rest = path[0], path[1:]
    here = (*done, step)
    if isinstance(step, int) or isinstance(node.value, list):
        return Node(node.line, node.column, _changed_list(node, step, rest, done, value))
    entries = dict(node.value) if isinstance(node.value, dict) else {}
    if not rest and value is None:
        entries.pop(step, None)
    else:
        inner = entries[step].node if step in entries else Node(1, 1, {})
        entries[step] = Entry(1, 1, _changed(inner, rest, here, value) if rest else _given(value))
    return Node(node.line, node.column, entries)


def _changed_list(node: Node, step: str | int, rest: Path, done: Path, value: Node | None) -> list[Node]:
    name = format_path(done) or "the strategy"
    if not isinstance(node.value, list):
        raise BadInputError(f"`{name}` is no list: write a key after it, not [{step}]")
    if isinstance(step, str):
        raise BadInputError(
            f"`{name}` is a list: write the position of the item that is meant, such as {name}[0].{step}"
        )
    items = list(node.value)
    if step >= len(items):
        raise BadInputError(
            f"there is no {name}[{step}]: the list has {len(items)} {'item' if len(items) == 1 else 'items'}, counted"
            " from 0"
        )
    if rest:
        items[step] = _changed(items[step], rest, (*done, step), value)
    elif value is None:
        del items[step]
    else:
        items[step] = value
    return items


def _given(value: Node | None) -> Node:
    assert value is not None
    return value


def _plain(value: Any) -> Any:
    """Return numpy numbers and arrays as Python's own, and dates as text."""
    if isinstance(value, dt.date):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no type of text, number, list or map")
