"""A backtest from a bundle to its result: bars, features, predictions, decisions, simulation, metrics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.account import trade
from ktrdr.core.backtesting.deployment import symbols_to_trade
from ktrdr.core.backtesting.period import BacktestPeriod
from ktrdr.core.backtesting.prediction import predict
from ktrdr.core.backtesting.prepare import SymbolInput, read_inputs
from ktrdr.core.backtesting.reasons import Evidence
from ktrdr.core.backtesting.results import BacktestResult
from ktrdr.core.backtesting.summary import summarize
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.jobs.settings import BacktestSettings
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.plugins.contract import Predictor
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress
from ktrdr.core.work.steps import Steps

__all__ = ["Prepared", "prepare_backtest", "run_backtest"]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """All of a backtest that does not depend on ``decisions`` and ``risk``.

    Attributes:
        predictor: of the model.
        inputs: bars per symbol.
        period: which of them are traded, and why.
        evidence: features and the model's outputs, per symbol.
    """

    predictor: Predictor
    inputs: tuple[SymbolInput, ...]
    period: BacktestPeriod
    evidence: tuple[Evidence, ...]

    @property
    def outputs(self) -> list[np.ndarray]:
        """The model's outputs for the traded bars, per symbol."""
        return [each.outputs for each in self.evidence]


def run_backtest(
    bundle: Bundle,
    *,
    bar_store: BarStore,
    plugins: PluginManager,
    settings: BacktestSettings,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> BacktestResult:
    """Trade a model on stored bars. Writes nothing: that is :meth:`~.results.BacktestResult.write`.

    Args:
        bundle: the model; verified, and checked against the installed plugin, before anything else.
        bar_store: market data.
        plugins: the installed backends.
        settings: what is asked for.
        progress, cancellation: of the run.

    Raises:
        BadInputError: the model or its plugin does not fit, a symbol or timeframe is outside the strategy's deployment,
            there are no bars, too few for the warm-up, or none the model has not seen.
        PredictionError: the model fails, or predicts NaN.
        CancelledError: on request.
    """
    cancellation = cancellation if cancellation is not None else Cancellation()
    steps = Steps(progress, cancellation)
    prepared = prepare_backtest(bundle, bar_store=bar_store, plugins=plugins, settings=settings, steps=steps)
    inputs = prepared.inputs
    account = steps.run(
        "simulation",
        lambda: trade(bundle.manifest.strategy, inputs, prepared.outputs, settings, cancellation),
        lambda done: f"{len(done.simulation.trades):,} trades",
    )
    return steps.run(
        "metrics",
        lambda: summarize(bundle, settings, prepared.period, inputs, prepared.evidence, account, prepared.predictor),
    )


def prepare_backtest(
    bundle: Bundle, *, bar_store: BarStore, plugins: PluginManager, settings: BacktestSettings, steps: Steps
) -> Prepared:
    """Load model and bars, and predict; arguments and errors as of :func:`run_backtest`."""
    manifest = bundle.manifest
    names = symbols_to_trade(manifest, settings.symbols)
    predictor = steps.run("model", lambda: bundle.load_predictor(plugins, settings.device), lambda _: bundle.ref)
    pipeline = FeaturePipeline(manifest.strategy, crisp=manifest.crisp).with_normalizers(bundle.normalizers())
    inputs, period = steps.run(
        "bars",
        lambda: read_inputs(manifest, bar_store, names, pipeline.timeframes, pipeline.warmup, settings),
        lambda read: f"{sum(len(symbol.traded) for symbol in read[0]):,} bars",
    )
    by_name = dict(zip(names, inputs, strict=True))
    evidence = steps.each("prediction", names, lambda name: _predict(bundle, pipeline, predictor, by_name[name]))
    return Prepared(predictor, inputs, period, tuple(evidence.values()))


def _predict(bundle: Bundle, pipeline: FeaturePipeline, predictor: Predictor, symbol: SymbolInput) -> Evidence:
    values = pipeline.indicator_values(symbol.bars)
    matrix = pipeline.normalize(pipeline.assemble(symbol.bars, values))
    outputs, _ = predict(predictor, matrix, symbol.first, bundle.ref)
    return Evidence(symbol.bars, matrix, values, symbol.first, outputs)
