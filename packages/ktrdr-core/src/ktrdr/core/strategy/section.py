"""Reader of maps that either uses or reports every key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ktrdr.core.parameters import Parameter, did_you_mean, validate_parameters
from ktrdr.core.strategy.diagnostics import Diagnostic
from ktrdr.core.strategy.document import Entry, Node, Path, format_path, plain

__all__ = ["Report", "Section", "kind_of"]

_LONGEST = 400


class Report:
    """Collects errors and warnings; ``unknown`` are the paths of unknown keys."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []
        self.unknown: list[Path] = []

    def add(
        self,
        place: Entry | Node,
        path: Path,
        message: str,
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        """Add an error or warning about ``place``."""
        if len(message) > _LONGEST:
            message = message[: _LONGEST - 1] + "…"
        self.diagnostics.append(Diagnostic(place.line, place.column, format_path(path), message, severity))

    @property
    def failed(self) -> bool:
        """True if there is an error."""
        return any(item.severity == "error" for item in self.diagnostics)


def kind_of(node: Node) -> str:
    """Return a short description of a node, for messages."""
    if isinstance(node.value, dict):
        return "a map"
    if isinstance(node.value, list):
        return "a list"
    if node.value is None:
        return "nothing"
    shown = node.text if len(node.text) <= 60 else node.text[:59] + "…"
    return f"`{shown}`"


class Section:
    """A map that is being read.

    Every key that a method reads becomes known; :meth:`finish` reports the other keys. A key with an empty value counts
    as absent, and is reported if it is required. Methods that read a value return ``None`` if the key is absent or its
    value is wrong; a wrong value is reported.
    """

    def __init__(self, report: Report, place: Entry | Node, entries: Mapping[str, Entry], path: Path) -> None:
        self.report = report
        self.place = place
        self.path = path
        self.entries = dict(entries)
        self._paths: dict[str, Path] = {}
        self._known: list[str] = []

    @classmethod
    def of(cls, report: Report, place: Entry | Node, node: Node, path: Path, example: str = "") -> Section | None:
        """Return the section for ``node``, or report that it is not a map."""
        if isinstance(node.value, dict):
            return cls(report, place, node.value, path)
        name = f"`{path[-1]}`" if path and isinstance(path[-1], str) else "this item"
        hint = f", such as `{example}`" if example else ""
        report.add(place, path, f"{name} must be a map{hint}, not {kind_of(node)}")
        return None

    def adopt(self, key: str, entry: Entry, path: Path) -> None:
        """Add an entry that is written in another section of the file, at ``path``."""
        self.entries[key] = entry
        self._paths[key] = path

    def path_of(self, key: str) -> Path:
        """Return the path of ``key`` in the file."""
        return self._paths.get(key, (*self.path, key))

    def error(self, key: str | None, message: str) -> None:
        """Report an error at ``key``, or at the section itself if ``key`` is ``None`` or absent."""
        if key is not None and key in self.entries:
            self.report.add(self.entries[key], self.path_of(key), message)
        else:
            self.report.add(self.place, self.path, message)

    def warn(self, key: str | None, message: str) -> None:
        """Report a warning; see :meth:`error`."""
        if key is not None and key in self.entries:
            self.report.add(self.entries[key], self.path_of(key), message, "warning")
        else:
            self.report.add(self.place, self.path, message, "warning")

    def has(self, key: str) -> bool:
        """Return True if ``key`` is present and not empty."""
        return key in self.entries and self.entries[key].node.value is not None

    def node(self, key: str, *, required: str = "") -> Node | None:
        """Return the value of ``key``, or ``None`` if it is absent.

        Args:
            key: key to read.
            required: what to write there, for the error if the key is absent; empty if the key is optional.
        """
        if key not in self._known:
            self._known.append(key)
        if self.has(key):
            return self.entries[key].node
        if required:
            self.error(key, f"`{key}` is required: {required}")
        return None

    def section(self, key: str, *, required: str = "", example: str = "") -> Section | None:
        """Return the map at ``key``."""
        node = self.node(key, required=required)
        if node is None:
            return None
        return Section.of(self.report, self.entries[key], node, self.path_of(key), example)

    def text(self, key: str, *, required: str = "") -> str | None:
        """Return the text at ``key`` as written, even if YAML reads it as another type, such as `NO` or `2024`."""
        node = self.node(key, required=required)
        if node is None:
            return None
        if isinstance(node.value, dict | list):
            self.error(key, f"`{key}` must be text, not {kind_of(node)}")
            return None
        return node.text

    def choice(self, key: str, choices: Sequence[str], *, required: str = "") -> str | None:
        """Return the text at ``key`` in lower case; it must be one of ``choices``, in any case."""
        text = self.text(key, required=required)
        if text is None or text.lower() in choices:
            return text and text.lower()
        hint = did_you_mean(text, choices) or f"; it must be one of {', '.join(choices)}"
        self.error(key, f"unknown {key} `{text}`{hint}")
        return None

    def items(self, key: str, *, required: str = "") -> list[Node] | None:
        """Return the list at ``key``, which must not be empty."""
        node = self.node(key, required=required)
        if node is None:
            return None
        if not isinstance(node.value, list):
            self.error(key, f"`{key}` must be a list, not {kind_of(node)}")
            return None
        if not node.value:
            self.error(key, f"`{key}` is an empty list; give at least one item or leave the key out")
            return None
        return node.value

    def texts(self, key: str, *, required: str = "") -> list[str] | None:
        """Return the list of distinct texts at ``key``."""
        nodes = self.items(key, required=required)
        if nodes is None:
            return None
        found: list[str] = []
        for index, item in enumerate(nodes):
            path = (*self.path_of(key), index)
            if isinstance(item.value, dict | list) or item.value is None:
                self.report.add(item, path, f"an item of `{key}` must be text, not {kind_of(item)}")
            elif item.text in found:
                self.report.add(item, path, f"`{item.text}` is listed twice")
            else:
                found.append(item.text)
        return found if len(found) == len(nodes) else None

    def parameters(self, declared: Sequence[Parameter], *, noun: str = "") -> dict[str, Any] | None:
        """Return the values of the ``declared`` keys with defaults filled in, or ``None`` after reporting an error."""
        given: dict[str, Any] = {}
        for parameter in declared:
            node = self.node(parameter.name)
            if node is not None:
                scalar = not isinstance(node.value, dict | list)
                given[parameter.name] = node.text if parameter.kind == "str" and scalar else plain(node)
            elif parameter.name in self.entries and parameter.default is not None:
                self.error(parameter.name, f"`{parameter.name}` has no value; give one or leave the key out")
        values, problems = validate_parameters(given, declared)
        for problem in problems:
            key = str(problem.path[0]) if problem.path else None
            self.error(key, f"{problem.message}{noun}" if key is None else problem.message)
        return None if problems else values

    def finish(self, advice: Mapping[str, str] | None = None, *, nothing: str = "") -> None:
        """Report every unknown key.

        Args:
            advice: end of the message for some unknown keys.
            nothing: end of the message if the section has no known keys.
        """
        names = self._known
        for key in self.entries:
            if key in names:
                continue
            self.report.unknown.append(self.path_of(key))
            if advice and key in advice:
                self.error(key, f"unknown key `{key}`: {advice[key]}")
                continue
            hint = did_you_mean(key, names) or (f"; the known keys are {', '.join(names)}" if names else nothing)
            self.error(key, f"unknown key `{key}`{hint}")

    def each(self, read: Callable[[str, Section], Any], *, what: str, valid: Callable[[str], bool]) -> None:
        """Call ``read`` with every key whose value is a map.

        Args:
            read: called with the key and the section at it.
            what: what a key names, for messages.
            valid: returns True for a valid key.
        """
        for key, entry in self.entries.items():
            self._known.append(key)
            if not valid(key):
                self.error(
                    key,
                    f"`{key}` cannot be the name of {what}: use up to 64 letters, digits, `_` and `-`, starting with a "
                    "letter or digit",
                )
            section = Section.of(self.report, entry, entry.node, self.path_of(key))
            if section is not None:
                read(key, section)
