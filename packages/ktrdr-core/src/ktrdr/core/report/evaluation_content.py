"""Content of the report of an evaluation: its sentences, numbers, figures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ktrdr.core.backtesting.metrics import METRICS, format_metric
from ktrdr.core.data.times import last_day
from ktrdr.core.report.content import sentence
from ktrdr.core.report.evaluation_charts import MOST_LINES, accounts_figure, folds_figure, spread_figure
from ktrdr.core.report.figures import MOST_PLACES, Figure
from ktrdr.core.report.origin_entries import provenance_entries, trial_entries
from ktrdr.core.report.page import Block, Card, Cell, Column, MetricRow, Page, Picture, Table
from ktrdr.core.report.timeline import Timeline
from ktrdr.core.report.tones import tone_of
from ktrdr.core.short_texts import counted
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.validation.evaluation_parts import Evaluation
from ktrdr.core.validation.evaluation_result import EvaluationFacts, Interval, PartTimes, PathResult
from ktrdr.core.validation.evaluation_sentences import (
    HEADLINES,
    SCORES,
    account_sentence,
    accounts_in_words,
    format_score,
    interval_in_words,
    market_in_words,
    median_account,
    period_in_words,
    prediction_sentence,
    reserve_sentence,
    validation_in_words,
)

__all__ = ["MOST_POINTS", "accounts_note", "accounts_picture", "evaluation_content"]

MOST_POINTS = MOST_PLACES // 2
"""Most points of a line: half as many as in the report of a backtest, as there are more lines."""

_MOST_ACCOUNTS = 200
_BETTER_LOW = ("log_loss", "rmse", "mae")
_ACCOUNT_METRICS = ("sharpe", "total_return", "max_drawdown", "trades", "exposure", "costs")


def evaluation_content(evaluation: Evaluation) -> Page:
    """Return everything that the report shows of an evaluation."""
    facts = evaluation.facts
    timeline = Timeline.of(evaluation.curves.time, MOST_POINTS)
    tables = (_folds(facts), _regimes(facts), _accounts(facts), *_reserve_tables(facts))
    return Page(
        title=f"{facts.strategy}: evaluation{f' {facts.evaluation}' if facts.evaluation else ''}",
        subtitle=_subtitle(facts),
        headline=" ".join(text for text in (account_sentence(facts), prediction_sentence(facts)) if text),
        description=evaluation.strategy.description or "",
        warnings=[*_synthetic(facts), *(sentence(warning) for warning in facts.warnings)],
        cards=_cards(facts),
        timeline=timeline.labels,
        wide_figures=_pictures(evaluation, timeline),
        tables=[table for table in tables if table.rows],
        metric_columns=_metric_columns(facts),
        metrics=_metrics(facts),
        metrics_note=_metrics_note(facts),
        blocks=(
            Block("Settings", entries=_settings(facts)),
            Block("Trials", entries=trial_entries(facts.trial_count)),
            Block("Provenance", entries=provenance_entries(facts.provenance, facts.data_fingerprint, facts.seconds)),
            Block("Strategy file", text=evaluation.text),
        ),
    )


def _subtitle(facts: EvaluationFacts) -> str:
    default = " (the default, as the strategy has no section validation)" if facts.default_validation else ""
    return (
        f"{market_in_words(facts)}, {period_in_words(facts.period)}, {counted(sum(facts.bars.values()), 'bar')}."
        f" {sentence(validation_in_words(facts.validation) + default)} {counted(len(facts.folds), 'fold')},"
        f" {accounts_in_words(facts)}."
    )


def _synthetic(facts: EvaluationFacts) -> list[str]:
    if not facts.world:
        return []
    return [f"The bars are synthetic: they were made by {facts.world}, and are no prices of a real market."]


def _cards(facts: EvaluationFacts) -> list[Card]:
    median, hold = median_account(facts).metrics, facts.buy_and_hold
    rivals = [hold, *([facts.majority] if facts.majority else [])]
    cards = []
    spread = facts.spread.get("sharpe")
    quartiles = "" if spread is None else f", quartiles {_range('sharpe', spread.low, spread.high)}"
    for name, label in (
        ("sharpe", f"Sharpe ratio, median{quartiles}"),
        ("total_return", "Total return, median account"),
        ("max_drawdown", "Maximum drawdown, median account"),
    ):
        cards.append(
            Card(
                label,
                format_metric(name, median.get(name)),
                tone_of(name, median, rivals),
                f"buy and hold {format_metric(name, hold.get(name))}",
            )
        )
    returns = [account.metrics.get("total_return") for account in facts.paths]
    gained = sum(value is not None and value > 0 for value in returns)
    cards.append(Card("accounts with a profit", f"{gained:,} of {len(returns):,}"))
    for name in HEADLINES[facts.output][:2]:
        interval = facts.metrics[name]
        bounds = interval_in_words(name, interval)
        other = _baseline(facts.baselines, name, facts.output)
        label = SCORES[name][:1].upper() + SCORES[name][1:]
        cards.append(
            Card(
                f"{label}{f', 90% {bounds}' if bounds else ''}",
                format_score(name, interval.value),
                _tone(name, interval, other[1]) if other else "",
                f"{other[0]} {format_score(name, other[1])}" if other else "",
            )
        )
    count = _count(facts)
    if count is not None:
        cards.append(Card("trials on these bars", f"{count.number:,}"))
    return cards


def _range(name: str, low: float, high: float) -> str:
    return f"{format_metric(name, low)} to {format_metric(name, high)}"


def _baseline(baselines: Mapping[str, Mapping[str, Any]], name: str, output: str) -> tuple[str, float] | None:
    """Return the baseline that a metric is shown beside; the information coefficient of a constant is 0."""
    kind, words = ("majority", "majority class") if output == "classification" else ("mean", "mean")
    value = baselines.get(kind, {}).get(name)
    return None if value is None else (words, float(value))


def _tone(name: str, interval: Interval, other: float) -> str:
    """Return ``good`` or ``bad`` if the whole interval is on that side of the baseline."""
    if interval.low is None or interval.high is None:
        return ""
    above, below = interval.low > other, interval.high < other
    if name in _BETTER_LOW:
        above, below = below, above
    return "good" if above else "bad" if below else ""


def _pictures(evaluation: Evaluation, timeline: Timeline) -> list[Picture]:
    facts = evaluation.facts
    several = len(facts.paths) > 1
    pictures = [
        Picture(
            "equity",
            "Equity of every path and seed" if several else "Equity",
            accounts_picture(facts, timeline, evaluation.curves.equity, evaluation.curves.buy_and_hold),
            accounts_note(facts, timeline),
            time=True,
            log=bool((evaluation.curves.equity > 0).all() and (evaluation.curves.buy_and_hold > 0).all()),
        )
    ]
    if several and facts.spread:
        pictures.append(
            Picture(
                "spread",
                "Spread over paths and seeds",
                spread_figure(facts),
                "Each point is an account. The box holds the middle half, the line in it is the median.",
            )
        )
    pictures.append(
        Picture(
            "folds",
            "Folds",
            folds_figure(facts),
            f"Each row is a fold. {counted(facts.look_ahead, 'bar')} that labels look ahead and an embargo of"
            f" {counted(facts.embargo, 'bar')} are left out between a test part and the others. The validation part of"
            " a fold chooses its epoch.",
        )
    )
    return pictures


def accounts_picture(
    facts: EvaluationFacts, timeline: Timeline, equity: np.ndarray, buy_and_hold: np.ndarray
) -> Figure:
    """Return the figure of the equity of the accounts.

    Args:
        facts: facts of the evaluation.
        timeline: time axis of the curves.
        equity: float64 ``(accounts, n)``, in the order of the paths.
        buy_and_hold: float64 ``(n,)``.
    """
    (number, seed), several = facts.median_path, len(facts.paths) > 1
    median = [(account.path, account.seed) for account in facts.paths].index(facts.median_path)
    return accounts_figure(
        timeline,
        equity[_drawn(facts)] if several else equity[:0],
        equity[median],
        buy_and_hold,
        f"median: path {number}, seed {seed}" if several else "strategy",
    )


def accounts_note(facts: EvaluationFacts, timeline: Timeline) -> str:
    """Return what the figure of the equity of the accounts shows.

    Args:
        facts: facts of the evaluation.
        timeline: time axis of the curves.
    """
    note = (
        f"{counted(len(facts.paths), 'account')}: {accounts_in_words(facts)}, each predicted by models that were not"
        " trained on the bars they trade, after costs."
    )
    if len(facts.paths) > MOST_LINES:
        note += f" {MOST_LINES:,} of them are drawn, evenly spaced by their Sharpe ratios."
    if timeline.width > 1:
        note += f" Each point shows {timeline.width:,} successive bars of {len(timeline.time):,}."
    return note


def _drawn(facts: EvaluationFacts) -> list[int]:
    """Return the rows of the accounts to draw: all, or as many as can be seen, evenly spaced by their ratios."""
    order = sorted(range(len(facts.paths)), key=lambda row: facts.paths[row].metrics.get("sharpe") or 0.0)
    if len(order) <= MOST_LINES:
        return sorted(order)
    chosen = np.linspace(0, len(order) - 1, MOST_LINES).round().astype(int)
    return sorted(order[place] for place in chosen.tolist())


def _score(name: str, interval: Interval, other: float | None) -> Cell:
    tone = "" if other is None else _tone(name, interval, other)
    bounds = interval_in_words(name, interval)
    return Cell(format_score(name, interval.value), f"n keep {tone}".strip(), interval.value, bounds)


def _folds(facts: EvaluationFacts) -> Table:
    names = HEADLINES[facts.output]
    rival = "majority" if facts.output == "classification" else "mean"
    beside = [name for name in names if facts.output == "classification" or name == "rmse"]

    def scores(metrics: Mapping[str, Interval], baselines: Mapping[str, Mapping[str, Any]]) -> list[Cell]:
        cells = []
        for name in names:
            other = _baseline(baselines, name, facts.output)
            value = None if other is None else other[1]
            cells.append(_score(name, metrics[name], value))
            if name in beside and name != "mcc":
                cells.append(Cell(format_score(name, value), "n", value))
        return cells

    rows = [
        [
            Cell(f"{fold.fold}"),
            _tested(fold.test),
            Cell(f"{fold.samples['test']:,}", "n", fold.samples["test"], f"{fold.samples['train']:,} to train"),
            *scores(fold.metrics, fold.baselines),
            Cell(_epochs([seed.best_epoch for seed in fold.seeds]), "n"),
        ]
        for fold in facts.folds
    ]
    paths = len({account.path for account in facts.paths})
    rows.append(
        [
            Cell("all"),
            _tested((facts.tested,)),
            Cell("each bar once per path" if paths > 1 else ""),
            *scores(facts.metrics, facts.baselines),
            Cell(f"{facts.best_epoch}", "n"),
        ]
    )
    columns = []
    for name in names:
        columns.append(Column(SCORES[name], number=True))
        if name in beside and name != "mcc":
            columns.append(Column(f"{rival}, {SCORES[name]}", number=True))
    return Table(
        "Predictions by fold",
        (Column("fold"), Column("tested"), Column("samples", number=True), *columns, Column("epoch kept", number=True)),
        rows,
        "Mean over the seeds, and below it the interval that holds the true value with a probability of 90%, which"
        " accounts for labels that overlap. A number is green if its whole interval is better than the baseline beside"
        " it, and red if the whole interval is worse; the baseline of MCC and of the information coefficient is 0.",
    )


def _tested(parts: Sequence[PartTimes]) -> Cell:
    first, *others = (_days(part) for part in parts)
    return Cell(first, note="".join(f"and {part} " for part in others).strip())


def _days(part: PartTimes) -> str:
    return f"{part.start:%Y-%m-%d} to {last_day(part.end)}"


def _epochs(epochs: Sequence[int]) -> str:
    return f"{min(epochs)}" if min(epochs) == max(epochs) else f"{min(epochs)} to {max(epochs)}"


def _regimes(facts: EvaluationFacts) -> Table:
    classes = facts.output == "classification"
    rows = []
    for row in facts.regimes:
        own = {"total_return": row.annual_return}
        quality = format_score("accuracy" if classes else "information_coefficient", row.accuracy)
        rows.append(
            [
                Cell(row.regime),
                Cell(f"{row.bars:,}", "n", row.bars, f"{row.share:.0%}"),
                Cell(quality, "n", row.accuracy),
                *([Cell(format_score("accuracy", row.majority), "n", row.majority)] if classes else []),
                Cell(
                    format_metric("total_return", row.annual_return),
                    f"n {tone_of('total_return', own, [{'total_return': row.buy_and_hold}])}".strip(),
                    row.annual_return,
                ),
                Cell(format_metric("sharpe", row.sharpe), "n", row.sharpe),
                Cell(format_metric("total_return", row.buy_and_hold), "n", row.buy_and_hold),
            ]
        )
    return Table(
        "Kinds of market",
        (
            Column("market"),
            Column("bars", number=True),
            Column("accuracy" if classes else "information coefficient", number=True),
            *([Column("majority", number=True)] if classes else []),
            *(Column(name, number=True) for name in ("annual return", "Sharpe ratio", "buy and hold")),
        ),
        rows,
        "The kind of a bar is known when it opens: volatility and trend of the five days before it (at least 20 bars),"
        " and terciles of earlier volatilities. Return: mean of all accounts, annualized; Sharpe ratio: median of the"
        " accounts. Buy and hold: annual return in these bars.",
    )


def _accounts(facts: EvaluationFacts) -> Table:
    ranked = sorted(facts.paths, key=lambda account: -_or_least(account.metrics.get("sharpe")))
    note = f"Ordered by Sharpe ratio. Capital {facts.account['capital']:,.2f}."
    if len(ranked) > _MOST_ACCOUNTS:
        note += f" The first {_MOST_ACCOUNTS:,} of {len(ranked):,}."
    return Table(
        "Accounts",
        (Column("account"), *(Column(_label(name), number=True) for name in _ACCOUNT_METRICS)),
        [
            [
                Cell(
                    f"path {account.path}, seed {account.seed}",
                    note="median" if (account.path, account.seed) == facts.median_path else "",
                ),
                *_account_cells(account, facts.buy_and_hold),
            ]
            for account in ranked[:_MOST_ACCOUNTS]
        ],
        note,
    )


def _account_cells(account: PathResult, hold: Mapping[str, Any]) -> list[Cell]:
    return [
        Cell(
            format_metric(name, account.metrics.get(name)),
            f"n {tone_of(name, account.metrics, [hold])}".strip(),
            account.metrics.get(name),
        )
        for name in _ACCOUNT_METRICS
    ]


def _label(name: str) -> str:
    return next(info.label for info in METRICS if info.name == name)


def _or_least(value: float | None) -> float:
    return float("-inf") if value is None else value


def _reserve_tables(facts: EvaluationFacts) -> list[Table]:
    """Return what became of the reserve; nothing without one or if it is closed."""
    reserve = facts.reserve
    if reserve is None or not reserve.seeds:
        return []
    scores = ", ".join(
        f"{SCORES[name]} {format_score(name, interval.value)}"
        + (f" (90% {bounds})" if (bounds := interval_in_words(name, interval)) else "")
        for name, interval in reserve.metrics.items()
        if name in HEADLINES[facts.output]
    )
    held = reserve.buy_and_hold
    return [
        Table(
            "Reserve",
            (Column("seed"), *(Column(_label(name), number=True) for name in _ACCOUNT_METRICS)),
            [
                *([Cell(f"{account.seed}"), *_account_cells(account, held)] for account in reserve.seeds),
                [
                    Cell("buy and hold"),
                    *(Cell(format_metric(name, held.get(name)), "n", held.get(name)) for name in _ACCOUNT_METRICS),
                ],
            ],
            f"{reserve_sentence(facts)} Models of all data before it, one for each seed: "
            f"{scores or 'no label fits into the reserve, so their predictions are not judged'}.",
        )
    ]


def _metric_columns(facts: EvaluationFacts) -> list[str]:
    if len(facts.paths) == 1:
        return ["strategy", "buy and hold"]
    return ["median account", "25%", "75%", "buy and hold"]


def _metrics(facts: EvaluationFacts) -> list[MetricRow]:
    median = median_account(facts).metrics
    rows = []
    for info in METRICS:
        values = [median.get(info.name)]
        if len(facts.paths) > 1:
            spread = facts.spread.get(info.name)
            values += [None, None] if spread is None else [spread.low, spread.high]
        values.append(facts.buy_and_hold.get(info.name))
        if any(value is not None for value in values):
            rows.append(MetricRow(info.label, [_formatted(info.name, value) for value in values], info.help))
    return rows


def _metrics_note(facts: EvaluationFacts) -> str:
    notes = ["25% and 75% are the quartiles of each metric over all paths and seeds."] if len(facts.paths) > 1 else []
    if facts.majority:
        told = ", ".join(
            f"{label} {format_metric(name, facts.majority.get(name))}"
            for name, label in (("total_return", "total return"), ("sharpe", "Sharpe ratio"), ("trades", "trades"))
        )
        notes.append(f"An account that trades the majority class by the same rules: {told}.")
    return " ".join(notes)


def _formatted(name: str, value: float | None) -> str:
    """Return a metric as text; the quartile of a count may be a fraction."""
    if isinstance(value, float) and value.is_integer() and _is_count(name):
        return format_metric(name, int(value))
    return format_metric(name, value)


def _is_count(name: str) -> bool:
    return next(info.kind for info in METRICS if info.name == name) == "count"


def _settings(facts: EvaluationFacts) -> list[tuple[str, str]]:
    account = facts.account
    entries = [
        ("folds", validation_in_words(facts.validation)),
        ("left out", f"{counted(facts.look_ahead, 'bar')} of look-ahead, {counted(facts.embargo, 'bar')} of embargo"),
        ("tested", period_in_words(facts.tested)),
        ("model", f"{facts.model} of plugin {facts.plugin}, on {facts.device}"),
        ("seeds", ", ".join(f"{seed}" for seed in facts.seeds)),
        ("epoch of the model to use", f"{facts.best_epoch}, the median of the best epochs"),
        ("capital", f"{account['capital']:,.2f}"),
        ("commission", f"{account['commission']:.4%} of the traded value, per side"),
        ("slippage", f"{account['slippage']:.4%} of the price, against every fill"),
    ]
    if facts.reserve is not None:
        entries.append(("reserve", reserve_sentence(facts).removeprefix("Reserve, ")))
    entries += [(name, counted(bars, "bar")) for name, bars in facts.bars.items()]
    if facts.world:
        entries.append(("synthetic market", facts.world))
    return entries


def _count(facts: EvaluationFacts) -> TrialCount | None:
    return None if facts.trial_count is None else TrialCount.from_json(facts.trial_count)
