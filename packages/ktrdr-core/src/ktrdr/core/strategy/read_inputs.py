"""Reads the section ``nn_inputs`` of a strategy: the inputs of the model."""

from __future__ import annotations

from collections.abc import Sequence

from ktrdr.core.data.timeframe import TIMEFRAMES
from ktrdr.core.parameters import Parameter, did_you_mean
from ktrdr.core.strategy.document import Node, Path
from ktrdr.core.strategy.model import FuzzyInput, NnInput, RawInput, TrainingDataSection
from ktrdr.core.strategy.read_data import unknown_timeframe
from ktrdr.core.strategy.read_definitions import Definitions, closest, read_reference
from ktrdr.core.strategy.section import Report, Section

__all__ = ["LAGS", "MAX_FEATURES", "NORMALIZATIONS", "read_inputs"]

NORMALIZATIONS = ("zscore", "minmax", "robust", "none")
LAGS = Parameter(
    "lags",
    "int_list",
    (),
    minimum=1,
    maximum=100_000,
    description="each number adds the values of the same features that many bars earlier",
)
_KEYS = ("fuzzy_set", "raw_indicator", "timeframes", "lags", "normalization")

MAX_FEATURES = 10_000
"""Maximum number of features of a model; a larger number is most likely a mistake in the lags."""


def read_inputs(
    report: Report, nodes: Sequence[Node], definitions: Definitions, data: TrainingDataSection | None
) -> list[tuple[Node, NnInput]] | None:
    """Return the inputs of the model, each with its node, or ``None`` after reporting an error."""
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
            f"the model would have {features:,} features, and the limit is {MAX_FEATURES:,}; remove lags or inputs",
        )
        return None
    return found if _distinct(report, found, definitions) else None


def _read_input(section: Section, definitions: Definitions, data: TrainingDataSection | None) -> NnInput | None:
    kinds = [key for key in ("fuzzy_set", "raw_indicator") if section.has(key)]
    fuzzy_set = reference = None
    if len(kinds) != 1:
        message = "an input is either `fuzzy_set: <id>` or `raw_indicator: <id>`"
        # A misspelt key gets its own message from `finish`.
        misspelt = (key for key in section.entries if key not in _KEYS and did_you_mean(key, _KEYS[:2]))
        if kinds or not any(misspelt):
            section.error(kinds[1] if kinds else None, message + (", not both" if kinds else ""))
        for key in ("fuzzy_set", "raw_indicator", "normalization"):
            section.node(key)
    elif kinds == ["fuzzy_set"]:
        section.node("raw_indicator")
        fuzzy_set = section.text("fuzzy_set")
        if fuzzy_set is not None and fuzzy_set not in definitions.fuzzy_sets:
            section.error(
                "fuzzy_set", f"there is no fuzzy set `{fuzzy_set}`{closest(fuzzy_set, definitions.fuzzy_sets)}"
            )
            fuzzy_set = None
    else:
        section.node("fuzzy_set")
        reference = read_reference(section, "raw_indicator", definitions, required="an indicator")
    normalization = "zscore"
    if reference is not None or kinds == ["raw_indicator"]:
        chosen = section.choice("normalization", NORMALIZATIONS)
        if section.has("normalization") and chosen is None:
            reference = None
        normalization = chosen or normalization
    timeframes = _read_input_timeframes(section, data)
    lags = section.parameters((LAGS,))
    section.finish(
        {"normalization": "degrees of membership are between 0 and 1 already; only raw inputs have this key"}
    )
    if lags is not None and len(set(lags["lags"])) < len(lags["lags"]):
        section.error("lags", "`lags` has a number twice; remove one of them")
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
        if name not in TIMEFRAMES:
            section.error("timeframes", unknown_timeframe(name))
        else:
            section.error(
                "timeframes",
                f"`{name}` is not among the timeframes of `training_data`: {', '.join(data.timeframes)}; add it there",
            )
    return names if fits else None


def _distinct(report: Report, inputs: Sequence[tuple[Node, NnInput]], definitions: Definitions) -> bool:
    """Report features with the same id. Return True if all ids differ."""
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
                f"feature `{name}` is already made by `nn_inputs[{earlier}]`; remove one of the two inputs, or rename "
                "its fuzzy set or indicator",
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
