"""Why each trade was made: what the model saw and said at the bars of its decisions."""

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
from ktrdr.core.strategy.model import FuzzyInput, Strategy

__all__ = ["Evidence", "reasons_of", "value_histograms"]

_BINS = 60
_MOST_VALUES = 100_000
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What there is of one symbol to give reasons with.

    Attributes:
        bars: per timeframe, history included; the base timeframe first.
        matrix: normalized features on the base bars.
        values: indicator values, each on the bars of its own timeframe.
        first: row of the first bar that is traded.
        outputs: of the model, from that row on.
    """

    bars: Mapping[str, Bars]
    matrix: FeatureMatrix
    values: Mapping[Source, np.ndarray]
    first: int
    outputs: np.ndarray

    def values_at(self, source: Source, rows: np.ndarray) -> np.ndarray:
        """Return indicator values visible at the closes of base bars ``rows``."""
        base_name, base = next(iter(self.bars.items()))
        if source[0] == base_name:
            return self.values[source][rows]
        # One bar at a time, as there are few: aligning all of them would cost more than everything else here.
        other = self.bars[source[0]]
        visible = np.array([visible_index(base[row : row + 1], other)[0] for row in rows.tolist()], dtype=np.int64)
        return np.where(visible >= 0, self.values[source][visible], np.nan)


def reasons_of(
    trades: Trades, evidence: Sequence[Evidence], manifest: Manifest, predictor: Predictor, explain: int
) -> Reasons:
    """Gather the reasons of all trades.

    Args:
        trades: of the simulation, whose markets are numbered as ``evidence`` is.
        evidence: per symbol.
        manifest: of the model.
        predictor: of the model; if it is :class:`~ktrdr.core.plugins.contract.Explainable` there are contributions.
        explain: for how many trades, those with the largest results.
    """
    strategy = manifest.strategy
    columns = evidence[0].matrix.columns
    # A model that owns its membership functions sees plain values: what the strategy file reads from them is added.
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
        # A long position is entered and a short one left by a BUY.
        buys = (trades.side > 0) == (moment == "entry")
        for number, own in enumerate(evidence):
            mine = np.flatnonzero((trades.market == number) & (bars >= 0))
            if not len(mine):
                continue
            rows = bars[mine] + own.first
            said = own.outputs[bars[mine]]
            arrays[f"{moment}_outputs"][mine] = said.reshape(len(mine), -1)
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
    """Return how often each value occurs that a fuzzy set reads, over the traded bars.

    Only the shape matters: of more than 100,000 bars, that many at even distances are counted.
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
    """Return float64 ``(rows, features, outputs)``: each row with its own window, one window after the other."""
    parts = []
    back = np.arange(1 - window, 1)
    for start in range(0, len(rows), max(1, _ROWS_AT_ONCE // window)):
        chosen = rows[start : start + max(1, _ROWS_AT_ONCE // window)]
        # A row of NaN before each window: what reaches into two of them has no shares, and costs a backend nothing.
        stacked = np.full((len(chosen), window + 1, values.shape[1]), np.nan, dtype=np.float32)
        stacked[:, 1:] = values[chosen[:, None] + back]
        parts.append(model.contributions(stacked.reshape(-1, values.shape[1]))[window :: window + 1])
    return np.concatenate(parts)
