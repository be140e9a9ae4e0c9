"""Feature matrix and the description of its columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ktrdr.core.fuzzy.definition import MembershipFunction
from ktrdr.core.strategy.model import FuzzyInput, Normalization, Strategy

__all__ = ["FeatureColumn", "FeatureMatrix", "crisp_columns", "feature_columns", "feature_number"]


@dataclass(frozen=True, slots=True)
class FeatureColumn:
    """Id and source of one column of a feature matrix.

    Attributes:
        id: feature id, unique in the strategy.
        kind: ``membership`` for a degree of membership, ``raw`` for a normalized indicator value, ``crisp`` for a plain
            indicator value (for models that have memberships of their own).
        timeframe: timeframe of the bars that it is computed from.
        indicator: ``<id>`` or ``<id>.<output>`` of the indicator.
        fuzzy_set: id of the fuzzy set; ``None`` for a raw column.
        membership: name of the membership; ``None`` unless the kind is ``membership``.
        function: membership function; ``None`` unless the kind is ``membership``.
        normalization: method of a raw column; ``None`` for the other kinds.
        lag: number of base bars that the value is delayed by.
    """

    id: str
    kind: Literal["membership", "raw", "crisp"]
    timeframe: str
    indicator: str
    fuzzy_set: str | None = None
    membership: str | None = None
    function: MembershipFunction | None = None
    normalization: Normalization | None = None
    lag: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMatrix:
    """Features of one symbol on its base bars.

    Attributes:
        symbol: the symbol.
        time: ``datetime64[ns]`` ``(n,)``, open of the base bar; the row is known at its close.
        values: float32 C-contiguous ``(n, columns)``. Every column is NaN in a row before every input is warm.
        columns: the columns in model input order.
    """

    symbol: str
    time: np.ndarray
    values: np.ndarray
    columns: tuple[FeatureColumn, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """Feature ids in the order of the columns."""
        return tuple(column.id for column in self.columns)

    @property
    def warm(self) -> np.ndarray:
        """Mask of the rows without NaN, bool ``(n,)``."""
        warm: np.ndarray = ~np.isnan(self.values).any(axis=1)
        return warm


def _lagged(suffixless: str, lag: int) -> str:
    return f"{suffixless}_lag{lag}" if lag else suffixless


def feature_columns(strategy: Strategy) -> tuple[FeatureColumn, ...]:
    """Return the columns of ``nn_inputs``: by input, timeframe, lag and membership, in the order of the strategy."""
    return tuple(_expand(strategy, crisp=False))


def crisp_columns(strategy: Strategy) -> tuple[FeatureColumn, ...]:
    """Return the columns of ``nn_inputs`` with one crisp column instead of the memberships of each fuzzy input."""
    return tuple(_expand(strategy, crisp=True))


def feature_number(strategy: Strategy, *, crisp: bool) -> int:
    """Return the number of columns without making them.

    Raises:
        KeyError: an input names a fuzzy set that is not defined.
    """
    number = 0
    for item in strategy.nn_inputs:
        own = len(strategy.fuzzy_sets[item.fuzzy_set].memberships) if isinstance(item, FuzzyInput) else 1
        number += len(item.timeframes) * (1 + len(item.lags)) * (1 if crisp else own)
    return number


def _expand(strategy: Strategy, *, crisp: bool) -> Iterator[FeatureColumn]:
    for item in strategy.nn_inputs:
        for timeframe in item.timeframes:
            for lag in (0, *item.lags):
                if not isinstance(item, FuzzyInput):
                    yield FeatureColumn(
                        id=_lagged(f"{timeframe}_{item.raw_indicator}_raw", lag),
                        kind="raw",
                        timeframe=timeframe,
                        indicator=item.raw_indicator,
                        normalization=item.normalization,
                        lag=lag,
                    )
                    continue
                fuzzy_set = strategy.fuzzy_sets[item.fuzzy_set]
                if crisp:
                    yield FeatureColumn(
                        id=_lagged(f"{timeframe}_{item.fuzzy_set}_value", lag),
                        kind="crisp",
                        timeframe=timeframe,
                        indicator=fuzzy_set.indicator,
                        fuzzy_set=item.fuzzy_set,
                        lag=lag,
                    )
                    continue
                for membership, function in fuzzy_set.memberships.items():
                    yield FeatureColumn(
                        id=_lagged(f"{timeframe}_{item.fuzzy_set}_{membership}", lag),
                        kind="membership",
                        timeframe=timeframe,
                        indicator=fuzzy_set.indicator,
                        fuzzy_set=item.fuzzy_set,
                        membership=membership,
                        function=function,
                        lag=lag,
                    )
