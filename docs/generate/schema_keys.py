"""The keys of a strategy file, read from its JSON Schema, for the reference of the grammar."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ktrdr.core.strategy.part_length import DURATION_PATTERN

Schema = Mapping[str, Any]

ANY_ID, ANY_ITEM = "<id>", "[]"
"""Path elements: a key of a map whose keys the user chooses, and an item of a list."""


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes:
        path: from the root; see :data:`ANY_ID` and :data:`ANY_ITEM`.
        variant: ``(key, word)`` of the same map if the key exists only for that word, such as ``source: zigzag``.
        kind: the type of the value, in Markdown.
        default: in Markdown; ``required`` if there is none.
        description: one phrase.
        schemas: of the key, from each place in the schema.
    """

    path: tuple[str, ...]
    variant: tuple[str, str] | None
    kind: str
    default: str
    description: str
    schemas: tuple[Schema, ...]

    @property
    def anchor(self) -> str:
        """Id of the key on the page: the path, with the word of the variant."""
        return anchor((*self.path[:-1], *(self.variant[1:] if self.variant else ()), self.path[-1]))


def anchor(path: Sequence[str]) -> str:
    """Return the id of a path, which needs no escaping in a URL."""
    return ".".join(part.strip("<>") for part in path if part != ANY_ITEM)


def find(schema: Schema, path: Sequence[str]) -> Schema:
    """Return the map at ``path``, with its alternatives as ``{"anyOf": [...]}``."""
    for part in path:
        if part == ANY_ITEM:
            schema = next(each for each in _alternatives(schema) if "items" in each)["items"]
        elif part == ANY_ID:
            schema = next(
                each["additionalProperties"]
                for each in _alternatives(schema)
                if isinstance(each.get("additionalProperties"), dict)
            )
        else:
            schema = {"anyOf": _properties(schema)[part]}
    return schema


def keys_of(schema: Schema, path: tuple[str, ...] = ()) -> Iterator[Key]:
    """Yield the keys of the map ``schema`` itself, then those of each of its variants."""
    for name, found in _properties(schema).items():
        yield _key((*path, name), None, found, required=_is_required(schema, name))
    for by, word, then in variants(schema):
        required = then.get("required", ())
        for name, found in then["properties"].items():
            if name != by:
                yield _key((*path, name), (by, word), [found], required=name in required)


def below(key: Key) -> Schema | None:
    """Return the map that is the value of ``key``, or ``None`` if the value has no keys."""
    inner: Schema = {"anyOf": list(key.schemas)}
    return inner if _properties(inner) else None


def variants(schema: Schema) -> Iterator[tuple[str, str, Schema]]:
    """Yield ``(key, word, map)``: if ``key`` is ``word``, the keys of ``map`` are allowed too."""
    for each in _alternatives(schema):
        for rule in each.get("allOf", ()):
            then = rule.get("then", {})
            if then.get("additionalProperties") is not False:
                continue
            ((key, condition),) = rule["if"]["properties"].items()
            words = _words(each["properties"][key])
            yield key, next(word for word in words if re.fullmatch(condition["pattern"], word)), then


def _alternatives(schema: Schema) -> list[Schema]:
    """Return the schema and all its alternatives at any depth, without null."""
    found = [schema]
    for each in schema.get("anyOf", ()):
        found += _alternatives(each)
    return [each for each in found if each.get("type") != "null"]


def _properties(schema: Schema) -> dict[str, list[Schema]]:
    found: dict[str, list[Schema]] = {}
    for each in _alternatives(schema):
        for name, value in each.get("properties", {}).items():
            if value != {"type": "null"}:
                found.setdefault(name, []).append(value)
    return found


def _is_required(schema: Schema, name: str) -> bool:
    return all(name in each.get("required", ()) for each in _alternatives(schema) if each.get("properties"))


def _key(path: tuple[str, ...], variant: tuple[str, str] | None, schemas: Sequence[Schema], *, required: bool) -> Key:
    descriptions = dict.fromkeys(schema["description"] for schema in schemas if "description" in schema)
    kind = kind_of({"anyOf": list(schemas)})
    default = _default(schemas, required=required)
    if (kind, default) == ("map", "none") and _has_defaults({"anyOf": list(schemas)}):
        default = "of its keys"
    return Key(
        path=path,
        variant=variant,
        kind=kind,
        default=default,
        description="; ".join(descriptions),
        schemas=tuple(schemas),
    )


def _has_defaults(schema: Schema) -> bool:
    return any(key.variant is None and key.default not in ("none", "required") for key in keys_of(schema))


def _default(schemas: Sequence[Schema], *, required: bool) -> str:
    if required:
        return "required"
    for schema in schemas:
        if "default" in schema:
            return code(schema["default"])
    return "none"


def code(value: Any) -> str:
    """Return ``value`` as it is written in a strategy file."""
    if isinstance(value, str):
        return f"`{value}`"
    text = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False)
    return f"`{text.removesuffix('...' + chr(10)).strip()}`"


def kind_of(schema: Schema) -> str:
    """Return the allowed values in Markdown: words, or a type with its bounds."""
    kinds: dict[str, None] = {}
    words: dict[str, None] = {}
    for each in _alternatives(schema):
        if "enum" in each or "const" in each:
            words |= dict.fromkeys(_words(each))
        elif each.get("pattern", "").startswith("^(?:"):
            continue  # the same words, case-insensitively
        elif text := _type(each):
            kinds[text] = None
    if words and "text" in kinds and len(kinds) == 1:
        return f"text, such as {_listed(list(words))}"
    return " or ".join([*([_listed(list(words))] if words else []), *kinds])


def _listed(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _words(schema: Schema) -> list[str]:
    for each in _alternatives(schema):
        if "const" in each:
            return [str(each["const"])]
        if "enum" in each:
            return [word for word in each["enum"] if isinstance(word, str)]
    return []


def _type(schema: Schema) -> str:
    types = schema.get("type", [])
    types = [each for each in ([types] if isinstance(types, str) else types) if each != "null"]
    if schema.get("format") == "date":
        return "day, such as `2017-12-31`"
    if schema.get("pattern") == f"^{DURATION_PATTERN}$":
        return "duration, such as `12h`, `90d` or `26w`"
    if "pattern" in schema:
        return "name: letters, digits, `_` and `-`, 64 characters at most"
    match types:
        case ["string", "number", "boolean"]:
            return "text"
        case ["boolean"]:
            return "`true` or `false`"
        case ["integer"]:
            return _bounded("whole number", schema)
        case ["number"]:
            return _bounded("number", schema)
        case ["array"] if "prefixItems" in schema:
            return f"list of {len(schema['prefixItems'])} numbers"
        case ["array"]:
            return _list_of(kind_of(schema.get("items", {})))
        case ["object"]:
            return "map"
    return ""


def _list_of(item: str) -> str:
    """Return the type of a list, with the type of its items in the plural if possible."""
    for one, many in (("whole number", "whole numbers"), ("number", "numbers"), ("map", "maps")):
        if item.startswith(one):
            return f"list of {many}{item.removeprefix(one)}"
    return "list" if item in ("text", "") else f"list of {item}"


def _bounded(kind: str, schema: Schema) -> str:
    parts = [kind]
    for keyword, word in (("minimum", "from"), ("exclusiveMinimum", "above")):
        if keyword in schema:
            parts.append(f"{word} {number(schema[keyword])}")
    for keyword, word in (("maximum", "to"), ("exclusiveMaximum", "below")):
        if keyword in schema:
            parts.append(f"{word} {number(schema[keyword])}")
    return " ".join(parts)


def number(value: float) -> str:
    """Return ``value`` with thousands separators."""
    return f"{int(value):,}" if value == int(value) else f"{value:g}"
