"""Dead zones of a strategy's fuzzy sets, measured on bars: values for which every membership is 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.fuzzy.membership import dead_zone_share
from ktrdr.core.strategy.diagnostics import Diagnostic
from ktrdr.core.strategy.loader import LoadedStrategy
from ktrdr.core.strategy.model import FuzzyInput, Strategy

__all__ = ["DeadZone", "dead_zone_warnings", "measure_dead_zones"]


@dataclass(frozen=True, slots=True)
class DeadZone:
    """Share of bars on which every membership of a fuzzy set is 0.

    Attributes:
        fuzzy_set: id of the fuzzy set.
        symbol: symbol of the bars.
        timeframe: timeframe of the bars.
        bars: number of bars on which the indicator has a value.
        share: fraction of those bars on which every membership is 0.
    """

    fuzzy_set: str
    symbol: str
    timeframe: str
    bars: int
    share: float

    def to_json(self) -> dict[str, Any]:
        """Return the dead zone as a JSON-ready map."""
        return {name: getattr(self, name) for name in self.__slots__}


def measure_dead_zones(strategy: Strategy, bars: Mapping[str, Bars]) -> list[DeadZone]:
    """Measure every fuzzy set in ``nn_inputs`` on each of its timeframes.

    Args:
        strategy: a complete strategy.
        bars: one symbol's bars per timeframe, as :class:`~ktrdr.core.features.pipeline.FeaturePipeline` takes them.
    """
    values = FeaturePipeline(strategy).indicator_values(bars)
    wanted = dict.fromkeys(
        (item.fuzzy_set, timeframe)
        for item in strategy.nn_inputs
        if isinstance(item, FuzzyInput)
        for timeframe in item.timeframes
    )
    found = []
    for name, timeframe in wanted:
        fuzzy_set = strategy.fuzzy_sets[name]
        known = values[timeframe, fuzzy_set.indicator]
        known = known[~np.isnan(known)]
        share = dead_zone_share(fuzzy_set, known)
        found.append(DeadZone(name, bars[timeframe].symbol, timeframe, len(known), share))
    return found


def dead_zone_warnings(loaded: LoadedStrategy, zones: list[DeadZone]) -> list[Diagnostic]:
    """Return a warning for every dead zone, at the line of its fuzzy set."""
    found = []
    for zone in zones:
        if zone.share > 0:
            path = ("fuzzy_sets", zone.fuzzy_set)
            line, column = loaded.places[path]
            percent = f"{zone.share:.1%}" if zone.share >= 0.001 else "under 0.1%"
            message = (
                f"dead zone: on {percent} of {zone.bars:,} bars of {zone.symbol} {zone.timeframe} every membership of "
                f"`{zone.fuzzy_set}` is 0; let its memberships overlap, or widen the outer ones"
            )
            found.append(Diagnostic(line, column, ".".join(path), message, "warning"))
    return found
