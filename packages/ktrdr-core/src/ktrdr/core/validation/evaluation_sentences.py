"""What an evaluation shows, in words: the same sentences in the terminal, in the report and in Python."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.backtesting.metrics import format_metric
from ktrdr.core.data.times import format_end, format_time
from ktrdr.core.short_texts import counted
from ktrdr.core.strategy.model import CpcvValidation, HoldoutValidation, ValidationSection
from ktrdr.core.validation.evaluation_result import EvaluationFacts, Interval, PartTimes, PathResult

__all__ = [
    "HEADLINES",
    "SCORES",
    "account_sentence",
    "accounts_in_words",
    "format_score",
    "interval_in_words",
    "is_below",
    "market_in_words",
    "median_account",
    "period_in_words",
    "prediction_sentence",
    "reserve_sentence",
    "validation_in_words",
]

SCORES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "mcc": "MCC",
    "log_loss": "log loss",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "directional_accuracy": "directional accuracy",
    "information_coefficient": "information coefficient",
}
"""Names of the metrics of predictions, in the order in which they are shown."""

HEADLINES = {
    "classification": ("accuracy", "mcc", "log_loss"),
    "regression": ("information_coefficient", "directional_accuracy", "rmse"),
}
"""The metrics that every evaluation has of each fold and of all folds, by kind of its predictions."""

_PERCENT = ("accuracy", "balanced_accuracy", "directional_accuracy")
_SMALL = 0.01


def format_score(name: str, value: float | None) -> str:
    """Return a metric of predictions as text, ``-`` for an unknown one.

    Args:
        name: name of the metric.
        value: the metric.
    """
    if value is None:
        return "-"
    if name in _PERCENT:
        return f"{value:.1%}"
    return f"{value:.3f}" if value == 0 or abs(value) >= _SMALL or name not in ("rmse", "mae") else f"{value:.3g}"


def interval_in_words(name: str, interval: Interval) -> str:
    """Return the bounds of a metric, such as ``36.1% to 41.0%``; empty if they are not known.

    Args:
        name: name of the metric.
        interval: the metric.
    """
    if interval.low is None or interval.high is None:
        return ""
    return f"{format_score(name, interval.low)} to {format_score(name, interval.high)}"


def median_account(facts: EvaluationFacts) -> PathResult:
    """Return the account with the median of the Sharpe ratios."""
    return next(account for account in facts.paths if (account.path, account.seed) == facts.median_path)


def prediction_sentence(facts: EvaluationFacts) -> str:
    """Return whether the predictions say anything about the labels, and what they look like beside a baseline.

    This is judged by two metrics with their intervals. A correlation (MCC of a classification, the information
    coefficient of a regression) has to be above the 0 of a constant prediction, however uneven the classes are. A loss
    (log loss, RMSE) has to be below that of the constant: classes that are often right with probabilities that are
    often wrong are worth no more than it.
    """
    if facts.output == "classification":
        name, loss, constant, rival = "mcc", "log_loss", "the majority class", "majority"
    else:
        name, loss, constant, rival = "information_coefficient", "rmse", "a constant", "mean"
    interval, losses, others = facts.metrics[name], facts.metrics[loss], facts.baselines.get(rival, {})
    value = _with_bounds(name, interval, "90% interval ", f"; {constant} has 0")
    beside = [_with_bounds(loss, losses) + _beside(loss, others)]
    if facts.output == "classification":
        beside.append(
            _with_bounds("accuracy", Interval(value=facts.metrics["accuracy"].value)) + _beside("accuracy", others)
        )
    if interval.low is None or interval.high is None:
        verdict = "The samples are too few to tell the predictions from chance"
    elif interval.high < 0:
        verdict = "The predictions are worse than chance"
    elif interval.low <= 0:
        verdict = "The predictions cannot be told from chance"
    elif is_below(losses, others.get(loss)):
        verdict = f"The predictions are better than {constant}"
    else:
        verdict = f"The predictions are not shown to be better than {constant}, although {SCORES[name]} is above 0"
    return f"{verdict}: {', '.join([value, *beside])}."


def is_below(interval: Interval, other: float | None) -> bool:
    """Return True if a metric and the upper bound of its interval are below the ``other`` value.

    Args:
        interval: the metric.
        other: the value of a baseline; False if it is not known.
    """
    return interval.high is not None and other is not None and interval.high < other


def account_sentence(facts: EvaluationFacts) -> str:
    """Return the Sharpe ratio of the median account with its spread, beside buy and hold."""
    hold = format_metric("sharpe", facts.buy_and_hold.get("sharpe"))
    spread = facts.spread.get("sharpe")
    if spread is None:
        return f"No account has a Sharpe ratio, because none of {accounts_in_words(facts)} trades; buy and hold {hold}."
    own = format_metric("sharpe", median_account(facts).metrics.get("sharpe"))
    if spread.number == 1:
        return f"Out of sample the account has a Sharpe ratio of {own}; buy and hold has {hold}."
    low, high = (format_metric("sharpe", value) for value in (spread.min, spread.max))
    return (
        f"Out of sample the median account has a Sharpe ratio of {own} ({accounts_in_words(facts)}: {low} to {high});"
        f" buy and hold has {hold}."
    )


def accounts_in_words(facts: EvaluationFacts) -> str:
    """Return the number of accounts, such as ``5 paths with 3 seeds each``."""
    paths = len({account.path for account in facts.paths})
    return f"{counted(paths, 'path')} with {counted(len(facts.seeds), 'seed')}{' each' if paths > 1 else ''}"


def validation_in_words(validation: ValidationSection) -> str:
    """Return the kind of the folds with its settings.

    Args:
        validation: the section of the strategy.
    """
    if isinstance(validation, CpcvValidation):
        groups = f"{validation.groups} groups, {validation.test_groups} of them tested"
        return f"combinatorial purged cross-validation, {groups}"
    if isinstance(validation, HoldoutValidation):
        shares = ", ".join(f"{part} {getattr(validation, part):.0%}" for part in ("train", "validation", "test"))
        return f"holdout, {shares}"
    kind = "anchored" if validation.anchored else "rolling"
    step = validation.test if validation.step is None else validation.step
    return f"walk-forward, {kind}: train {validation.train}, test {validation.test}, step {step}"


def market_in_words(facts: EvaluationFacts, most: int = 6) -> str:
    """Return the symbols and the timeframe; a synthetic market is named as one.

    Args:
        facts: facts of the evaluation.
        most: number of symbols that are named.
    """
    names = ", ".join(facts.symbols) if len(facts.symbols) <= most else f"{len(facts.symbols):,} symbols"
    return f"{names}{f' (synthetic market: {facts.world})' if facts.world else ''}, {facts.timeframe}"


def period_in_words(period: PartTimes) -> str:
    """Return a period, such as ``2017-01-01 22:00 to 2017-09-29 21:00 UTC``.

    Args:
        period: the period.
    """
    return f"{format_time(_instant(period))} to {format_end(period.end)} UTC"


def reserve_sentence(facts: EvaluationFacts) -> str:
    """Return what became of the reserve; empty without one."""
    reserve = facts.reserve
    if reserve is None:
        return ""
    bars = f"{period_in_words(reserve.period)}, {counted(reserve.bars, 'bar')}"
    if not reserve.opened:
        return f"Reserve, closed: {bars}. This evaluation has not used it."
    return f"Reserve, opened: {bars}. {counted(reserve.opened, 'trial')} looked at it, this one included."


def _with_bounds(name: str, interval: Interval, before: str = "", after: str = "") -> str:
    bounds = interval_in_words(name, interval)
    inside = f" ({before}{bounds}{after})" if bounds else f" ({after.removeprefix('; ')})" if after else ""
    return f"{SCORES[name]} {format_score(name, interval.value)}{inside}"


def _beside(name: str, others: Mapping[str, int | float | None]) -> str:
    return "" if others.get(name) is None else f" beside {format_score(name, others[name])}"


def _instant(period: PartTimes) -> np.datetime64:
    return np.datetime64(period.start.replace(tzinfo=None), "ns")
