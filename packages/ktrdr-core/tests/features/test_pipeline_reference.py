"""The pipeline compared with a slow reference that computes bar by bar without arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.features import assembly
from ktrdr.core.features.columns import FeatureColumn
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.fuzzy.membership import membership
from ktrdr.core.indicators.computation import compute_indicator
from ktrdr.core.indicators.registry import get_indicator
from ktrdr.core.strategy.model import Strategy


def known_at(bars: Bars, moment: np.datetime64) -> Bars:
    """The bars that have closed by ``moment``."""
    closed = 0
    for open_time in bars.time:
        if open_time + np.timedelta64(bars.timeframe.seconds, "s") <= moment:
            closed += 1
    return bars[:closed]


def value_at(
    strategy: Strategy, column: FeatureColumn, bars: Mapping[str, Bars], row: int, cache: dict[object, float]
) -> float:
    """The value of one column at one base row, from the bars that have closed by then only."""
    row -= column.lag
    if row < 0:
        return math.nan
    base = bars[strategy.training_data.base_timeframe]
    moment = base.time[row] + np.timedelta64(base.timeframe.seconds, "s")
    key = (column.timeframe, column.indicator, row)
    if key not in cache:
        visible = known_at(bars[column.timeframe], moment)
        identifier, _, output = column.indicator.partition(".")
        definition = strategy.indicators[identifier]
        output = output or get_indicator(definition.type).outputs[0]
        cache[key] = (
            float(compute_indicator(definition.type, definition.parameters, visible)[output][-1])
            if len(visible)
            else math.nan
        )
    if column.function is None:
        return cache[key]
    return float(membership(column.function, np.array([cache[key]]))[0])


def slow_matrix(strategy: Strategy, columns: tuple[FeatureColumn, ...], bars: Mapping[str, Bars]) -> np.ndarray:
    cache: dict[object, float] = {}
    rows = []
    for row in range(len(bars[strategy.training_data.base_timeframe])):
        values = [value_at(strategy, column, bars, row, cache) for column in columns]
        if any(math.isnan(value) for value in values):
            values = [math.nan] * len(columns)
        rows.append(values)
    return np.array(rows).reshape(-1, len(columns))


@given(
    n=st.integers(0, 70),
    seed=st.integers(0, 2**16),
    missing=st.sampled_from((0.0, 0.1, 0.4)),
    block=st.integers(1, 80),
    crisp=st.booleans(),
)
def test_equals_the_pipeline_that_walks_bar_by_bar(
    rich_strategy: Strategy,
    rich_bars: Callable[..., dict[str, Bars]],
    n: int,
    seed: int,
    missing: float,
    block: int,
    crisp: bool,
):
    bars = rich_bars(n, seed=seed, missing=missing)
    pipeline = FeaturePipeline(rich_strategy, crisp=crisp)
    with patch.object(assembly, "_BLOCK", block):
        matrix = pipeline.compute(bars)
    expected = slow_matrix(rich_strategy, pipeline.columns, bars)
    np.testing.assert_allclose(matrix.values, expected, rtol=1e-6, atol=1e-7)


def test_the_reference_sees_warm_rows(rich_strategy: Strategy, rich_bars: Callable[..., dict[str, Bars]]):
    """Without warm rows, the comparison above would only compare NaN with NaN."""
    columns = FeaturePipeline(rich_strategy).columns
    expected = slow_matrix(rich_strategy, columns, rich_bars(70, seed=3))
    assert np.isfinite(expected).all(axis=1).sum() > 10


@pytest.mark.parametrize("crisp", [False, True])
def test_block_size_changes_no_byte(rich_strategy: Strategy, rich_bars: Callable[..., dict[str, Bars]], crisp: bool):
    pipeline = FeaturePipeline(rich_strategy, crisp=crisp)
    bars = rich_bars(500)
    whole = pipeline.compute(bars).values
    for block in (1, 13, 499, 500):
        with patch.object(assembly, "_BLOCK", block):
            assert pipeline.compute(bars).values.tobytes() == whole.tobytes()
