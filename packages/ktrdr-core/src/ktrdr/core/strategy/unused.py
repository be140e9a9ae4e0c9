"""Warnings about parts of a strategy that have no effect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ktrdr.core.indicators import registry
from ktrdr.core.strategy.document import Entry
from ktrdr.core.strategy.model import FuzzyInput, NnInput, TrainingDataSection
from ktrdr.core.strategy.read_definitions import Definitions
from ktrdr.core.strategy.section import Section

__all__ = ["warn_of_unused"]


def warn_of_unused(
    top: Section, definitions: Definitions, inputs: Sequence[NnInput], data: TrainingDataSection | None
) -> None:
    """Warn of indicators, fuzzy sets and timeframes that no input reads, and of a history shorter than the warm-up."""
    sets = {item.fuzzy_set for item in inputs if isinstance(item, FuzzyInput)}
    read = {item.raw_indicator for item in inputs if not isinstance(item, FuzzyInput)}
    read |= {fuzzy_set.indicator for fuzzy_set in definitions.fuzzy_sets.values() if fuzzy_set is not None}
    identifiers = {reference.partition(".")[0] for reference in read}
    _warn(
        top,
        "indicators",
        definitions.indicators,
        identifiers,
        "indicator",
        "no fuzzy set and no raw input reads it; use it or remove it",
    )
    _warn(
        top,
        "fuzzy_sets",
        definitions.fuzzy_sets,
        sets,
        "fuzzy set",
        "no item of `nn_inputs` names it; use it or remove it",
    )
    if data is None:
        return
    used = {timeframe for item in inputs for timeframe in item.timeframes} | {data.base_timeframe}
    part = _entries(top, "training_data")
    for timeframe in data.timeframes:
        if timeframe not in used:
            message = f"timeframe `{timeframe}` is not used: no item of `nn_inputs` names it; use it or remove it"
            top.report.add(part["timeframes"], ("training_data", "timeframes"), message, "warning")
    needed = _warmup(definitions)
    if data.history_required is not None and 0 < data.history_required < needed:
        message = f"the indicators need {needed:,} bars of history, so {needed:,} are used; remove this key or raise it"
        top.report.add(part["history_required"], ("training_data", "history_required"), message, "warning")


def _warn(top: Section, section: str, names: Iterable[str], used: set[str], kind: str, reason: str) -> None:
    for name in names:
        if name not in used:
            place = _entries(top, section)[name]
            top.report.add(place, (section, name), f"{kind} `{name}` is not used: {reason}", "warning")


def _entries(top: Section, section: str) -> Mapping[str, Entry]:
    entries = top.entries[section].node.value
    assert isinstance(entries, dict)
    return entries


def _warmup(definitions: Definitions) -> int:
    found = (
        registry.get_indicator(definition.type).warmup(definition.parameters)
        for definition in definitions.indicators.values()
        if definition is not None
    )
    return max(found, default=0)
