"""Changes to the document of a strategy: values set or removed at a path."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import reprlib
from collections.abc import Mapping

from ktrdr.core.errors import BadInputError
from ktrdr.core.strategy.document import MOST_DEPTH, Entry, Node, Path, format_path

__all__ = ["node_of", "parse_path", "with_value"]

_STEP = re.compile(r"(?:^|(?!^)\.)([^.\[\]]+)|\[(\d{1,6})\]")


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
        value: maps with text keys, lists, tuples, text, finite numbers (numpy's too), booleans, dates and ``None``.

    Raises:
        BadInputError: it holds something else, or is nested deeper than a document may be.
    """
    return _node(value, 0)


def _node(value: object, depth: int) -> Node:
    if depth > MOST_DEPTH:
        raise BadInputError(f"a value cannot stand in a strategy: it is nested more than {MOST_DEPTH} deep")
    if isinstance(value, dt.date):
        value = value.isoformat()
    elif hasattr(value, "tolist"):  # numbers and arrays of numpy
        value = value.tolist()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or not key:
                raise BadInputError(f"{reprlib.repr(key)} cannot be a key of a strategy, which is text")
        return Node(1, 1, {key: Entry(1, 1, _node(inner, depth + 1)) for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return Node(1, 1, [_node(item, depth + 1) for item in value])
    if value is None or isinstance(value, bool):
        return Node(1, 1, value, json.dumps(value))
    if isinstance(value, str):
        return Node(1, 1, value, value)
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return Node(1, 1, value, repr(value))
    raise BadInputError(f"{reprlib.repr(value)} cannot stand in a strategy: it is no text, finite number, list or map")


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
