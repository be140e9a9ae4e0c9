"""The stitched out-of-sample path of a model that was trained from an evaluation: its bars and stored predictions.

A backtest without days trades this path. Each of its bars is predicted by a model of the evaluation's folds that has
not seen the bar. The model itself was fitted to all of these bars, so its own predictions of them would say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.backtesting.deployment import symbols_to_trade
from ktrdr.core.backtesting.period import BacktestPeriod, history_start
from ktrdr.core.backtesting.reasons import Evidence
from ktrdr.core.backtesting.symbol_input import SymbolInput
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_end, format_time, instant_of
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.inputs import stored_inputs
from ktrdr.core.features.missing_volume import VolumeLoss
from ktrdr.core.features.normalizers import normalized_columns
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.manifest import EvaluationRecord, Manifest
from ktrdr.core.models.out_of_sample import OutOfSample, path_digest

__all__ = ["path_evidence", "path_inputs", "path_period"]


def path_period(bundle: Bundle, predictions: Mapping[str, OutOfSample]) -> BacktestPeriod:
    """Return the period of the path, with a statement that it is one.

    Args:
        bundle: the model.
        predictions: stored predictions by symbol.
    """
    record = _record(bundle.manifest)
    bar = np.timedelta64(1, "ns")
    start = min(own.time[0] for own in predictions.values())
    last = max(own.time[-1] for own in predictions.values())
    path, seed = record.median
    return BacktestPeriod(
        start,
        last + bar,
        f"the out-of-sample path of evaluation {record.reference} ({record.words}), path {path} with seed {seed}, whose"
        " Sharpe ratio is the lower median: each bar is predicted by a model that has not seen it; these models are not"
        f" {bundle.ref} and are not stored, so decisions have no contributions of inputs",
    )


def path_inputs(
    bundle: Bundle,
    store: BarStore,
    settings: BacktestSettings,
    predictions: Mapping[str, OutOfSample],
    timeframes: tuple[str, ...],
) -> dict[str, SymbolInput]:
    """Return the bars of the path by symbol, with the history that the evaluation had.

    Args:
        bundle: the model.
        store: market data.
        settings: settings of the backtest.
        predictions: stored predictions by symbol.
        timeframes: timeframes that the features need, the base timeframe first.

    Raises:
        BadInputError: a symbol was not evaluated, or the stored bars are not those that were.
    """
    manifest = bundle.manifest
    names = symbols_to_trade(manifest, settings.symbols)
    if unknown := [name for name in names if name not in predictions]:
        raise BadInputError(
            f"evaluation {_record(manifest).reference} has no predictions of {unknown[0]}, only of"
            f" {', '.join(predictions)}; give a start, so that {bundle.ref} itself predicts"
        )
    found = {}
    for name in names:
        bars = stored_inputs(store, name, timeframes, history_start(manifest), None)
        found[name] = _cut(manifest, bars, predictions[name].time)
    return found


def _cut(manifest: Manifest, bars: Mapping[str, Bars], time: np.ndarray) -> SymbolInput:
    """Return the bars from the first of the evaluation to the last of the path."""
    name, stored = next(iter(bars.items()))
    # A strategy without a start takes all bars, and earlier ones may have been imported since.
    base = stored.between(instant_of(manifest.data.start), time[-1] + np.timedelta64(1, "ns"))
    first = int(np.searchsorted(base.time, time[0]))
    record = _record(manifest)
    same = np.array_equal(base.time[first:], time) and path_digest(base, time) == record.bars[stored.symbol]
    if not same:
        raise BadInputError(
            f"the stored {name} bars of {stored.symbol} until {format_end(record.tested.end)} are not those of"
            f" evaluation {record.reference} ({len(time):,} bars are predicted, from {format_time(time[0])}); import"
            f" them again, or evaluate and train the strategy again, or give a start, so that {manifest.ref} itself"
            " predicts"
        )
    return SymbolInput({**bars, name: base}, first)


def path_evidence(
    pipeline: FeaturePipeline, symbol: SymbolInput, predictions: OutOfSample, cache: SymbolCache
) -> tuple[Evidence, VolumeLoss | None]:
    """Return features and stored predictions of one symbol, and what missing volume leaves without features.

    Columns that are normalized are NaN: each fold has normalizers of its own, which are not stored.

    Args:
        pipeline: pipeline of the strategy.
        symbol: bars of the path.
        predictions: stored predictions of the symbol.
        cache: cache of the symbol's indicator values.
    """
    values = pipeline.indicator_values(symbol.bars, cache)
    matrix = pipeline.assemble(symbol.bars, values)
    loss = pipeline.volume_loss(symbol.bars, matrix, slice(symbol.first, None))
    matrix.values[:, [position for position, _ in normalized_columns(matrix.columns)]] = np.nan
    return Evidence(symbol.bars, matrix, values, symbol.first, predictions.outputs), loss


def _record(manifest: Manifest) -> EvaluationRecord:
    assert manifest.evaluation is not None
    return manifest.evaluation
