"""Preparation of a backtest, the part that does not depend on its rules: model, bars, period, predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.data_warnings import data_warnings
from ktrdr.core.backtesting.deployment import symbols_to_trade
from ktrdr.core.backtesting.period import BacktestPeriod, choose_period, history_start
from ktrdr.core.backtesting.prediction import predict
from ktrdr.core.backtesting.reasons import Evidence
from ktrdr.core.backtesting.stored_path import path_evidence, path_inputs, path_period
from ktrdr.core.backtesting.symbol_input import SymbolInput
from ktrdr.core.cache.array_cache import NO_CACHE, ArrayCache
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_end, format_time
from ktrdr.core.data.worlds import common_world
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.inputs import stored_inputs
from ktrdr.core.features.missing_volume import VolumeLoss
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.inference_choice import Predicted, choose_inference, trades_out_of_sample
from ktrdr.core.models.manifest import Manifest
from ktrdr.core.plugins.contract import Predictor
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.short_texts import first_words, object_repr
from ktrdr.core.work.steps import Steps

__all__ = ["Prepared", "prepare_backtest", "read_inputs"]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The part of a backtest that does not depend on ``decisions`` and ``risk``.

    Attributes:
        predictor: predictor of the model; ``None`` if its evaluation has predicted.
        inference: what predicted.
        inputs: bars per symbol.
        period: the traded period, and how it was chosen.
        evidence: features and the model's outputs, per symbol.
        warnings: sentences on the bars, see :func:`~ktrdr.core.backtesting.data_warnings.data_warnings`.
    """

    predictor: Predictor | None
    inference: Predicted
    inputs: tuple[SymbolInput, ...]
    period: BacktestPeriod
    evidence: tuple[Evidence, ...]
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        bars = sum(len(symbol.base) - symbol.first for symbol in self.inputs)
        symbols = first_words([symbol.base.symbol for symbol in self.inputs], 2)
        return object_repr(self, symbols, f"{bars:,} traded bars", self.period.statement)

    @property
    def outputs(self) -> list[np.ndarray]:
        """The model's outputs for the traded bars, per symbol."""
        return [each.outputs for each in self.evidence]


def prepare_backtest(
    bundle: Bundle,
    *,
    bar_store: BarStore,
    plugins: PluginManager,
    settings: BacktestSettings,
    steps: Steps,
    cache: ArrayCache = NO_CACHE,
    sweep: bool = False,
) -> Prepared:
    """Load model and bars, and predict; of a model of an evaluation without days, take what the evaluation predicted.

    Arguments and errors are those of :func:`~ktrdr.core.backtesting.run.run_backtest`; ``steps`` reports the progress,
    and ``sweep`` is whether a sweep is prepared.
    """
    manifest = bundle.manifest
    pipeline = FeaturePipeline(manifest.strategy, crisp=manifest.crisp)
    if trades_out_of_sample(manifest, settings):
        return _stored(bundle, pipeline, bar_store, settings, steps, cache)
    names = symbols_to_trade(manifest, settings.symbols)
    inference = choose_inference(manifest, settings.inference, settings.device)
    # Bars are read before the model is loaded: missing bars are reported without importing an ML framework.
    inputs, period = steps.run(
        "bars",
        lambda: read_inputs(manifest, bar_store, names, pipeline.timeframes, pipeline.warmup, settings, sweep=sweep),
        lambda read: f"{sum(len(symbol.traded) for symbol in read[0]):,} bars",
    )
    predictor = steps.run(
        "model", lambda: bundle.load_predictor(plugins, settings.device, inference), lambda _: bundle.ref
    )
    pipeline = pipeline.with_normalizers(bundle.normalizers())
    by_name = dict(zip(names, inputs, strict=True))
    caches = {name: SymbolCache(cache, symbol.bars) for name, symbol in by_name.items()}
    predicted = steps.each(
        "prediction", names, lambda name: _predict(bundle, pipeline, predictor, by_name[name], caches[name])
    )
    return _prepared(predictor, inference, by_name, period, predicted, pipeline, manifest)


def _stored(
    bundle: Bundle,
    pipeline: FeaturePipeline,
    bar_store: BarStore,
    settings: BacktestSettings,
    steps: Steps,
    cache: ArrayCache,
) -> Prepared:
    """Return the bars and the stored predictions of the evaluation that the model was trained from."""
    predictions = steps.run("model", bundle.out_of_sample, lambda _: bundle.ref)
    inputs = steps.run(
        "bars",
        lambda: path_inputs(bundle, bar_store, settings, predictions, pipeline.timeframes),
        lambda read: f"{sum(len(symbol.traded) for symbol in read.values()):,} bars",
    )

    def take(name: str) -> tuple[Evidence, VolumeLoss | None]:
        symbol = inputs[name]
        return path_evidence(pipeline, symbol, predictions[name], SymbolCache(cache, symbol.bars))

    taken = steps.each("prediction", tuple(inputs), take)
    period = path_period(bundle, {name: predictions[name] for name in inputs})
    return _prepared(None, "out_of_sample", inputs, period, taken, pipeline, bundle.manifest)


def _prepared(
    predictor: Predictor | None,
    inference: Predicted,
    inputs: Mapping[str, SymbolInput],
    period: BacktestPeriod,
    predicted: Mapping[str, tuple[Evidence, VolumeLoss | None]],
    pipeline: FeaturePipeline,
    manifest: Manifest,
) -> Prepared:
    warnings = data_warnings(
        manifest.strategy,
        [symbol.base for symbol in inputs.values()],
        [symbol.first for symbol in inputs.values()],
        pipeline.warmup,
        {name: loss for name, (_, loss) in predicted.items() if loss is not None},
    )
    evidence = tuple(evidence for evidence, _ in predicted.values())
    return Prepared(predictor, inference, tuple(inputs.values()), period, evidence, warnings)


def _predict(
    bundle: Bundle, pipeline: FeaturePipeline, predictor: Predictor, symbol: SymbolInput, cache: SymbolCache
) -> tuple[Evidence, VolumeLoss | None]:
    values = pipeline.indicator_values(symbol.bars, cache)
    matrix = pipeline.normalize(pipeline.assemble(symbol.bars, values))
    loss = pipeline.volume_loss(symbol.bars, matrix, slice(symbol.first, None))
    lacking = "" if loss is None else f"{loss.reason}; import bars that have a volume"
    outputs, _ = predict(predictor, matrix, symbol.first, bundle.ref, lacking=lacking)
    return Evidence(symbol.bars, matrix, values, symbol.first, outputs), loss


def read_inputs(
    manifest: Manifest,
    store: BarStore,
    symbols: Sequence[str],
    timeframes: Sequence[str],
    warmup: int,
    settings: BacktestSettings,
    *,
    sweep: bool = False,
) -> tuple[tuple[SymbolInput, ...], BacktestPeriod]:
    """Return the bars of each symbol and the traded period.

    Bars are read from the start of the training data, so that features are the same as if the training data continued.
    If that leaves fewer than ``warmup`` bars before the requested start, all stored bars are read.

    Args:
        manifest: manifest of the model.
        store: market data.
        symbols: symbols to trade.
        timeframes: timeframes that the features need, the base timeframe first.
        warmup: base bars before the first complete row of features.
        settings: settings of the backtest.
        sweep: whether a sweep is prepared.

    Raises:
        BadInputError: bars are missing or of different markets, or there are none in the period, or they are in the
            reserve.
    """
    start = history_start(manifest)
    end = None if settings.end is None else np.datetime64(settings.end, "ns") + np.timedelta64(1, "D")
    asked = None if settings.start is None else np.datetime64(settings.start, "ns")
    read: dict[str, Mapping[str, Bars]] = {}
    for symbol in symbols:
        bars = stored_inputs(store, symbol, timeframes, start, end)
        base = bars[timeframes[0]]
        if start is not None and asked is not None and int(np.searchsorted(base.time, asked)) < warmup:
            bars = stored_inputs(store, symbol, timeframes, None, end)
        read[symbol] = bars
    common_world(part for bars in read.values() for part in bars.values())
    all_base = {symbol: bars[timeframes[0]] for symbol, bars in read.items()}
    period = choose_period(manifest, settings, all_base, sweep=sweep)
    return tuple(_cut(store, bars, period) for bars in read.values()), period


def _cut(store: BarStore, bars: Mapping[str, Bars], period: BacktestPeriod) -> SymbolInput:
    name, base = next(iter(bars.items()))
    first = 0 if period.start is None else int(np.searchsorted(base.time, period.start))
    end = len(base) if period.end is None else int(np.searchsorted(base.time, period.end))
    if first >= end:
        known = ", ".join(
            f"{info.timeframe} {format_time(info.start)} to {format_end(info.end)}"
            for info in store.datasets()
            if info.symbol == base.symbol
        )
        raise BadInputError(
            f"there are no {name} bars of {base.symbol} to trade ({period.statement}); stored are {known}"
        )
    return SymbolInput({**bars, name: base[:end]}, first)
