"""Reads the sections ``indicators`` and ``fuzzy_sets`` of a strategy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ktrdr.core.errors import KtrdrError
from ktrdr.core.fuzzy.definition import FuzzySet, MembershipFunction
from ktrdr.core.fuzzy.membership import MEMBERSHIP_TYPES
from ktrdr.core.indicators import registry
from ktrdr.core.names import is_name
from ktrdr.core.parameters import did_you_mean
from ktrdr.core.strategy.document import Node, Path
from ktrdr.core.strategy.model import IndicatorDefinition
from ktrdr.core.strategy.section import Report, Section, kind_of

__all__ = ["Definitions", "closest", "read_fuzzy_sets", "read_indicators", "read_reference"]


_MAX_HINTS = 100

_INDICATOR_ADVICE = {
    "timeframe": "an indicator has no timeframe; choose it in `nn_inputs`",
    "params": "write the parameters beside `type`",
    "parameters": "write the parameters beside `type`",
    "feature_id": "the key of the indicator is its id",
    "name": "the key of the indicator is its id, and `type` is the indicator to compute",
}


@dataclass(slots=True)
class Definitions:
    """Indicators and fuzzy sets by id. A value is ``None`` if its definition has an error that is already reported."""

    indicators: dict[str, IndicatorDefinition | None]
    fuzzy_sets: dict[str, FuzzySet | None]


def read_indicators(section: Section, found: dict[str, IndicatorDefinition | None]) -> None:
    """Read every indicator into ``found``."""

    def read(identifier: str, part: Section) -> None:
        found[identifier] = _read_indicator(part)

    for identifier in section.entries:
        found[identifier] = None
    section.each(read, what="an indicator", valid=is_name)


def _read_indicator(section: Section) -> IndicatorDefinition | None:
    name = section.text("type", required="the indicator to compute, for example `type: rsi`")
    if name is None:
        return None
    if registry.resolve_name(name) is None:
        section.error("type", registry.unknown_indicator(name))
        return None
    try:
        indicator = registry.get_indicator(name)
    except KtrdrError as error:
        section.error("type", str(error))
        return None
    values = section.parameters(indicator.parameters)
    advice = dict(_INDICATOR_ADVICE)
    if not indicator.has_source:
        advice["source"] = f"`{indicator.name}` does not read a single price series; remove it"
    for parameter in indicator.parameters:
        advice.pop(parameter.name, None)
    section.finish(advice)
    if values is None:
        return None
    fault = indicator.rule(values)
    if fault is not None:
        section.error(None, fault)
        return None
    return IndicatorDefinition(type=indicator.name, parameters=values)


def read_fuzzy_sets(section: Section, definitions: Definitions) -> None:
    """Read every fuzzy set into ``definitions.fuzzy_sets``."""

    def read(identifier: str, part: Section) -> None:
        definitions.fuzzy_sets[identifier] = _read_fuzzy_set(part, definitions)

    for identifier in section.entries:
        definitions.fuzzy_sets[identifier] = None
    section.each(read, what="a fuzzy set", valid=is_name)


def _read_fuzzy_set(section: Section, definitions: Definitions) -> FuzzySet | None:
    reference = read_reference(section, "indicator", definitions, required="the indicator this set reads")
    memberships: dict[str, MembershipFunction] = {}
    wrong = False
    for name, entry in section.entries.items():
        if name == "indicator":
            continue
        path = (*section.path, name)
        if not is_name(name):
            section.error(name, f"`{name}` cannot be the name of a membership: use letters, digits, `_` and `-`")
            wrong = True
        function = _read_function(section.report, entry.node, path, section, name)
        if function is None:
            wrong = True
        else:
            memberships[name] = function
    if not memberships and not wrong:
        section.error(None, "a fuzzy set needs at least one membership, for example `low: [0, 20, 40]`")
        wrong = True
    if reference is None or wrong:
        return None
    return FuzzySet(indicator=reference, memberships=memberships)


def _read_function(report: Report, node: Node, path: Path, section: Section, name: str) -> MembershipFunction | None:
    if isinstance(node.value, list):
        kinds = {3: "triangular", 4: "trapezoidal"}
        if len(node.value) not in kinds:
            section.error(
                name,
                f"`{name}` lists {len(node.value)} numbers: 3 make a triangular membership, 4 a trapezoidal one; "
                "for another write `{type: ..., parameters: [...]}`",
            )
            return None
        return _checked(section, name, kinds[len(node.value)], node.value)
    if not isinstance(node.value, dict):
        section.error(
            name, f"`{name}` must be a list, such as `[0, 20, 40]`, or `{{type, parameters}}`, not {kind_of(node)}"
        )
        return None
    part = Section(report, section.entries[name], node.value, path)
    kind = part.choice("type", tuple(MEMBERSHIP_TYPES), required=f"one of {', '.join(MEMBERSHIP_TYPES)}")
    wanted = f"the numbers [{', '.join(MEMBERSHIP_TYPES[kind])}]" if kind else "a list of numbers"
    numbers = part.items("parameters", required=wanted)
    part.finish(
        {letter: f"write `parameters: [{', '.join(MEMBERSHIP_TYPES[kind or 'triangular'])}]`" for letter in "abcd"}
    )
    if kind is None or numbers is None:
        return None
    return _checked(part, "parameters", kind, numbers)


def _checked(section: Section, key: str, kind: str, nodes: Sequence[Node]) -> MembershipFunction | None:
    names = MEMBERSHIP_TYPES[kind]
    if len(nodes) != len(names):
        section.error(key, f"`{kind}` takes {len(names)} numbers [{', '.join(names)}], not {len(nodes)}")
        return None
    numbers: list[float] = []
    for node in nodes:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            section.error(key, f"`{kind}` takes numbers, not {kind_of(node)}")
            return None
        numbers.append(float(node.value))
    fault = _fault(kind, numbers)
    if fault:
        section.error(key, fault)
        return None
    if kind in ("triangular", "trapezoidal") and numbers[0] == numbers[1] and numbers[-1] == numbers[-2]:
        section.warn(
            key,
            "this membership is 1 for every value, as its first two and its last two numbers are equal; change them",
        )
    return MembershipFunction.model_validate({"type": kind, "parameters": numbers})


def _fault(kind: str, numbers: list[float]) -> str:
    names = MEMBERSHIP_TYPES[kind]
    if kind in ("triangular", "trapezoidal"):
        if not math.isfinite(numbers[-1] - numbers[0]):
            return f"the numbers of `{kind}` are too far apart; use smaller numbers"
        for left, right, first, second in zip(numbers, numbers[1:], names, names[1:], strict=False):
            if left > right:
                rule = " <= ".join(names)
                return f"`{kind}` needs {rule}, but {first} = {left:g} is above {second} = {right:g}"
    for name, number in zip(names, numbers, strict=True):
        if name in ("sigma", "width") and number <= 0:
            return f"`{kind}` needs a {name} above 0, not {number:g}"
        if name == "slope" and kind == "bell" and number <= 0:
            return f"`bell` needs a slope above 0, not {number:g}"
        if name == "slope" and number == 0:
            return "`sigmoid` needs a slope other than 0"
    return ""


def read_reference(section: Section, key: str, definitions: Definitions, *, required: str) -> str | None:
    """Return the reference ``<id>`` or ``<id>.<output>`` at ``key``, with the current name of the output.

    Returns ``None`` after reporting an error.
    """
    text = section.text(key, required=required)
    if text is None:
        return None
    identifier, dot, output = text.partition(".")
    known = definitions.indicators
    if identifier not in known:
        section.error(key, f"there is no indicator `{identifier}`{closest(identifier, known)}")
        return None
    definition = known[identifier]
    if definition is None:
        return None
    if not dot:
        return identifier
    indicator = registry.get_indicator(definition.type)
    resolved = indicator.resolve_output(output)
    if resolved is None:
        outputs = ", ".join(f"`{identifier}.{name}`" for name in indicator.outputs)
        section.error(key, f"`{identifier}` ({definition.type}) has no output `{output}`; it has {outputs}")
        return None
    return f"{identifier}.{resolved}"


def closest(name: str, known: Mapping[str, object]) -> str:
    """Return the end of a message: the closest name in ``known``, or all of them."""
    # Searching thousands of names would take seconds for each wrong one.
    lowered = {other.lower(): other for other in list(known)[:_MAX_HINTS]}
    hint = did_you_mean(name, lowered)
    if hint:
        for lower, other in lowered.items():
            hint = hint.replace(f"`{lower}`", f"`{other}`") if f"`{lower}`" in hint else hint
        return hint
    return f"; defined: {', '.join(known)}" if known else "; none is defined"
