"""Facts of an evaluation, put together from its parts."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from ktrdr.core import __version__
from ktrdr.core.backtesting.backtest_look import account_terms
from ktrdr.core.backtesting.data_warnings import data_warnings
from ktrdr.core.backtesting.metrics import METRICS
from ktrdr.core.data.worlds import common_world
from ktrdr.core.strategy.used_code import unread_code_warnings
from ktrdr.core.training.provenance import describe_environment, git_state
from ktrdr.core.validation.evaluation_parts import Curves, OutOfSample
from ktrdr.core.validation.evaluation_result import (
    Checkout,
    EvaluationFacts,
    FoldResult,
    Machine,
    PathResult,
    Provenance,
    ReserveResult,
    Spread,
)
from ktrdr.core.validation.evaluation_warnings import account_warnings, fold_warnings, seed_warnings
from ktrdr.core.validation.judgement import Judgement, PathMetrics, part_times
from ktrdr.core.validation.path_accounts import TradedPaths
from ktrdr.core.validation.spread import spread_over

__all__ = ["curves_of", "evaluation_facts", "out_of_sample", "provenance_of"]


def evaluation_facts(
    judgement: Judgement,
    folds: Sequence[FoldResult],
    accounts: TradedPaths,
    found: PathMetrics,
    reserve: ReserveResult | None,
    *,
    data_fingerprint: str,
    distribution: str,
) -> EvaluationFacts:
    """Return the facts, without the count of trials and the seconds.

    Args:
        judgement: bars, folds and models.
        folds: results by fold.
        accounts: of all paths and seeds.
        found: metrics over all folds.
        reserve: the reserve; ``None`` without one.
        data_fingerprint: fingerprint of the bars before the reserve.
        distribution: distribution of the backend.
    """
    setup, data, trained, plan = judgement.setup, judgement.data, judgement.trained, judgement.setup.plan
    strategy, plugin = setup.strategy, setup.plugin
    median = accounts.results[accounts.median]
    epochs = [
        training.best_epoch
        for (fold, _), trainings in trained.models.items()
        if fold < len(judgement.folds)
        for training in trainings
    ]
    output = setup.task.output
    spent = int((accounts.equity <= 0).any(axis=1).sum())
    warnings = (
        *data_warnings(strategy, list(data.base.values()), [0] * len(data.base), data.pipeline.warmup, data.losses),
        *unread_code_warnings(strategy),
        *trained.failures,
        *seed_warnings(setup.model_type.name, folds),
        *fold_warnings(folds, len(setup.task.feature_ids), output, found.metrics, found.baselines),
        *account_warnings(median, accounts.buy_and_hold, spent, len(accounts.results)),
    )
    return EvaluationFacts(
        strategy=strategy.name,
        model=strategy.model.words,
        plugin=f"{plugin.name} {plugin.version}",
        device=setup.device.name,
        output=output,
        validation=setup.validation,
        default_validation=strategy.validation is None,
        look_ahead=plan.look_ahead,
        embargo=plan.embargo,
        symbols=tuple(data.base),
        timeframe=strategy.training_data.base_timeframe,
        world=common_world(data.base.values()),
        period=part_times(plan.time, (0, len(plan.time)), setup.bar),
        tested=part_times(plan.time, setup.tested, setup.bar),
        bars={symbol: len(bars) for symbol, bars in data.base.items()},
        data_fingerprint=data_fingerprint,
        seeds=trained.seeds,
        account=account_terms(accounts.traded.settings),
        folds=tuple(folds),
        metrics=found.metrics,
        baselines=found.baselines,
        paths=accounts.results,
        spread=_spread(accounts.results),
        median_path=(median.path, median.seed),
        buy_and_hold=dict(accounts.buy_and_hold),
        majority=None if accounts.majority is None else dict(accounts.majority),
        regimes=found.regimes,
        best_epoch=int(statistics.median(epochs)),
        reserve=reserve,
        warnings=warnings,
        provenance=provenance_of(distribution, plugin.requires),
    )


def curves_of(judgement: Judgement, accounts: TradedPaths) -> Curves:
    """Return the equity of all accounts, and the closes of the first symbol."""
    base = next(iter(judgement.data.base.values()))
    row = np.searchsorted(base.time, accounts.time, side="right") - 1
    # Before its first bar a symbol has the open of that bar.
    close = np.where(row < 0, base.open[0], base.close[np.maximum(row, 0)])
    return Curves(accounts.time, accounts.equity, accounts.held, close)


def out_of_sample(judgement: Judgement, accounts: TradedPaths) -> dict[str, OutOfSample]:
    """Return the predictions of the median path, by symbol."""
    median = accounts.results[accounts.median]
    outputs = judgement.path_outputs(median.path - 1, judgement.trained.seeds.index(median.seed))
    return {own.base.symbol: OutOfSample(own.traded.time, outputs[own.base.symbol]) for own in accounts.traded.inputs}


def _spread(accounts: Sequence[PathResult]) -> dict[str, Spread]:
    """Return the distribution of each metric of the catalogue that any account has."""
    found = {}
    for info in METRICS:
        # The trials are counted for the evaluation, not for its accounts.
        if info.name in ("trials", "deflated_sharpe"):
            continue
        spread = spread_over(own.metrics.get(info.name) for own in accounts)
        if spread is not None:
            found[info.name] = spread
    return found


def provenance_of(distribution: str, requires: Sequence[str]) -> Provenance:
    """Return version of core, machine and Git checkout.

    Args:
        distribution: that of the backend.
        requires: distributions that the backend names.
    """
    git, machine = git_state(), describe_environment((distribution, *requires))
    return Provenance(
        core_version=__version__,
        environment=Machine(python=machine.python, platform=machine.platform, packages=dict(machine.packages)),
        git=None if git is None else Checkout(commit=git.commit, dirty=git.dirty),
    )
