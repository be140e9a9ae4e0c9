"""Read ``indicators``, ``fuzzy_sets`` and ``nn_inputs``: from what is computed to what the model sees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ktrdr.core.errors import KtrdrError
from ktrdr.core.fuzzy.membership import MEMBERSHIP_TYPES
from ktrdr.core.indicators import registry
from ktrdr.core.parameters import Parameter, did_you_mean
from ktrdr.core.strategy.document import Node, Path
from ktrdr.core.strategy.model import (
    FuzzyInput,
    FuzzySet,
    IndicatorDefinition,
    MembershipFunction,
    NnInput,
    RawInput,
    TrainingDataSection,
)
from ktrdr.core.strategy.names import is_name
from ktrdr.core.strategy.read_data import unknown_timeframe
from ktrdr.core.strategy.section import Report, Section, kind_of

__all__ = [
    "LAGS",
    "MAX_FEATURES",
    "NORMALIZATIONS",
    "Definitions",
    "read_fuzzy_sets",
    "read_indicators",
    "read_inputs",
]

NORMALIZATIONS = ("zscore", "minmax", "robust", "none")
LAGS = Parameter(
    "lags", "int_list", (), minimum=1, maximum=100_000, description="bars back, for earlier values of the same features"
)

MAX_FEATURES = 10_000
_MAX_HINTS = 100

_INDICATOR_ADVICE = {
    "timeframe": "an indicator has no timeframe; choose it in `nn_inputs`",
    "params": "write the parameters beside `type`",
    "parameters": "write the parameters beside `type`",
    "feature_id": "the key of the indicator is its id",
    "name": "the key of the indicator is its id, and `type` says what it is",
}


@dataclass(slots=True)
class Definitions:
    """What other sections refer to. A value is ``None`` where the definition itself is wrong, and already reported."""

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
        advice["source"] = f"`{indicator.name}` does not read one series; remove it"
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
    reference = _read_reference(section, "indicator", definitions, required="the indicator this set reads")
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
        section.warn(key, "a membership that is a shoulder on both sides is 1 for every value")
    return MembershipFunction.model_validate({"type": kind, "parameters": numbers})


def _fault(kind: str, numbers: list[float]) -> str:
    names = MEMBERSHIP_TYPES[kind]
    if kind in ("triangular", "trapezoidal"):
        if not math.isfinite(numbers[-1] - numbers[0]):
            return f"the numbers of `{kind}` are too far apart"
        for left, right, first, second in zip(numbers, numbers[1:], names, names[1:], strict=False):
            if left > right:
                rule = " <= ".join(names)
                return f"`{kind}` needs {rule}, and here {first} = {left:g} is above {second} = {right:g}"
    for name, number in zip(names, numbers, strict=True):
        if name in ("sigma", "width") and number <= 0:
            return f"`{kind}` needs a {name} above 0, not {number:g}"
        if name == "slope" and kind == "bell" and number <= 0:
            return f"`bell` needs a slope above 0, not {number:g}"
        if name == "slope" and number == 0:
            return "`sigmoid` needs a slope other than 0"
    return ""


def _read_reference(section: Section, key: str, definitions: Definitions, *, required: str) -> str | None:
    """Read ``<id>`` or ``<id>.<output>``; an older name of an output is replaced by its own."""
    text = section.text(key, required=required)
    if text is None:
        return None
    identifier, dot, output = text.partition(".")
    known = definitions.indicators
    if identifier not in known:
        section.error(key, f"there is no indicator `{identifier}`{_closest(identifier, known)}")
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


def _closest(name: str, known: Mapping[str, object]) -> str:
    # Among very many names the search takes seconds for each that is wrong.
    lowered = {other.lower(): other for other in list(known)[:_MAX_HINTS]}
    hint = did_you_mean(name, lowered)
    if hint:
        for lower, other in lowered.items():
            hint = hint.replace(f"`{lower}`", f"`{other}`") if f"`{lower}`" in hint else hint
        return hint
    return f"; defined: {', '.join(known)}" if known else "; none is defined"


def read_inputs(
    report: Report, nodes: Sequence[Node], definitions: Definitions, data: TrainingDataSection | None
) -> list[tuple[Node, NnInput]] | None:
    """Read what the model sees; ``None`` if any of it is wrong."""
    found: list[tuple[Node, NnInput]] = []
    for index, node in enumerate(nodes):
        path: Path = ("nn_inputs", index)
        section = Section.of(report, node, node, path, "{fuzzy_set: rsi, timeframes: all}")
        item = None if section is None else _read_input(section, definitions, data)
        if item is not None:
            found.append((node, item))
    if len(found) < len(nodes):
        return None
    features = sum(_size(item, definitions) for _, item in found)
    if features > MAX_FEATURES:
        report.add(
            nodes[0],
            ("nn_inputs", 0),
            f"the model would see {features:,} features, and {MAX_FEATURES:,} is the limit; leave out lags or inputs",
        )
        return None
    return found if _distinct(report, found, definitions) else None


def _read_input(section: Section, definitions: Definitions, data: TrainingDataSection | None) -> NnInput | None:
    kinds = [key for key in ("fuzzy_set", "raw_indicator") if section.has(key)]
    fuzzy_set = reference = None
    if len(kinds) != 1:
        message = "an input is either `fuzzy_set: <id>` or `raw_indicator: <id>`"
        # A misspelt one is reported as such.
        if kinds or not any(did_you_mean(key, ("fuzzy_set", "raw_indicator")) for key in section.entries):
            section.error(kinds[1] if kinds else None, message + (", not both" if kinds else ""))
        for key in ("fuzzy_set", "raw_indicator", "normalization"):
            section.node(key)
    elif kinds == ["fuzzy_set"]:
        section.node("raw_indicator")
        fuzzy_set = section.text("fuzzy_set")
        if fuzzy_set is not None and fuzzy_set not in definitions.fuzzy_sets:
            section.error(
                "fuzzy_set", f"there is no fuzzy set `{fuzzy_set}`{_closest(fuzzy_set, definitions.fuzzy_sets)}"
            )
            fuzzy_set = None
    else:
        section.node("fuzzy_set")
        reference = _read_reference(section, "raw_indicator", definitions, required="an indicator")
    normalization = "zscore"
    if reference is not None or kinds == ["raw_indicator"]:
        chosen = section.choice("normalization", NORMALIZATIONS)
        if section.has("normalization") and chosen is None:
            reference = None
        normalization = chosen or normalization
    timeframes = _read_input_timeframes(section, data)
    lags = section.parameters((LAGS,))
    section.finish({"normalization": "degrees of membership are between 0 and 1 already; only raw inputs take it"})
    if lags is not None and len(set(lags["lags"])) < len(lags["lags"]):
        section.error("lags", "`lags` holds a number twice")
        lags = None
    if timeframes is None or lags is None or (fuzzy_set is None and reference is None):
        return None
    if fuzzy_set is not None:
        return FuzzyInput(fuzzy_set=fuzzy_set, timeframes=tuple(timeframes), lags=tuple(lags["lags"]))
    return RawInput.model_validate(
        {
            "raw_indicator": reference,
            "timeframes": timeframes,
            "normalization": normalization,
            "lags": lags["lags"],
        }
    )


def _read_input_timeframes(section: Section, data: TrainingDataSection | None) -> list[str] | None:
    node = section.node("timeframes", required="`all`, or a list such as `[1h]`")
    if node is None:
        return None
    if not isinstance(node.value, list | dict):
        if node.text == "all":
            return list(data.timeframes) if data else None
        section.error("timeframes", f"`timeframes` is `all` or a list; write `timeframes: [{node.text}]`")
        return None
    names = section.texts("timeframes")
    if names is None or data is None:
        return None
    fits = True
    for name in names:
        if name in data.timeframes:
            continue
        fits = False
        if unknown := _unknown(name):
            section.error("timeframes", unknown)
        else:
            section.error(
                "timeframes", f"`{name}` is not among the timeframes of `training_data`: {', '.join(data.timeframes)}"
            )
    return names if fits else None


def _unknown(name: str) -> str:
    from ktrdr.core.data.timeframe import TIMEFRAMES

    return "" if name in TIMEFRAMES else unknown_timeframe(name)


def _distinct(report: Report, inputs: Sequence[tuple[Node, NnInput]], definitions: Definitions) -> bool:
    """Report features that would have the same id."""
    first: dict[str, int] = {}
    distinct = True
    for index, (node, item) in enumerate(inputs):
        repeated: dict[int, str] = {}
        for name in _feature_ids(item, definitions):
            if name in first:
                repeated.setdefault(first[name], name)
            first.setdefault(name, index)
        for earlier, name in repeated.items():
            report.add(
                node,
                ("nn_inputs", index),
                f"feature `{name}` is there already, from `nn_inputs[{earlier}]`; remove one, or rename what they read",
            )
            distinct = False
    return distinct


def _size(item: NnInput, definitions: Definitions) -> int:
    fuzzy_set = definitions.fuzzy_sets[item.fuzzy_set] if isinstance(item, FuzzyInput) else None
    memberships = 1 if fuzzy_set is None else len(fuzzy_set.memberships)
    return len(item.timeframes) * (1 + len(item.lags)) * memberships


def _feature_ids(item: NnInput, definitions: Definitions) -> list[str]:
    if isinstance(item, FuzzyInput):
        fuzzy_set = definitions.fuzzy_sets[item.fuzzy_set]
        names = [f"{item.fuzzy_set}_{name}" for name in (fuzzy_set.memberships if fuzzy_set else ())]
    else:
        names = [f"{item.raw_indicator}_raw"]
    return [
        f"{timeframe}_{name}{f'_lag{lag}' if lag else ''}"
        for timeframe in item.timeframes
        for lag in (0, *item.lags)
        for name in names
    ]
