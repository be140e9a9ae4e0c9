"""Preparation of a backtest, the part that does not depend on its rules: model, bars, period, predictions."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.data_warnings import data_warnings
from ktrdr.core.backtesting.deployment import symbols_to_trade
from ktrdr.core.backtesting.fills import block_extremes
from ktrdr.core.backtesting.period import BacktestPeriod, choose_period, history_start
from ktrdr.core.backtesting.prediction import predict
from ktrdr.core.backtesting.reasons import Evidence
from ktrdr.core.backtesting.signals import volume_ratio
from ktrdr.core.cache.array_cache import NO_CACHE, ArrayCache
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendar_choice import calendar_name
from ktrdr.core.data.calendars import bars_per_year
from ktrdr.core.data.loading import bars_digest
from ktrdr.core.data.times import format_end, format_time
from ktrdr.core.data.worlds import common_world
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.inputs import stored_inputs
from ktrdr.core.features.missing_volume import VolumeLoss
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.indicators.computation import compute_indicator
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.inference_choice import Used, choose_inference
from ktrdr.core.models.manifest import Manifest
from ktrdr.core.plugins.contract import Predictor
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.short_texts import first_words, object_repr
from ktrdr.core.work.steps import Steps

__all__ = ["ATR_PERIOD", "Prepared", "SymbolInput", "prepare_backtest", "read_inputs"]

ATR_PERIOD = 14
"""Bars of the ATR that distances in ``risk`` are multiples of."""


@dataclass(frozen=True, eq=False)
class SymbolInput:
    """Bars of one symbol up to the last traded bar, and values that all backtests of a sweep share.

    Attributes:
        bars: bars per timeframe, the base timeframe first; the base bars end with the last traded bar.
        first: position of the first traded base bar. Earlier bars are history.
    """

    bars: Mapping[str, Bars]
    first: int

    def __repr__(self) -> str:
        market, history = f"{self.base.symbol} {self.base.timeframe}", f"{self.first:,} of history"
        return object_repr(self, market, f"{len(self.base) - self.first:,} traded bars", history)

    @property
    def base(self) -> Bars:
        """Base bars, history included."""
        return next(iter(self.bars.values()))

    @property
    def traded(self) -> Bars:
        """Base bars that are traded."""
        return self.base[self.first :]

    @functools.cached_property
    def atr(self) -> np.ndarray:
        """ATR of the traded bars, float64 ``(n,)``, computed with the history before them."""
        return compute_indicator("atr", {"period": ATR_PERIOD}, self.base)["atr"][self.first :]

    @functools.cached_property
    def extremes(self) -> tuple[list[float], list[float]]:
        """See :func:`~ktrdr.core.backtesting.fills.block_extremes`."""
        return block_extremes(self.traded)

    @functools.cached_property
    def volume_ratio(self) -> np.ndarray:
        """Volume ratio of the traded bars, float64 ``(n,)``, computed with the history before them.

        See :func:`~ktrdr.core.backtesting.signals.volume_ratio`.
        """
        return volume_ratio(self.base.volume)[self.first :]

    @functools.cached_property
    def digest(self) -> bytes:
        """Digest of the traded bars, see :func:`~ktrdr.core.data.loading.bars_digest`."""
        return bars_digest(self.traded)

    @functools.cached_property
    def bars_per_year(self) -> float:
        """Bars in a year of this market."""
        base = self.base
        return bars_per_year(base.symbol, base.timeframe, base.time, calendar=self.calendar)

    @functools.cached_property
    def calendar(self) -> str:
        """Name of the market's calendar."""
        return calendar_name(self.base)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The part of a backtest that does not depend on ``decisions`` and ``risk``.

    Attributes:
        predictor: predictor of the model.
        inference: what predicted.
        inputs: bars per symbol.
        period: the traded period, and how it was chosen.
        evidence: features and the model's outputs, per symbol.
        warnings: sentences on the bars, see :func:`~ktrdr.core.backtesting.data_warnings.data_warnings`.
    """

    predictor: Predictor
    inference: Used
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
) -> Prepared:
    """Load model and bars, and predict.

    Arguments and errors are those of :func:`~ktrdr.core.backtesting.run.run_backtest`; ``steps`` reports the progress.
    """
    manifest = bundle.manifest
    names = symbols_to_trade(manifest, settings.symbols)
    pipeline = FeaturePipeline(manifest.strategy, crisp=manifest.crisp)
    inference = choose_inference(manifest, settings.inference, settings.device)
    # Bars are read before the model is loaded: missing bars are reported without importing an ML framework.
    inputs, period = steps.run(
        "bars",
        lambda: read_inputs(manifest, bar_store, names, pipeline.timeframes, pipeline.warmup, settings),
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
    warnings = data_warnings(
        manifest.strategy,
        [symbol.base for symbol in inputs],
        [symbol.first for symbol in inputs],
        pipeline.warmup,
        {name: loss for name, (_, loss) in predicted.items() if loss is not None},
    )
    return Prepared(
        predictor, inference, inputs, period, tuple(evidence for evidence, _ in predicted.values()), warnings
    )


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

    Raises:
        BadInputError: bars are missing or of different markets, or there are none in the period.
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
    period = choose_period(manifest, settings, {symbol: bars[timeframes[0]] for symbol, bars in read.items()})
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
