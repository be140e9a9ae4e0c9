"""Warnings about an evaluation: too few samples or trades, equal seeds, results below those without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ktrdr.core.backtesting.metrics import format_metric, worse_than
from ktrdr.core.backtesting.result_warnings import result_warnings
from ktrdr.core.models.manifest import MemberRecord
from ktrdr.core.models.model_warnings import baseline_warnings, equal_members_warnings, too_little_warnings
from ktrdr.core.validation.evaluation_result import FoldResult, Interval, PathResult

__all__ = ["account_warnings", "fold_warnings", "seed_warnings"]


def fold_warnings(
    folds: Sequence[FoldResult],
    inputs: int,
    output: str,
    metrics: Mapping[str, Interval],
    baselines: Mapping[str, Mapping[str, Any]],
) -> tuple[str, ...]:
    """Return warnings about the samples of the folds, and about predictions that are worse than baselines.

    Args:
        folds: results by fold.
        inputs: number of feature columns.
        output: kind of the predictions.
        metrics: metrics over all folds.
        baselines: those of the baselines.
    """
    fewest = {part: min(fold.samples[part] for fold in folds) for part in ("train", "test")}
    warnings = [
        f"in the fold with the fewest, {sentence}"
        for sentence in too_little_warnings(fewest, inputs=inputs, best_epoch=0, epochs=0)
    ]
    own = {"test": {name: interval.value for name, interval in metrics.items()}}
    rivals = {name: {"test": each} for name, each in baselines.items()}
    return (*warnings, *baseline_warnings(output, own, rivals))


def seed_warnings(model_type: str, folds: Sequence[FoldResult]) -> tuple[str, ...]:
    """Return a warning if all seeds have the same metrics in every fold."""
    records = [
        MemberRecord(
            seed=own.seed,
            best_epoch=own.best_epoch,
            metrics={f"fold {fold.fold}": fold.seeds[place].metrics for fold in folds},
        )
        for place, own in enumerate(folds[0].seeds)
    ]
    return equal_members_warnings(model_type, records)


def account_warnings(median: PathResult, hold: Mapping[str, Any], spent: int, accounts: int) -> tuple[str, ...]:
    """Return warnings about the accounts.

    Args:
        median: the account with the median of the Sharpe ratios.
        hold: metrics of buy and hold.
        spent: number of accounts whose equity fell to 0 or below.
        accounts: number of all accounts.
    """
    warnings = []
    if spent:
        warnings.append(
            f"the equity of {spent:,} of {accounts:,} accounts fell to 0 or below: the losses exceeded the capital"
        )
    if not median.metrics["trades"]:
        warnings.append(
            "the median account never trades, so its result says nothing; relax `decisions`: the confidence threshold"
            " of a classification, the cost model of a regression, or the filters"
        )
    own, other = median.metrics["sharpe"], hold["sharpe"]
    if worse_than("sharpe", own, other):
        warnings.append(
            f"the median account is below buy and hold: its Sharpe ratio is {format_metric('sharpe', own)}, that of buy"
            f" and hold {format_metric('sharpe', other)}"
        )
    return (*warnings, *(f"of the median account, {sentence}" for sentence in result_warnings(median.metrics, {})))
