"""First half of the feature pipeline: indicator values on the bars of their own timeframe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.columns import FeatureColumn
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.indicators import computation, registry
from ktrdr.core.strategy.model import Strategy

__all__ = ["Source", "describe_source", "indicator_values", "sources_of", "warmup_of"]

Source = tuple[str, str]
"""``(timeframe, indicator)``, the indicator as ``<id>`` or ``<id>.<output>``."""

_LARGEST = float(np.finfo(np.float32).max)


def sources_of(columns: Iterable[FeatureColumn]) -> tuple[Source, ...]:
    """Return the distinct sources of ``columns``, in order of first use."""
    return tuple(dict.fromkeys((column.timeframe, column.indicator) for column in columns))


def indicator_values(
    strategy: Strategy, sources: Iterable[Source], bars: Mapping[str, Bars], cache: SymbolCache | None = None
) -> dict[Source, np.ndarray]:
    """Compute the values of ``sources``, each indicator once per timeframe.

    Args:
        strategy: strategy that defines the indicators.
        sources: values to compute.
        bars: one symbol's bars per timeframe.
        cache: cache for ``bars``; ``None`` to compute all values.

    Returns:
        float64 ``(bars of that timeframe,)`` for each source; NaN where the indicator is not warm, has no value, or
        has a value outside the range of float32, such as infinity.
    """
    wanted: dict[tuple[str, str], list[tuple[Source, str]]] = {}
    for source in sources:
        timeframe, reference = source
        identifier, output = _split(strategy, reference)
        wanted.setdefault((timeframe, identifier), []).append((source, output))
    values: dict[Source, np.ndarray] = {}
    for (timeframe, identifier), reads in wanted.items():
        definition = strategy.indicators[identifier]
        compute = computation.compute_indicator if cache is None else cache.compute_indicator
        outputs = compute(definition.type, definition.parameters, bars[timeframe])
        for source, output in reads:
            values[source] = _representable(outputs[output])
    return values


def describe_source(strategy: Strategy, source: Source) -> list[Any]:
    """Return what the values of ``source`` depend on, besides the bars: timeframe, type, parameters and output."""
    timeframe, reference = source
    identifier, output = _split(strategy, reference)
    definition = strategy.indicators[identifier]
    return [timeframe, definition.type, definition.parameters, output]


def warmup_of(strategy: Strategy, reference: str) -> int:
    """Return the number of bars before the first value of the indicator ``reference``."""
    identifier, _ = _split(strategy, reference)
    definition = strategy.indicators[identifier]
    return registry.get_indicator(definition.type).warmup(definition.parameters)


def _split(strategy: Strategy, reference: str) -> tuple[str, str]:
    """Return indicator id and output name; an id without output means the first output."""
    identifier, _, output = reference.partition(".")
    if identifier not in strategy.indicators:
        raise BadInputError(
            f"strategy `{strategy.name}` reads indicator `{identifier}`, which it does not define;"
            f" defined: {', '.join(strategy.indicators)}"
        )
    outputs = registry.get_indicator(strategy.indicators[identifier].type).outputs
    if output and output not in outputs:
        raise BadInputError(
            f"strategy `{strategy.name}` reads `{reference}`, but `{identifier}` has no output `{output}`;"
            f" it has {', '.join(outputs)}"
        )
    return identifier, output or outputs[0]


def _representable(values: np.ndarray) -> np.ndarray:
    """Return ``values`` with NaN instead of values outside the range of float32; a copy only if there are any."""
    # Without an array of magnitudes; fmin and fmax leave NaN out.
    if np.fmax.reduce(values, initial=0.0) <= _LARGEST and np.fmin.reduce(values, initial=0.0) >= -_LARGEST:
        return values
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(values) > _LARGEST, np.nan, values)
