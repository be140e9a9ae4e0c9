"""Results from accounts: tables, metrics, baselines and warnings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ktrdr.core import __version__
from ktrdr.core.backtesting.account import Account, trade_constant
from ktrdr.core.backtesting.benchmark import buy_and_hold, majority_class
from ktrdr.core.backtesting.fills import SIGNAL
from ktrdr.core.backtesting.metrics import AccountCurve, account_metrics, trade_metrics
from ktrdr.core.backtesting.no_trades import why_no_trades
from ktrdr.core.backtesting.period import overlap_warnings
from ktrdr.core.backtesting.prepare import Prepared
from ktrdr.core.backtesting.reasons import reasons_of, value_histograms
from ktrdr.core.backtesting.result_warnings import result_warnings
from ktrdr.core.backtesting.results import BacktestResult, Baseline, SymbolResult
from ktrdr.core.backtesting.simulation import Costs
from ktrdr.core.backtesting.symbol_input import SymbolInput
from ktrdr.core.backtesting.tables import Table
from ktrdr.core.backtesting.trades import trade_table
from ktrdr.core.data.loading import fingerprint
from ktrdr.core.data.times import format_time
from ktrdr.core.data.worlds import common_world
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.inference_choice import Predicted
from ktrdr.core.models.manifest import Manifest
from ktrdr.core.models.model_warnings import baseline_warnings

__all__ = ["account_curve", "summarize", "trading_metrics"]


def summarize(bundle: Bundle, settings: BacktestSettings, prepared: Prepared, account: Account) -> BacktestResult:
    """Return the result of a backtest.

    Args:
        bundle: the model.
        settings: settings of the backtest.
        prepared: bars, features and predictions.
        account: the account that traded them; its markets are in the order of the ``prepared`` inputs.
    """
    manifest, simulation = bundle.manifest, account.simulation
    inputs, evidence = prepared.inputs, prepared.evidence
    strategy = manifest.strategy
    traded = [symbol.traded for symbol in inputs]
    costs = Costs(settings.commission, settings.slippage)
    table = trade_table(simulation.trades, traded)
    curve = account_curve(account, settings)
    hold_equity = buy_and_hold(traded, simulation.time, settings.capital, costs)
    buy_and_hold_curve = dataclasses.replace(curve, equity=hold_equity)
    drawdown, buy_and_hold_returns = curve.drawdown, buy_and_hold_curve.returns
    symbols = tuple(_symbol(number, own, account) for number, own in enumerate(inputs))
    metrics = account_metrics(
        curve, benchmark=buy_and_hold_returns, seed=settings.seed, drawdown=drawdown
    ) | trading_metrics(table, curve, account)
    benchmark = account_metrics(buy_and_hold_curve, seed=settings.seed, returns=buy_and_hold_returns)
    baselines = _baselines(manifest, inputs, account, settings)
    rivals = {"buy and hold": benchmark} | {f"the {each.name}": each.metrics for each in baselines}
    return BacktestResult(
        manifest=manifest,
        strategy_text=bundle.strategy_text,
        history=bundle.history(),
        settings=settings,
        timeframe=strategy.training_data.base_timeframe,
        start=min(bars.time[0] for bars in traded),
        end=max(bars.end for bars in traded),
        period=prepared.period.statement,
        symbols=symbols,
        world=common_world(traded),
        trades=table,
        reasons=reasons_of(simulation.trades, evidence, manifest, prepared.predictor, settings.explain),
        equity={
            "time": simulation.time,
            "equity": simulation.equity,
            "cash": simulation.cash,
            "positions": simulation.equity - simulation.cash,
            "drawdown": drawdown,
            "benchmark": buy_and_hold_curve.equity,
        },
        metrics=metrics,
        benchmark=benchmark,
        baselines=baselines,
        orders=dataclasses.asdict(simulation.counts),
        histograms=value_histograms(strategy, evidence),
        warnings=(
            *_warnings(manifest, prepared, symbols, account),
            *baseline_warnings(manifest.output, manifest.metrics, manifest.baselines),
            *result_warnings(metrics, rivals),
        ),
        no_trades=""
        if len(simulation.trades)
        else why_no_trades(strategy.decisions, symbols, prepared.outputs, simulation.counts),
        provenance=_provenance(manifest, inputs, prepared.inference),
    )


def account_curve(account: Account, settings: BacktestSettings) -> AccountCurve:
    """Return the equity of an account over time."""
    simulation = account.simulation
    bar = np.timedelta64(account.markets[0].bars.timeframe.nanoseconds, "ns")
    return AccountCurve(simulation.time, simulation.equity, settings.capital, account.periods_per_year, bar)


def trading_metrics(table: Table, curve: AccountCurve, account: Account) -> dict[str, Any]:
    """Return the metrics of trades, turnover and exposure.

    Args:
        table: table of the account's trades.
        curve: equity of the account.
        account: the account.
    """
    metrics = trade_metrics(table)
    years = len(curve.equity) / curve.periods_per_year
    mean = float(curve.equity.mean())
    metrics["turnover"] = metrics["traded_value"] / mean / years if mean > 0 else None
    metrics["exposure"] = _exposure(account)
    return metrics


def _exposure(account: Account) -> float:
    """Return the share of the bars at whose close a position was open."""
    simulation = account.simulation
    invested = np.zeros(len(simulation.time), dtype=np.bool_)
    for units, market in zip(simulation.units, account.markets, strict=True):
        if len(units) == len(invested):
            invested |= units != 0
        else:
            row = np.searchsorted(market.bars.time, simulation.time, side="right") - 1
            invested |= (units[row] != 0) & (row >= 0)
    return np.count_nonzero(invested) / len(invested)


def _symbol(number: int, own: SymbolInput, account: Account) -> SymbolResult:
    bars = own.traded
    simulation, trades = account.simulation, account.simulation.trades
    mine = trades.market == number
    executed = int(np.count_nonzero(mine) + np.count_nonzero(mine & (trades.reason == SIGNAL)))
    units = simulation.units[number]
    return SymbolResult(
        symbol=bars.symbol,
        bars=len(bars),
        start=bars.time[0],
        end=bars.end,
        passed={**account.signals[number].passed, "executed": executed + len(simulation.refreshed[number])},
        positions={
            "time": bars.time,
            "open": bars.open,
            "high": bars.high,
            "low": bars.low,
            "close": bars.close,
            "signal": account.signals[number].direction,
            "units": units,
            "value": units * bars.close,
        },
        calendar=own.calendar,
    )


def _baselines(
    manifest: Manifest, inputs: Sequence[SymbolInput], account: Account, settings: BacktestSettings
) -> tuple[Baseline, ...]:
    majority = majority_class(manifest)
    if majority is None:
        return ()
    output = (np.array(manifest.classes) == majority).astype(np.float64)
    traded = trade_constant(manifest.strategy, account, inputs, output, settings)
    curve = account_curve(traded, settings)
    table = trade_table(traded.simulation.trades, [market.bars for market in traded.markets])
    statement = (
        f"always predicts {majority}, the most frequent class of the training data, with the same rules and costs"
    )
    if not len(traded.simulation.trades):
        statement += ", so it never trades"
    metrics = account_metrics(curve, seed=settings.seed) | trading_metrics(table, curve, traded)
    return (Baseline("majority class", statement, metrics),)


def _warnings(
    manifest: Manifest, prepared: Prepared, symbols: Sequence[SymbolResult], account: Account
) -> tuple[str, ...]:
    traded = {symbol.base.symbol: symbol.traded for symbol in prepared.inputs}
    # No bar of the stitched path was seen by the models that predict it.
    seen = () if prepared.inference == "out_of_sample" else overlap_warnings(manifest, traded)
    warnings = [*seen, *prepared.warnings]
    for symbol, result in zip(prepared.inputs, symbols, strict=True):
        missing = result.bars - result.passed["predicted"]
        if missing:
            warnings.append(
                f"{missing:,} of the {result.bars:,} bars of {result.symbol} lack features, so the model makes no"
                f" decision there; {symbol.first:,} bars of history come before the first traded bar"
            )
    simulation = account.simulation
    if (spent := simulation.equity <= 0).any():
        when = format_time(simulation.time[int(spent.argmax())])
        warnings.append(f"the equity fell to 0 or below on {when}: the losses exceeded the capital")
    return tuple(warnings)


def _provenance(manifest: Manifest, inputs: Sequence[SymbolInput], inference: Predicted) -> dict[str, Any]:
    record = manifest.evaluation if inference == "out_of_sample" else None
    path = {} if record is None else {"evaluation": record.reference, "path": record.median[0]}
    return {
        "core_version": __version__,
        "numpy_version": np.__version__,
        "data_fingerprint": fingerprint(symbol.digest for symbol in inputs),
        "weights_hash": manifest.weights_hash,
        "plugin": manifest.plugin.name,
        "plugin_version": manifest.plugin.version,
        "training_data_fingerprint": manifest.data.fingerprint,
        "training_git": None if manifest.git is None else manifest.git.model_dump(),
        "seed": manifest.seed if record is None else record.median[1],
        "inference": inference,
        **path,
    }
