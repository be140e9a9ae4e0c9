"""Printing of an evaluation for a person."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ktrdr.core.cli.output import print_table, print_warnings
from ktrdr.core.cli.trial_lines import print_trial_count

if TYPE_CHECKING:
    from ktrdr.core.validation.evaluation_result import EvaluationFacts, Interval

__all__ = ["print_evaluation"]

# A row of 80 columns has space for two metrics with their intervals.
_BY_FOLD = {
    "classification": ("accuracy", "mcc"),
    "regression": ("rmse", "information_coefficient"),
}
_BASELINES = {"classification": "majority", "regression": "mean"}
_SHORT = {"information_coefficient": "IC", "balanced_accuracy": "bal. accuracy", "directional_accuracy": "direction"}
_MOST_PARTS = 2
_ACCOUNT = ("sharpe", "annual_return", "max_drawdown", "trades", "exposure", "win_rate")


def print_evaluation(facts: EvaluationFacts) -> None:
    """Print the result of an evaluation, here or on a server: sentences, and tables of 80 columns.

    Args:
        facts: facts of the evaluation.
    """
    from ktrdr.core.data.times import last_day
    from ktrdr.core.short_texts import counted
    from ktrdr.core.trials.trial_count import TrialCount
    from ktrdr.core.validation.evaluation_sentences import (
        account_sentence,
        accounts_in_words,
        market_in_words,
        prediction_sentence,
        reserve_sentence,
        validation_in_words,
    )

    days = f"{facts.period.start:%Y-%m-%d} to {last_day(facts.period.end)}"
    click.echo(f"\n{facts.strategy}: {facts.model} on {market_in_words(facts, 3)}, {days}")
    click.echo(f"{_capital(validation_in_words(facts.validation))}.")
    click.echo(
        f"{counted(len(facts.folds), 'fold')}, {accounts_in_words(facts)}; {counted(facts.look_ahead, 'bar')} of"
        f" look-ahead and {facts.embargo:,} of embargo left out."
    )
    click.echo()
    click.secho(account_sentence(facts), bold=True)
    click.secho(prediction_sentence(facts), bold=True)
    print_warnings(facts.warnings)
    _print_folds(facts)
    _print_scores(facts)
    _print_accounts(facts)
    _print_regimes(facts)
    if facts.reserve is not None:
        click.echo(reserve_sentence(facts))
        _print_reserve(facts)
    if facts.trial_count is not None:
        print_trial_count(TrialCount.from_json(facts.trial_count))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _score(name: str, interval: Interval) -> str:
    """Return a metric with its interval, such as ``27.1% (22.9 to 31.8)``."""
    from ktrdr.core.validation.evaluation_sentences import format_score

    bounds = _bounds(name, interval).replace("..", " to ")
    return format_score(name, interval.value) + (f" ({bounds})" if bounds else "")


def _baseline(baselines: Mapping[str, Mapping[str, Any]], kind: str, name: str) -> str:
    from ktrdr.core.validation.evaluation_sentences import format_score

    return format_score(name, baselines.get(kind, {}).get(name))


def _name(metric: str) -> str:
    from ktrdr.core.validation.evaluation_sentences import SCORES

    return _SHORT.get(metric, SCORES[metric])


def _print_folds(facts: EvaluationFacts) -> None:
    from ktrdr.core.validation.evaluation_sentences import format_score

    first, second = _BY_FOLD[facts.output]
    rival = _BASELINES[facts.output]
    columns = [_name(first), "90%", rival, _name(second), "90%"]
    rows = []
    for fold in facts.folds:
        other = _baseline(fold.baselines, rival, first)
        one, two = fold.metrics[first], fold.metrics[second]
        rows.append(
            [
                f"{fold.fold}",
                _opens([part.start for part in fold.test]),
                *(format_score(first, one.value), _bounds(first, one), other),
                *(format_score(second, two.value), _bounds(second, two)),
            ]
        )
    columns = ["fold", "tested from", *columns]
    print_table(columns, rows, right=columns[2:], whole=columns[2:])


def _opens(opens: Sequence[dt.datetime]) -> str:
    """Return the first days of the parts of a test, such as ``2017-01-01, 05-17``; of many the first and a count."""
    days = [f"{each:%Y-%m-%d}" for each in opens]
    if len(days) > _MOST_PARTS:
        return f"{days[0]}, {len(days) - 1} more"
    year = days[0][:5]
    return ", ".join([days[0], *(day.removeprefix(year) for day in days[1:])])


def _bounds(name: str, interval: Interval) -> str:
    """Return the bounds of a metric, such as ``22.9..31.8``."""
    from ktrdr.core.validation.evaluation_sentences import interval_in_words

    return interval_in_words(name, interval).replace("%", "").replace(" to ", "..")


def _print_scores(facts: EvaluationFacts) -> None:
    rivals = list(facts.baselines)
    columns = ["model (90%)", *(name.replace("_", " ") for name in rivals)]
    print_table(
        ["all folds", *columns],
        [
            [_name(name), _score(name, interval), *(_baseline(facts.baselines, rival, name) for rival in rivals)]
            for name, interval in facts.metrics.items()
        ],
        right=columns,
    )


def _print_accounts(facts: EvaluationFacts) -> None:
    from ktrdr.core.backtesting.metrics import METRICS, format_metric
    from ktrdr.core.short_texts import counted

    shown = [info for info in METRICS if info.name in _ACCOUNT and info.name in facts.spread]
    columns = ["lowest", "quartile", "median", "quartile ", "highest"] if len(facts.paths) > 1 else ["strategy"]
    rows = []
    for info in shown:
        spread = facts.spread[info.name]
        values = (spread.min, spread.low, spread.median, spread.high, spread.max)
        own = [round(value) if info.kind == "count" else value for value in values[: len(columns)]]
        rows.append([info.label, *(format_metric(info.name, value) for value in own)])
        rows[-1].append(format_metric(info.name, facts.buy_and_hold.get(info.name)))
    columns = [*columns, "buy and\nhold"]
    print_table([counted(len(facts.paths), "account"), *columns], rows, right=columns, whole=columns)


def _print_regimes(facts: EvaluationFacts) -> None:
    from ktrdr.core.backtesting.metrics import format_metric
    from ktrdr.core.validation.evaluation_sentences import format_score

    if not facts.regimes:
        return
    classes = facts.output == "classification"
    quality = "accuracy" if classes else "information_coefficient"
    columns = ["bars", _name(quality), *(["majority"] if classes else []), "return", "Sharpe", "buy and\nhold"]
    print_table(
        ["kind of market", *columns],
        [
            [
                row.regime,
                f"{row.share:.0%}",
                format_score(quality, row.accuracy),
                *([format_score(quality, row.majority)] if classes else []),
                format_metric("annual_return", row.annual_return),
                format_metric("sharpe", row.sharpe),
                format_metric("annual_return", row.buy_and_hold),
            ]
            for row in facts.regimes
        ],
        right=columns,
        whole=["kind of market", *columns],
    )


def _print_reserve(facts: EvaluationFacts) -> None:
    from ktrdr.core.backtesting.metrics import format_metric

    reserve = facts.reserve
    if reserve is None or not reserve.seeds:
        return
    names = ("sharpe", "total_return", "max_drawdown", "trades")
    columns = ["Sharpe ratio", "return", "drawdown", "trades"]
    rows = [(f"seed {account.seed}", account.metrics) for account in reserve.seeds]
    print_table(
        ["reserve", *columns],
        [
            [name, *(format_metric(metric, metrics.get(metric)) for metric in names)]
            for name, metrics in [*rows, ("buy and hold", reserve.buy_and_hold)]
        ],
        right=columns,
    )
    if reserve.metrics:
        print_table(
            ["reserve", "model (90%)"],
            [[_name(name), _score(name, interval)] for name, interval in reserve.metrics.items()],
            right=["model (90%)"],
        )
