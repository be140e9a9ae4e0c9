"""Reasons of trades: inputs and outputs of the model at the bars where it decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.fills import SIGNAL
from ktrdr.core.backtesting.results import Reasons, ValueHistogram
from ktrdr.core.backtesting.simulation import Trades
from ktrdr.core.data.alignment import visible_index
from ktrdr.core.data.bars import Bars
from ktrdr.core.features.columns import FeatureColumn, FeatureMatrix, feature_columns
from ktrdr.core.features.sources import Source, sources_of
from ktrdr.core.fuzzy.membership import membership
from ktrdr.core.models.manifest import Manifest
from ktrdr.core.plugins.contract import Explainable, Predictor
from ktrdr.core.short_texts import counted, object_repr
from ktrdr.core.strategy.model import FuzzyInput, Strategy

__all__ = ["Evidence", "reasons_of", "value_histograms"]

_BINS = 60
_MOST_VALUES = 100_000
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Features, indicator values and outputs of the model for one symbol.

    Attributes:
        bars: bars per timeframe, history included; the base timeframe first.
        matrix: normalized features on the base bars.
        values: indicator values, each on the bars of its own timeframe.
        first: row of the first traded bar.
        outputs: outputs of the model, from that row on.
    """

    bars: Mapping[str, Bars]
    matrix: FeatureMatrix
    values: Mapping[Source, np.ndarray]
    first: int
    outputs: np.ndarray

    def __repr__(self) -> str:
        market, bars = f"{self.matrix.symbol} {next(iter(self.bars))}", counted(len(self.outputs), "traded bar")
        return object_repr(self, market, bars, counted(len(self.matrix.columns), "feature"))

    def values_at(self, source: Source, rows: np.ndarray) -> np.ndarray:
        """Return the indicator values that are visible at the closes of base bars ``rows``, float64 ``(rows,)``."""
        base_name, base = next(iter(self.bars.items()))
        if source[0] == base_name:
            values: np.ndarray = self.values[source][rows]
            return values
        # One bar at a time, as there are few rows: aligning all bars would take longer than everything else here.
        other = self.bars[source[0]]
        visible = np.array([visible_index(base[row : row + 1], other)[0] for row in rows.tolist()], dtype=np.int64)
        return np.where(visible >= 0, self.values[source][visible], np.nan)


def reasons_of(
    trades: Trades, evidence: Sequence[Evidence], manifest: Manifest, predictor: Predictor | None, explain: int
) -> Reasons:
    """Return the reasons of all trades.

    Args:
        trades: trades of the simulation; ``trades.market`` is the position of the symbol in ``evidence``.
        evidence: features and outputs per symbol.
        manifest: manifest of the model.
        predictor: predictor of the model. Contributions are computed if it is
            :class:`~ktrdr.core.plugins.contract.Explainable`; ``None`` if the models that predicted are not stored.
        explain: number of trades to compute contributions for, those with the largest profits and losses.
    """
    strategy = manifest.strategy
    columns = evidence[0].matrix.columns
    # A model with its own membership functions receives plain values: the strategy's memberships of them are added.
    added = feature_columns(strategy) if manifest.crisp else ()
    added = tuple(column for column in added if column.function is not None)
    sources = sources_of(columns)
    outputs = manifest.classes or ("value",)
    features = tuple(column.id for column in (*columns, *added))
    names = tuple(f"{timeframe}_{indicator}" for timeframe, indicator in sources)
    count = len(trades)
    explained = np.zeros(count, dtype=np.bool_)
    explained[np.argsort(-np.abs(trades.net), kind="stable")[:explain]] = True
    decided = {
        "entry": trades.entry_decision,
        "exit": np.where(trades.reason == SIGNAL, trades.exit_decision, -1),
    }
    arrays: dict[str, np.ndarray] = {}
    for moment, bars in decided.items():
        shapes = {"outputs": outputs, "features": features, "values": names, "contributions": features}
        for part, wanted in shapes.items():
            arrays[f"{moment}_{part}"] = np.full((count, len(wanted)), np.nan)
        # A BUY opens a long position and closes a short one.
        buys = (trades.side > 0) == (moment == "entry")
        for number, own in enumerate(evidence):
            mine = np.flatnonzero((trades.market == number) & (bars >= 0))
            if not len(mine):
                continue
            rows = bars[mine] + own.first
            predicted = own.outputs[bars[mine]]
            arrays[f"{moment}_outputs"][mine] = predicted.reshape(len(mine), -1)
            arrays[f"{moment}_features"][mine, : len(columns)] = own.matrix.values[rows]
            arrays[f"{moment}_features"][mine, len(columns) :] = _memberships(added, own, rows)
            for position, source in enumerate(sources):
                arrays[f"{moment}_values"][mine, position] = own.values_at(source, rows)
            asked = mine[explained[mine]]
            if isinstance(predictor, Explainable) and len(asked):
                shares = _contributions(predictor, predictor.window, own.matrix.values, bars[asked] + own.first)
                acted_on = np.where(buys[asked], 0, 2) if manifest.classes else np.zeros(len(asked), dtype=np.int64)
                arrays[f"{moment}_contributions"][asked, : len(columns)] = shares[np.arange(len(asked)), :, acted_on]
    return Reasons(outputs=tuple(outputs), features=features, values=names, **arrays)


def value_histograms(strategy: Strategy, evidence: Sequence[Evidence]) -> tuple[ValueHistogram, ...]:
    """Return a histogram of the values that each fuzzy set reads on the traded bars.

    Only its shape matters: of more than 100,000 bars, every k-th is counted so that about 100,000 are left.
    """
    pairs = dict.fromkeys(
        (timeframe, item.fuzzy_set)
        for item in strategy.nn_inputs
        if isinstance(item, FuzzyInput)
        for timeframe in item.timeframes
    )
    found = []
    for timeframe, name in pairs:
        indicator = strategy.fuzzy_sets[name].indicator
        parts = []
        for own in evidence:
            start = own.matrix.time[own.first]
            begin = int(np.searchsorted(own.bars[timeframe].time, start))
            values = own.values[(timeframe, indicator)][begin:]
            parts.append(values[:: max(1, len(values) * len(evidence) // _MOST_VALUES)])
        known = np.concatenate(parts)
        known = known[np.isfinite(known)]
        if len(known):
            counts, edges = np.histogram(known, bins=_BINS)
            found.append(ValueHistogram(timeframe, name, indicator, tuple(edges.tolist()), tuple(counts.tolist())))
    return tuple(found)


def _memberships(columns: Sequence[FeatureColumn], own: Evidence, rows: np.ndarray) -> np.ndarray:
    degrees = np.full((len(rows), len(columns)), np.nan)
    for position, column in enumerate(columns):
        assert column.function is not None
        lagged = rows - column.lag
        values = own.values_at((column.timeframe, column.indicator), np.maximum(lagged, 0))
        degrees[:, position] = membership(column.function, np.where(lagged >= 0, values, np.nan))
    return degrees


def _contributions(model: Explainable, window: int, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the contributions at ``rows``, each from its own window: float64 ``(rows, features, outputs)``."""
    parts = []
    back = np.arange(1 - window, 1)
    for start in range(0, len(rows), max(1, _ROWS_AT_ONCE // window)):
        chosen = rows[start : start + max(1, _ROWS_AT_ONCE // window)]
        # A row of NaN separates the windows: a backend skips every window that contains one.
        stacked = np.full((len(chosen), window + 1, values.shape[1]), np.nan, dtype=np.float32)
        stacked[:, 1:] = values[chosen[:, None] + back]
        parts.append(model.contributions(stacked.reshape(-1, values.shape[1]))[window :: window + 1])
    return np.concatenate(parts)
