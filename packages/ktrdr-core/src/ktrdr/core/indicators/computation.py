"""Computation of indicators on bars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ktrdr.core.comparisons import steady
from ktrdr.core.data.bars import Bars
from ktrdr.core.errors import BadInputError, PluginError, one_line
from ktrdr.core.indicators.registry import default_registry, get_indicator
from ktrdr.core.indicators.types import MEANS, IndicatorType

__all__ = ["compute_indicator", "source_series"]


def compute_indicator(type_name: str, parameters: Mapping[str, Any], bars: Bars) -> dict[str, np.ndarray]:
    """Compute an indicator on all of ``bars``.

    Missing data: a bar on which a column that the indicator reads is NaN (or infinite) has no value, and the indicator
    restarts after it, with a new warm-up. So missing data is never interpolated, and has no effect on values long after
    it; a cumulative indicator restarts from zero. Columns that are not read do not matter. Absent bars, such as those
    of a weekend, are not missing data: the bars before and after are neighbours.

    Args:
        type_name: name or alias of an indicator type.
        parameters: those that differ from their defaults, or all of them.
        bars: any number of bars, also none; with fewer than the warm-up needs, all values are NaN.

    Returns:
        float64 ``(len(bars),)`` per output, in the type's order; NaN during the warm-up, never infinite. Value ``t``
        depends only on bars up to ``t``, to the last bit.

    Raises:
        BadInputError: the type is unknown, or a parameter is unknown, of the wrong type or out of range.
        PluginError: the formula of a user indicator failed, or returned something else than its outputs.
    """
    indicator = get_indicator(type_name)
    values, problems = indicator.validate(parameters)
    if problems:
        raise BadInputError(f"indicator `{indicator.name}`: {'; '.join(problem.message for problem in problems)}")
    columns = _columns(indicator, values, bars)
    warmup = indicator.warmup(values)
    runs = [run for run in _runs(_present(indicator, columns, len(bars))) if run[1] - run[0] > warmup]
    evaluated = (
        _evaluate(indicator, {name: _locked(column[first:end]) for name, column in columns.items()}, values)
        for first, end in runs
    )
    if runs == [(0, len(bars))]:
        # A foreign formula may return an array twice, or one that it keeps.
        changeable = _copied if default_registry().is_foreign(indicator.name) else _changeable
        outputs = [changeable(result) for result in next(evaluated)]
        for output in outputs:
            output[:warmup] = np.nan
    else:
        outputs = _joined(len(indicator.outputs), len(bars), warmup, runs, evaluated)
    for output in outputs:
        infinite = np.isinf(output)
        if infinite.any():
            output[infinite] = np.nan
    return dict(zip(indicator.outputs, outputs, strict=True))


def _changeable(result: np.ndarray) -> np.ndarray:
    """Return ``result`` of a built-in formula as float64 to write to: itself, unless it is part of another array."""
    own = result.dtype == np.float64 and result.flags.owndata and result.flags.writeable
    return result if own else _copied(result)


def _copied(result: np.ndarray) -> np.ndarray:
    """Return a copy as float64, a plain array also for a subclass."""
    return np.array(result, dtype=np.float64)


def _joined(
    outputs: int, n: int, warmup: int, runs: Sequence[tuple[int, int]], evaluated: Iterable[Sequence[np.ndarray]]
) -> list[np.ndarray]:
    """Return float64 ``(n,)`` per output: the results of each run after its warm-up, NaN elsewhere."""
    joined = [np.full(n, np.nan) for _ in range(outputs)]
    for (first, end), results in zip(runs, evaluated, strict=True):
        for output, result in zip(joined, results, strict=True):
            output[first + warmup : end] = result[warmup:]
    return joined


def source_series(bars: Bars, source: str) -> np.ndarray:
    """Return the series that a ``source`` parameter names, float64 ``(n,)``.

    Means that are equal on neighbouring bars are equal to the last bit.
    """
    if source not in MEANS:
        return getattr(bars, source)
    first, *others = MEANS[source]
    mean = getattr(bars, first).copy()
    for name in others:
        mean += getattr(bars, name)
    mean /= len(others) + 1
    return steady(mean)


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


def _locked(column: np.ndarray) -> np.ndarray:
    """Return a read-only view: a formula that writes to it would change the bars of all users."""
    view = column.view()
    view.flags.writeable = False
    return view


def _evaluate(
    indicator: IndicatorType, columns: Mapping[str, np.ndarray], parameters: Mapping[str, Any]
) -> Sequence[np.ndarray]:
    if not default_registry().is_foreign(indicator.name):
        return indicator.formula(columns, parameters)
    try:
        results = indicator.formula(columns, parameters)
    except Exception as error:  # foreign code may raise any exception
        raise PluginError(
            f"{_culprit(indicator)} failed on {_length(columns)} bars ({one_line(error, named=True)})"
        ) from error
    _check(indicator, results, _length(columns))
    return results


def _check(indicator: IndicatorType, results: Any, n: int) -> None:
    """Check the outputs of a foreign formula, to name the formula in the error."""
    if not isinstance(results, list | tuple) or len(results) != len(indicator.outputs):
        raise PluginError(
            f"{_culprit(indicator)} must return {len(indicator.outputs)} arrays"
            f" ({', '.join(indicator.outputs)}) as a list or tuple; correct its formula"
        )
    for name, result in zip(indicator.outputs, results, strict=True):
        if not isinstance(result, np.ndarray) or result.shape != (n,) or result.dtype.kind not in "fiub":
            found = f"{result.dtype} {result.shape}" if isinstance(result, np.ndarray) else type(result).__name__
            raise PluginError(
                f"{_culprit(indicator)} must return numbers of shape ({n},) for `{name}`, not {found};"
                " correct its formula"
            )


def _culprit(indicator: IndicatorType) -> str:
    return f"the formula of indicator `{indicator.name}` ({default_registry().origin(indicator.name)})"


def _length(columns: Mapping[str, np.ndarray]) -> int:
    return len(next(iter(columns.values())))
