"""Indicator values on bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.errors import BadInputError
from ktrdr.core.indicators.registry import get_indicator
from ktrdr.core.indicators.types import IndicatorType

__all__ = ["compute_indicator", "source_series"]

_MEANS: Mapping[str, tuple[str, ...]] = {
    "hl2": ("high", "low"),
    "hlc3": ("high", "low", "close"),
    "ohlc4": ("open", "high", "low", "close"),
}


def compute_indicator(type_name: str, parameters: Mapping[str, Any], bars: Bars) -> dict[str, np.ndarray]:
    """Compute an indicator on all of ``bars``.

    Missing data: a bar on which anything the indicator reads is NaN (or infinite) has no value, and the indicator
    begins anew after it, warm-up included. So a gap is never bridged, and never spoils what comes long after it; a
    cumulative line starts again from zero. Columns that are not read do not matter. Bars that are absent, a weekend
    say, are no gap: the bars on either side are neighbours.

    Args:
        type_name: name or alias of a type.
        parameters: those that differ from their defaults, or all of them.
        bars: any number, also none; fewer than the warm-up needs give NaN throughout.

    Returns:
        float64 ``(len(bars),)`` per output, in the type's order; NaN until warm, never infinite. Value ``t`` depends
        on bars up to ``t`` alone, to the last bit.

    Raises:
        BadInputError: the type is unknown, or a parameter is unknown, of the wrong type or out of range.
    """
    indicator = get_indicator(type_name)
    values, problems = indicator.validate(parameters)
    if problems:
        raise BadInputError(f"indicator `{indicator.name}`: {'; '.join(problem.message for problem in problems)}")
    columns = _columns(indicator, values, bars)
    warmup = indicator.warmup(values)
    outputs = {name: np.full(len(bars), np.nan) for name in indicator.outputs}
    for first, end in _runs(_present(indicator, columns, len(bars))):
        if end - first <= warmup:
            continue
        run = {name: column[first:end] for name, column in columns.items()}
        results = indicator.formula(run, values)
        _check(indicator, results, end - first)
        for name, result in zip(indicator.outputs, results, strict=True):
            outputs[name][first + warmup : end] = result[warmup:]
    for output in outputs.values():
        output[np.isinf(output)] = np.nan
    return outputs


def source_series(bars: Bars, source: str) -> np.ndarray:
    """Return the series a ``source`` parameter names, float64 ``(n,)``."""
    if source not in _MEANS:
        return getattr(bars, source)
    first, *others = _MEANS[source]
    mean = getattr(bars, first).copy()
    for name in others:
        mean += getattr(bars, name)
    mean /= len(others) + 1
    return mean


def _columns(indicator: IndicatorType, values: Mapping[str, Any], bars: Bars) -> dict[str, np.ndarray]:
    columns = {name: np.ascontiguousarray(getattr(bars, name)) for name in indicator.inputs}
    if indicator.has_source:
        columns["source"] = np.ascontiguousarray(source_series(bars, values["source"]))
    return columns


def _present(indicator: IndicatorType, columns: Mapping[str, np.ndarray], n: int) -> np.ndarray:
    present = np.ones(n, dtype=np.bool_)
    for name, column in columns.items():
        if name != "time":
            present &= np.isfinite(column)
    if indicator.positive:
        present &= columns["source"] > 0.0
    return present


def _runs(present: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield first and end row of each unbroken run of present bars."""
    if present.all():
        yield 0, len(present)
        return
    edges = np.flatnonzero(np.diff(present, prepend=False, append=False))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _check(indicator: IndicatorType, results: Any, n: int) -> None:
    """Users write formulas too: say which one went wrong, not where numpy noticed."""
    if not isinstance(results, list | tuple) or len(results) != len(indicator.outputs):
        raise BadInputError(
            f"indicator `{indicator.name}` must return {len(indicator.outputs)} arrays"
            f" ({', '.join(indicator.outputs)}) as a list or tuple; correct its formula"
        )
    for name, result in zip(indicator.outputs, results, strict=True):
        if not isinstance(result, np.ndarray) or result.shape != (n,):
            shape = result.shape if isinstance(result, np.ndarray) else type(result).__name__
            raise BadInputError(
                f"indicator `{indicator.name}` must return an array of shape ({n},) for `{name}`, not {shape};"
                " correct its formula"
            )
