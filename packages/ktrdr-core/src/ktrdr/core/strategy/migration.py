"""Migration of strategy files from versions 1 and 2 to version 3.

The old tree is rearranged and then read as version 3. Each value keeps its line in the old file, so the reader of
version 3 finds unknown keys and reports them with their line in the old file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeGuard

from ktrdr.core.errors import BadInputError
from ktrdr.core.indicators import registry
from ktrdr.core.strategy.diagnostics import Diagnostic, StrategyError
from ktrdr.core.strategy.document import Entry, Node, Path, format_path, plain, read_document, write_document
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.strategy.older import older_version
from ktrdr.core.strategy.read_model import OLDER_TRAINING
from ktrdr.core.strategy.read_strategy import VERSION, read_strategy
from ktrdr.core.strategy.section import Report, kind_of
from ktrdr.core.strategy.training_parameters import TRAINING_KEYS

__all__ = ["Migration", "migrate_text"]

_REASONS = {
    "scope": "version 3 has `training_data.symbols` and `deployment` instead",
    "hypothesis": "write it into `description`",
    "orchestrator": "positions are sized under `risk`",
    "lookback_periods": "use `lags` in `nn_inputs`",
    "scale_features": "raw inputs have a `normalization`, and memberships need none",
    "fitness_metrics": "the best epoch is chosen by `early_stopping.monitor`",
}


@dataclass(frozen=True, slots=True)
class Migration:
    """A migrated file.

    Attributes:
        version: version of the old file.
        text: YAML of version 3, which loads without errors.
        lost: keys that were not carried over and the reason, with line and column in the old file.
        warnings: warnings of the loader about the new file.
    """

    version: int
    text: str
    lost: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...]


def migrate_text(text: str, *, name: str = "strategy") -> Migration:
    """Turn a version 1 or 2 file into version 3.

    Raises:
        BadInputError: the file is not of version 1 or 2.
        StrategyError: a required part is wrong or missing; line and column are those in the old file.
    """
    document = read_document(text)
    if document.root is None or document.problems:
        raise StrategyError(name, document.problems)
    older = older_version(document.root)
    if older is None:
        if not isinstance(document.root.value, dict):
            raise StrategyError(
                name,
                [
                    _at(
                        document.root,
                        (),
                        f"a strategy is a map that begins with `name: ...`, not {kind_of(document.root)}",
                    )
                ],
            )
        raise BadInputError(
            f"`{name}` is not a file of version 1 or 2 (those have a list of indicators, or `data`); "
            "check it as version 3 with `ktrdr validate`"
        )
    work = _Migration(name, older[1])
    root = work.rearrange(document.root)
    work.prune(root)
    if re.search(r"(^|\s)# ", text):
        work.lost.append(Diagnostic(1, 1, "", "comments are not carried over"))
    migrated = write_document(root)
    loaded = load_strategy_text(migrated, name=name)
    lost = sorted(work.lost, key=lambda item: (item.line, item.column))
    return Migration(older[1], migrated, tuple(lost), loaded.warnings)


def _at(place: Node | Entry, path: Path, message: str) -> Diagnostic:
    return Diagnostic(place.line, place.column, format_path(path), message)


@dataclass(slots=True)
class _Migration:
    name: str
    version: int
    lost: list[Diagnostic] = field(default_factory=list)

    def rearrange(self, root: Node) -> Node:
        """Return a version 3 tree with the values of the old tree."""
        old = dict(_map(root))
        new: dict[str, Entry] = {}
        for key in ("name", "description"):
            if key in old:
                new[key] = old.pop(key)
        old.pop("version", None)
        new["version"] = Entry(root.line, root.column, Node(root.line, root.column, VERSION, VERSION))
        data = old.pop("training_data", None) or old.pop("data", None)
        if data is not None:
            new["training_data"] = self._training_data(data)
        indicators, fuzzy_sets = old.pop("indicators", None), old.pop("fuzzy_sets", None)
        if indicators is not None:
            new["indicators"] = self._indicators(indicators)
        if fuzzy_sets is not None:
            new["fuzzy_sets"] = self._fuzzy_sets(fuzzy_sets, _map(new["indicators"].node) if indicators else {})
            new["nn_inputs"] = self._inputs(new["fuzzy_sets"])
        self._training(old)
        for key in ("model", "decisions", "training", "risk", "deployment"):
            if key in old:
                new[key] = old.pop(key)
        return Node(root.line, root.column, new | old)

    def _lose(self, place: Node | Entry, path: Path, reason: str = "") -> None:
        reason = reason or _REASONS.get(str(path[-1]), "version 3 has no such key")
        self.lost.append(_at(place, path, f"not carried over: {reason}"))

    def _training_data(self, entry: Entry) -> Entry:
        """Add the ``mode`` of version 3 to the symbols and the timeframes."""
        part = dict(_map(entry.node))
        found: dict[str, Entry] = {}
        for plural, single, multiple in (
            ("symbols", "symbol", "multi_symbol"),
            ("timeframes", "timeframe", "multi_timeframe"),
        ):
            given = part.pop(plural, None) or part.pop(single, None)
            if given is None:
                continue
            node = given.node
            if not isinstance(node.value, dict):
                items = node.value if isinstance(node.value, list) else [node]
                mode = _text(node, "single" if len(items) == 1 else multiple)
                value = _text_of(items[0]) if len(items) == 1 else Node(node.line, node.column, items)
                key = single if len(items) == 1 else "list"
                node = Node(node.line, node.column, {"mode": _entry(mode), key: _entry(value)})
                if plural == "timeframes" and len(items) > 1 and "base_timeframe" in part:
                    _map(node)["base_timeframe"] = part.pop("base_timeframe")
            found[plural] = Entry(given.line, given.column, node)
        return Entry(entry.line, entry.column, Node(entry.node.line, entry.node.column, found | part))

    def _indicators(self, entry: Entry) -> Entry:
        if not isinstance(entry.node.value, list):
            return entry
        found: dict[str, Entry] = {}
        for index, item in enumerate(entry.node.value):
            path = ("indicators", index)
            part = dict(_map(item))
            identifier = part.pop("feature_id", None) or part.get("name")
            kind = part.pop("type", None) or part.get("name")
            if not _is_word(identifier) or not _is_word(kind):
                raise StrategyError(
                    self.name, [_at(item, path, "this indicator has no `name`; add one, such as `name: rsi`")]
                )
            part.pop("name", None)
            for inner in ("params", "parameters"):
                if inner in part:
                    part |= _map(part.pop(inner).node)
            key = identifier.node.text
            if key in found:
                message = f"two indicators are called `{key}`; give them different `feature_id`s"
                raise StrategyError(self.name, [_at(identifier, path, message)])
            if registry.resolve_name(kind.node.text) is None:
                self._lose(kind, path, registry.unknown_indicator(kind.node.text))
                continue
            found[key] = Entry(item.line, item.column, Node(item.line, item.column, {"type": kind, **part}))
        return Entry(entry.line, entry.column, Node(entry.node.line, entry.node.column, found))

    def _fuzzy_sets(self, entry: Entry, indicators: dict[str, Entry]) -> Entry:
        found: dict[str, Entry] = {}
        for key, fuzzy_set in _map(entry.node).items():
            part = dict(_map(fuzzy_set.node))
            if "indicator" not in part:
                reference = _reference(key, indicators)
                if reference is None:
                    self._lose(fuzzy_set, ("fuzzy_sets", key), "it belongs to no indicator of the new file")
                    continue
                part = {"indicator": _entry(_text(fuzzy_set.node, reference)), **part}
            name = key.replace(".", "_")
            found[name] = Entry(fuzzy_set.line, fuzzy_set.column, Node(fuzzy_set.line, fuzzy_set.column, part))
        return Entry(entry.line, entry.column, Node(entry.node.line, entry.node.column, found))

    def _inputs(self, fuzzy_sets: Entry) -> Entry:
        items = [
            Node(
                entry.line,
                entry.column,
                {"fuzzy_set": _entry(_text(entry.node, name)), "timeframes": _entry(_text(entry.node, "all"))},
            )
            for name, entry in _map(fuzzy_sets.node).items()
        ]
        return Entry(fuzzy_sets.line, fuzzy_sets.column, Node(fuzzy_sets.line, fuzzy_sets.column, items))

    def _training(self, old: dict[str, Entry]) -> None:
        """Move the keys of ``model.training`` and ``model.features`` to ``training``, their place in version 3."""
        if "training" not in old or "model" not in old:
            return
        training, model = dict(_map(old["training"].node)), dict(_map(old["model"].node))
        for name in OLDER_TRAINING:
            if name not in model:
                continue
            for key, entry in _map(model.pop(name).node).items():
                if key not in TRAINING_KEYS:
                    self._lose(entry, ("model", name, key))
                elif key not in training:
                    training[key] = entry
                elif plain(entry.node) != plain(training[key].node):
                    self._lose(entry, ("model", name, key), "`training` has another value for it")
        stopping = training.get("early_stopping")
        if stopping is not None and isinstance(stopping.node.value, dict) and "enabled" in stopping.node.value:
            if stopping.node.value["enabled"].node.value is False:
                del training["early_stopping"]
            else:
                rest = {key: entry for key, entry in stopping.node.value.items() if key != "enabled"}
                node = Node(stopping.node.line, stopping.node.column, rest)
                training["early_stopping"] = Entry(stopping.line, stopping.column, node)
        for key, part in (("training", training), ("model", model)):
            place = old[key]
            old[key] = Entry(place.line, place.column, Node(place.node.line, place.node.column, part))

    def prune(self, root: Node) -> None:
        """Remove keys that version 3 does not have; raise StrategyError for any other error."""
        report = Report()
        read_strategy(root, report)
        for path in report.unknown:
            place = _remove(root, path)
            if place is not None:
                self._lose(place, path)
        report = Report()
        read_strategy(root, report)
        if report.failed:
            raise StrategyError(self.name, sorted(report.diagnostics, key=lambda item: (item.line, item.column)))


def _reference(key: str, indicators: dict[str, Entry]) -> str | None:
    """Return the indicator or ``indicator.output`` that a fuzzy set called ``key`` reads; ``None`` if there is none.

    Older files write the output after a ``.`` or a ``_``.
    """
    if key in indicators:
        return key
    for identifier, entry in indicators.items():
        if key.startswith((f"{identifier}.", f"{identifier}_")):
            kind = registry.get_indicator(_map(entry.node)["type"].node.text)
            output = kind.resolve_output(key[len(identifier) + 1 :])
            if output is not None:
                return f"{identifier}.{output}"
    return None


def _remove(root: Node, path: Path) -> Entry | None:
    node = root
    for part in path[:-1]:
        if isinstance(node.value, dict) and isinstance(part, str):
            node = node.value[part].node
        elif isinstance(node.value, list) and isinstance(part, int):
            node = node.value[part]
    key = path[-1]
    return node.value.pop(key, None) if isinstance(node.value, dict) and isinstance(key, str) else None


def _map(node: Node) -> dict[str, Entry]:
    return node.value if isinstance(node.value, dict) else {}


def _is_word(entry: Entry | None) -> TypeGuard[Entry]:
    return entry is not None and not isinstance(entry.node.value, dict | list) and bool(entry.node.text)


def _text(place: Node, text: str) -> Node:
    return Node(place.line, place.column, text, text)


def _text_of(node: Node) -> Node:
    return node if isinstance(node.value, dict | list) else _text(node, node.text)


def _entry(node: Node) -> Entry:
    return Entry(node.line, node.column, node)
