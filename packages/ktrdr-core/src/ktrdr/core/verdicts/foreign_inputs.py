"""Check of validity: does an indicator that reads prices have values of its own, whatever the prices are?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.sources import Source, sources_of
from ktrdr.core.indicators.registry import get_indicator
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.verdicts.findings import finding_of, named
from ktrdr.core.verdicts.verdict_result import ValidityFinding
from ktrdr.core.verdicts.world_maker import WorldMaker
from ktrdr.core.work.cancellation import Cancellation

__all__ = ["check_foreign_inputs"]

_BARS = 2_000
_BARS_OF_OTHERS = 500
_FEWEST_VALUES = 100
_SEED = 0

# Of bars whose signs are flipped, ranges and volumes stay; of bars that are drawn in blocks, only the times do.
_WORLD = "block_bootstrap"


def check_foreign_inputs(
    strategy: Strategy,
    pipeline: FeaturePipeline,
    bars: Mapping[str, Mapping[str, Bars]],
    cancellation: Cancellation,
) -> ValidityFinding:
    """Compute the indicators again on other prices and volumes at the same times.

    An indicator that reads prices by its declaration, and has the same values on other ones, takes them from
    elsewhere, such as from a table by time. No world and no earlier end of the data changes them, so no other check can
    say whether they were known at that time. Indicators that read only time or volume, and constant ones, are exempt.

    Args:
        strategy: the strategy.
        pipeline: its pipeline.
        bars: bars by symbol and timeframe, the base timeframe first.
        cancellation: stops the check between two symbols.
    """
    reading = [source for source in sources_of(pipeline.columns) if _reads_prices(strategy, source)]
    found: dict[Source, list[str]] = {}
    for number, (symbol, own) in enumerate(bars.items() if reading else ()):
        cancellation.raise_if_requested()
        length = pipeline.warmup + (_BARS_OF_OTHERS if number else _BARS)
        part = {timeframe: series[-length:] for timeframe, series in own.items()}
        other = {
            timeframe: WorldMaker({symbol: series}, _SEED).bars(_WORLD, 0)[symbol] for timeframe, series in part.items()
        }
        values, others = pipeline.indicator_values(part), pipeline.indicator_values(other)
        for source in reading:
            if _same(values[source], others[source]):
                found.setdefault(source, []).append(symbol)
    return finding_of(
        "foreign_input",
        "inputs from elsewhere",
        [
            f"indicator `{indicator}` of {named(symbols)} {timeframe} reads prices, and has the same values on other"
            " prices"
            for (timeframe, indicator), symbols in found.items()
        ],
        remedy="its values come from elsewhere, such as a table by time, and nothing shows whether they were known by"
        " then; compute it from the bars, or declare `time` as its only input if it depends on nothing else",
        clean="each indicator that reads prices changes with them",
    )


def _reads_prices(strategy: Strategy, source: Source) -> bool:
    definition = strategy.indicators[source[1].partition(".")[0]]
    kind = get_indicator(definition.type)
    read = {*kind.inputs, *([definition.parameters["source"]] if kind.has_source else [])}
    return bool(read - {"time", "volume"})


def _same(values: np.ndarray, others: np.ndarray) -> bool:
    """Return True if the values that both have are the same to the last bit, and not all one value."""
    both = ~np.isnan(values) & ~np.isnan(others)
    known = values[both]
    return len(known) >= _FEWEST_VALUES and bool(np.ptp(known) > 0) and bool((known == others[both]).all())
