"""A backtest from a bundle to its result: bars, features, predictions, decisions, simulation, metrics."""

from __future__ import annotations

from ktrdr.core.backtesting.deployment import symbols_to_trade
from ktrdr.core.backtesting.inputs import SymbolInput, read_inputs
from ktrdr.core.backtesting.prediction import predict
from ktrdr.core.backtesting.reasons import Evidence
from ktrdr.core.backtesting.results import BacktestResult
from ktrdr.core.backtesting.settings import BacktestSettings
from ktrdr.core.backtesting.summary import summarize
from ktrdr.core.backtesting.trading import trade
from ktrdr.core.data.store import BarStore
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.operations.cancellation import Cancellation
from ktrdr.core.operations.progress import NO_PROGRESS, Progress
from ktrdr.core.plugins.contract import Predictor
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.training.steps import Steps

__all__ = ["run_backtest"]


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
    evidence = list(
        steps.each("prediction", names, lambda name: _predict(bundle, pipeline, predictor, by_name[name])).values()
    )
    account = steps.run(
        "simulation",
        lambda: trade(manifest.strategy, inputs, [each.outputs for each in evidence], settings, cancellation),
        lambda done: f"{len(done.simulation.trades):,} trades",
    )
    return steps.run("metrics", lambda: summarize(bundle, settings, period, inputs, evidence, account, predictor))


def _predict(bundle: Bundle, pipeline: FeaturePipeline, predictor: Predictor, symbol: SymbolInput) -> Evidence:
    values = pipeline.indicator_values(symbol.bars)
    matrix = pipeline.normalize(pipeline.assemble(symbol.bars, values))
    outputs, _ = predict(predictor, matrix, symbol.first, bundle.ref)
    return Evidence(symbol.bars, matrix, values, symbol.first, outputs)
