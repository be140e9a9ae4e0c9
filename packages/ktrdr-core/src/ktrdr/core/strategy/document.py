"""Reader and writer of YAML as a tree of nodes with line and column, within limits of size and depth.

The tree is built from PyYAML's event stream rather than by its constructors: no YAML tag is executed, positions are
kept, and reading stops as soon as a limit is exceeded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from ktrdr.core.limits import LONGEST_STRATEGY
from ktrdr.core.strategy.diagnostics import Diagnostic
from ktrdr.core.strategy.yaml_faults import explain_fault

__all__ = [
    "MOST_DEPTH",
    "Document",
    "Entry",
    "Node",
    "Path",
    "Scalar",
    "format_path",
    "plain",
    "read_document",
    "write_document",
]

MOST_DEPTH = 16
"""Maps and lists inside each other, at most."""
_MAX_NODES = 10_000
_MAX_ALIASES = 100
_MAX_KEY = 200

Path = tuple[str | int, ...]
Scalar = str | int | float | bool | None

# The scalars of YAML 1.1, which older files were written for, with three differences: `1e-4` is a number, and `010` and
# `12:30` are text rather than an octal and a base-60 number.
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = {
    spelling: word in ("yes", "true", "on")
    for word in ("yes", "no", "true", "false", "on", "off")
    for spelling in (word, word.capitalize(), word.upper())
}
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+)", re.ASCII
)
# types-PyYAML declares no types for this method.
_IMPLICIT_TAG: Callable[[type[yaml.Node], str, tuple[bool, bool]], str] = yaml.resolver.Resolver().resolve
_OTHER_BREAKS = re.compile("[\r\x85\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class Node:
    """A value: a scalar, a list of nodes, or a map of entries. ``text`` is a scalar as written in the file."""

    line: int
    column: int
    value: Scalar | list[Node] | dict[str, Entry]
    text: str = ""


@dataclass(slots=True)
class Entry:
    """A value in a map, with the line and column of its key."""

    line: int
    column: int
    node: Node


@dataclass(slots=True)
class Document:
    """A YAML text that was read.

    Attributes:
        root: root of the tree; ``None`` if the text cannot be read, and ``problems`` then has the reason.
        problems: errors found while reading.
    """

    root: Node | None
    problems: list[Diagnostic] = field(default_factory=list)


def format_path(path: Path) -> str:
    """Return a path as text: ``("a", 0, "b")`` gives ``a[0].b``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def plain(node: Node) -> Any:
    """Return the value of a node as plain lists, dicts and scalars."""
    if isinstance(node.value, dict):
        return {key: plain(entry.node) for key, entry in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value


class _Unreadable(Exception):
    def __init__(self, line: int, column: int, message: str, path: Path = ()) -> None:
        self.diagnostic = Diagnostic(line, column, format_path(path), message)
        super().__init__(message)


def read_document(text: str) -> Document:
    """Read YAML; errors in the text are returned in ``problems``, never raised."""
    if len(text) > LONGEST_STRATEGY:
        return _unreadable(1, 1, f"the file has {len(text):,} characters; shorten it to {LONGEST_STRATEGY:,} or fewer")
    composer = _Composer()
    try:
        for event in _events(text):
            composer.take(event)
    except _Unreadable as error:
        return Document(None, [error.diagnostic])
    if composer.root is None:
        return _unreadable(1, 1, "the file is empty; a strategy begins with `name: ...`")
    return Document(composer.root, composer.problems)


def write_document(root: Node) -> str:
    """Return YAML that :func:`read_document` reads as ``root``. Scalars keep their spelling."""
    return yaml.serialize(_yaml_node(root), Dumper=yaml.SafeDumper, allow_unicode=True, width=110)


def _yaml_node(node: Node) -> yaml.Node:
    if isinstance(node.value, dict):
        pairs = [(_yaml_text(key), _yaml_node(entry.node)) for key, entry in node.value.items()]
        inner = any(isinstance(entry.node.value, dict | list) for entry in node.value.values())
        return yaml.MappingNode("tag:yaml.org,2002:map", pairs, flow_style=not inner)
    if isinstance(node.value, list):
        inner = any(isinstance(item.value, dict | list) for item in node.value)
        return yaml.SequenceNode(
            "tag:yaml.org,2002:seq", [_yaml_node(item) for item in node.value], flow_style=not inner
        )
    if isinstance(node.value, str):
        return _yaml_text(node.value)
    text = "null" if node.value is None else node.text
    return yaml.ScalarNode(_IMPLICIT_TAG(yaml.ScalarNode, text, (True, False)), text)


def _yaml_text(text: str) -> yaml.Node:
    # Inside quotes other line breaks than this one would be folded into spaces; escaped, they are kept.
    if _OTHER_BREAKS.search(text):
        return yaml.ScalarNode("tag:yaml.org,2002:str", text, style='"')
    style = "|" if "\n" in text else None if isinstance(_resolve(text), str) else "'"
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style=style)


def _unreadable(line: int, column: int, message: str) -> Document:
    return Document(None, [Diagnostic(line, column, "", message)])


def _events(text: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        column = error.position - (before.rfind("\n") + 1) + 1
        raise _Unreadable(
            before.count("\n") + 1,
            column,
            f"not a text file: the character U+{ord(text[error.position]):04X} is not allowed in YAML; remove it",
        ) from None
    except yaml.MarkedYAMLError as error:
        fault = explain_fault(text, error)
        raise _Unreadable(fault.line, fault.column, f"not valid YAML: {fault.message}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML does not catch the error of converting an impossible escape or version number.
        raise _Unreadable(1, 1, f"not valid YAML: {error}") from None


@dataclass(slots=True)
class _Frame:
    """A collection that is being read."""

    node: Node
    path: Path
    anchor: str | None
    first: int
    height: int = 0
    key: tuple[str, int, int] | None = None
    merges: list[Entry] = field(default_factory=list)


@dataclass(slots=True)
class _Anchored:
    node: Node
    size: int
    height: int


class _Composer:
    def __init__(self) -> None:
        self.root: Node | None = None
        self.problems: list[Diagnostic] = []
        self._frames: list[_Frame] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._nodes = 0
        self._aliases = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        line, column = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _Unreadable(line, column, "a second YAML document begins here; write one strategy per file")
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor or "", line, column)
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            if event.tag is not None:
                raise _Unreadable(
                    line, column, f"YAML tags such as `{event.tag[:80]}` are not allowed; remove it", self._path()
                )
            self._count(1, line, column)
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event, line, column)
            else:
                self._open(event, line, column)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()

    def _count(self, nodes: int, line: int, column: int) -> None:
        self._nodes += nodes
        if self._nodes > _MAX_NODES:
            raise _Unreadable(
                line,
                column,
                f"the file has more than {_MAX_NODES:,} values, counting an alias as every value that it repeats; "
                "remove some",
            )

    def _path(self) -> Path:
        if not self._frames:
            return ()
        frame = self._frames[-1]
        if isinstance(frame.node.value, list):
            return (*frame.path, len(frame.node.value))
        return (*frame.path, frame.key[0]) if frame.key else frame.path

    def _scalar(self, event: yaml.ScalarEvent, line: int, column: int) -> None:
        if _SURROGATE.search(event.value):
            raise _Unreadable(
                line,
                column,
                "this text has half a character (a lone surrogate); write the whole character",
                self._path(),
            )
        frame = self._frames[-1] if self._frames else None
        is_plain = event.style is None
        if frame is not None and isinstance(frame.node.value, dict) and frame.key is None:
            if not event.value:
                raise _Unreadable(line, column, "this key is empty; write a name before the colon", frame.path)
            if len(event.value) > _MAX_KEY:
                raise _Unreadable(line, column, f"this key has more than {_MAX_KEY} characters; shorten it", frame.path)
            self._anchor(event.anchor, _Anchored(Node(line, column, event.value, event.value), 1, 0))
            frame.key = (event.value, line, column)
            return
        node = Node(line, column, _resolve(event.value) if is_plain else event.value, event.value)
        if len(self._frames) == 0 and node.value is None:
            return  # nothing but comments
        self._anchor(event.anchor, _Anchored(node, 1, 0))
        self._add(node, 0)

    def _open(self, event: yaml.CollectionStartEvent, line: int, column: int) -> None:
        frame = self._frames[-1] if self._frames else None
        if frame is not None and isinstance(frame.node.value, dict) and frame.key is None:
            raise _Unreadable(
                line,
                column,
                "a key must be a word, not a list or a map; put text with brackets between quotes",
                frame.path,
            )
        if len(self._frames) >= MOST_DEPTH:
            raise _Unreadable(
                line, column, f"this is nested more than {MOST_DEPTH} levels deep; use fewer levels", self._path()
            )
        self._anchor(event.anchor, None)
        node = Node(line, column, {} if isinstance(event, yaml.MappingStartEvent) else [])
        self._frames.append(_Frame(node, self._path(), event.anchor, self._nodes - 1))

    def _close(self) -> None:
        frame = self._frames.pop()
        for entry in frame.merges:
            self._merge(frame, entry)
        self._anchor(frame.anchor, _Anchored(frame.node, self._nodes - frame.first, frame.height))
        self._add(frame.node, frame.height)

    def _anchor(self, name: str | None, anchored: _Anchored | None) -> None:
        if name is not None:
            self._anchors[name] = anchored

    def _alias(self, name: str, line: int, column: int) -> None:
        self._aliases += 1
        if self._aliases > _MAX_ALIASES:
            raise _Unreadable(
                line, column, f"the file has more than {_MAX_ALIASES} aliases; write the values out instead"
            )
        if name not in self._anchors:
            raise _Unreadable(
                line,
                column,
                f"there is no anchor `&{name}` above `*{name}`; add the anchor, or put a text that begins with `*` "
                "between quotes",
                self._path(),
            )
        anchored = self._anchors[name]
        if anchored is None:
            raise _Unreadable(
                line, column, f"`*{name}` stands inside its own anchor `&{name}`; remove it", self._path()
            )
        frame = self._frames[-1] if self._frames else None
        if frame is not None and isinstance(frame.node.value, dict) and frame.key is None:
            raise _Unreadable(line, column, "a key must be a word, not an alias; write the word", frame.path)
        self._count(anchored.size, line, column)
        if len(self._frames) + anchored.height > MOST_DEPTH:
            raise _Unreadable(
                line, column, f"this is nested more than {MOST_DEPTH} levels deep; use fewer levels", self._path()
            )
        self._add(anchored.node, anchored.height)

    def _add(self, node: Node, height: int) -> None:
        if not self._frames:
            self.root = node
            return
        frame = self._frames[-1]
        frame.height = max(frame.height, height + 1)
        if isinstance(frame.node.value, list):
            frame.node.value.append(node)
            return
        assert isinstance(frame.node.value, dict)
        assert frame.key is not None
        key, line, column = frame.key
        frame.key = None
        entry = Entry(line, column, node)
        if key == "<<":
            frame.merges.append(entry)
        elif key in frame.node.value:
            first = frame.node.value[key]
            where = format_path((*frame.path, key))
            self.problems.append(
                Diagnostic(
                    line, column, where, f"`{key}` is given twice, first at line {first.line}; remove one of them"
                )
            )
        else:
            frame.node.value[key] = entry

    def _merge(self, frame: _Frame, entry: Entry) -> None:
        assert isinstance(frame.node.value, dict)
        sources = entry.node.value if isinstance(entry.node.value, list) else [entry.node]
        for source in sources:
            if not isinstance(source.value, dict):
                where = format_path((*frame.path, "<<"))
                self.problems.append(
                    Diagnostic(entry.line, entry.column, where, "the value of `<<` must be a map or a list of maps")
                )
                continue
            for key, merged in source.value.items():
                frame.node.value.setdefault(key, merged)


def _resolve(text: str) -> Scalar:
    """Return the value of a plain scalar. A number too large for a float stays text."""
    if _NULL.fullmatch(text):
        return None
    if text in _BOOL:
        return _BOOL[text]
    if len(text) <= 400:
        whole = _INT.fullmatch(text)
        if whole or _FLOAT.fullmatch(text):
            digits = text.replace("_", "")
            if whole and -(2**63) <= int(digits) < 2**63:
                return int(digits)
            value = float(digits)
            return value if math.isfinite(value) else text
    return text
