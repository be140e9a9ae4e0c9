"""From a result to the page: which numbers, which figures, in which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ktrdr.core.backtesting.metrics import METRICS, format_metric
from ktrdr.core.backtesting.results import BacktestResult, SymbolResult
from ktrdr.core.backtesting.tables import Table
from ktrdr.core.data.times import format_end, format_time
from ktrdr.core.report import facts, figures
from ktrdr.core.report.membership_figures import fuzzy_sets_of, membership_figure, unanswered_share
from ktrdr.core.report.page import Block, Card, MetricRow, Page, Picture
from ktrdr.core.report.trade_list import MOST_ROWS, trade_columns, trade_rows
from ktrdr.core.training.importance import relative_change

__all__ = ["page_of"]

_MOST_PRICE_FIGURES = 12
_MOST_INPUTS = 25


def page_of(result: BacktestResult) -> Page:
    """Return everything the report shows of ``result``."""
    several = len(result.symbols) > 1
    trades = len(result.trades["number"])
    note = ""
    if trades > MOST_ROWS:
        note = (
            f"The table shows the first {MOST_ROWS // 2:,} and the last {MOST_ROWS // 2:,} of {trades:,} trades;"
            " all of them are in trades.parquet of the run."
        )
    return Page(
        title=f"{result.manifest.strategy.name}: backtest of {result.manifest.ref}",
        subtitle=_subtitle(result),
        description=result.manifest.strategy.description or "",
        warnings=result.warnings,
        cards=_cards(result),
        wide_figures=_wide_figures(result),
        trade_columns=trade_columns(several),
        trades=trade_rows(result, several),
        trades_note=note,
        no_trades=result.no_trades,
        metric_columns=("strategy", "buy and hold", *(baseline.name for baseline in result.baselines)),
        metrics=_metrics(result),
        metrics_note=" ".join(_sentence(f"{baseline.name} {baseline.statement}") for baseline in result.baselines),
        paired_figures=_paired_figures(result),
        blocks=(
            *facts.blocks(result),
            Block("Strategy file", text=result.strategy_text),
        ),
    )


def _subtitle(result: BacktestResult) -> str:
    symbols = [symbol.symbol for symbol in result.symbols]
    names = ", ".join(symbols) if len(symbols) <= 6 else f"{len(symbols)} symbols"
    bars = len(result.equity["time"])
    span = f"{format_time(result.start)} to {format_end(result.end)} UTC"
    return f"{names}, {result.timeframe}, {span}, {bars:,} bars. {_sentence(result.period)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "." if text else ""


def _cards(result: BacktestResult) -> list[Card]:
    metrics, benchmark = result.metrics, result.benchmark

    def tone(value: float | None, neutral: float = 0.0) -> str:
        return "" if value is None or value == neutral else "good" if value > neutral else "bad"

    def card(name: str, label: str = "", judged: str = "") -> Card:
        info = next(info for info in METRICS if info.name == name)
        return Card(label or info.label, format_metric(name, metrics.get(name)), judged)

    low, high = metrics.get("sharpe_low"), metrics.get("sharpe_high")
    interval = "" if low is None or high is None else f", 95% {low:.1f} to {high:.1f}"
    return [
        card("total_return", judged=tone(metrics.get("total_return"))),
        Card(
            "Buy and hold",
            format_metric("total_return", benchmark.get("total_return")),
            tone(benchmark.get("total_return")),
        ),
        card("sharpe", f"Sharpe ratio{interval}", tone(metrics.get("sharpe"))),
        card("max_drawdown"),
        card("trades"),
        card("win_rate"),
        card("profit_factor", judged=tone(metrics.get("profit_factor"), 1.0)),
        card("costs"),
    ]


def _wide_figures(result: BacktestResult) -> list[Picture]:
    equity = result.equity
    time = equity["time"]
    thinned = _thinned(len(time))
    return [
        Picture(
            "equity",
            "Equity",
            figures.equity_figure(time, equity["equity"], equity["benchmark"]),
            f"At the close of each bar, beside buying at the first bar and holding, at the same costs.{thinned}",
            time=True,
        ),
        Picture("drawdown", "Drawdown", figures.drawdown_figure(time, equity["drawdown"]), time=True),
        *_price_pictures(result),
        *_monthly_pictures(result),
    ]


def _thinned(bars: int, most: int = figures.MOST_POINTS) -> str:
    if bars <= most:
        return ""
    return (
        f" Of {bars:,} bars, the first, lowest, highest and last of each {figures.run_length(bars, most):,} are drawn;"
        " zooming in adds none."
    )


def _price_pictures(result: BacktestResult) -> list[Picture]:
    traded = {symbol.symbol: 0 for symbol in result.symbols}
    names, counts = np.unique(result.trades["symbol"].astype(str), return_counts=True)
    traded |= dict(zip(names.tolist(), counts.tolist(), strict=True))
    # The busiest first where there are too many; otherwise in the order of the result.
    chosen = set(sorted(traded, key=lambda name: -traded[name])[:_MOST_PRICE_FIGURES])
    most = max(figures.MOST_POINTS // len(chosen), 1500)
    pictures: list[Picture] = []
    for number, symbol in enumerate(result.symbols):
        if symbol.symbol not in chosen:
            continue
        note = _thinned(symbol.bars, most)
        if len(chosen) < len(result.symbols) and not pictures:
            note = f" The {_MOST_PRICE_FIGURES} symbols with the most trades of {len(result.symbols)} are drawn.{note}"
        pictures.append(_price_picture(symbol, number, result.trades, most, note))
    return pictures


def _price_picture(symbol: SymbolResult, number: int, trades: Table, most: int, note: str) -> Picture:
    own = np.flatnonzero(trades["symbol"] == symbol.symbol)
    drawn = own
    if len(own) > figures.MOST_TRADES:
        drawn = np.sort(own[np.argsort(-np.abs(trades["net"][own]), kind="stable")[: figures.MOST_TRADES]])
        note = (
            f" Of {len(own):,} trades, the {figures.MOST_TRADES:,} with the largest profits and losses are drawn.{note}"
        )
    return Picture(
        f"price-{number}",
        f"Price and trades, {symbol.symbol}",
        figures.price_figure(
            symbol.positions["time"],
            symbol.positions["close"],
            {name: column[drawn] for name, column in trades.items()},
            most,
        ),
        f"Closes; entries and exits at the prices of their fills.{note}",
        time=True,
    )


def _monthly_pictures(result: BacktestResult) -> list[Picture]:
    monthly = result.metrics.get("monthly_returns")
    if not monthly:
        return []
    note = "In percent, by calendar month (UTC); the first and the last may be cut short."
    return [Picture("monthly", "Monthly returns", figures.monthly_figure(monthly), note)]


def _metrics(result: BacktestResult) -> list[MetricRow]:
    columns = (result.metrics, result.benchmark, *(baseline.metrics for baseline in result.baselines))
    return [
        MetricRow(
            info.label,
            [format_metric(info.name, column.get(info.name)) for column in columns],
            info.help,
        )
        for info in METRICS
    ]


def _paired_figures(result: BacktestResult) -> list[Picture]:
    manifest = result.manifest
    pictures: list[Picture] = []
    if result.history:
        pictures.append(_training_picture(result))
    part, judged = _judged(manifest.metrics)
    if matrix := judged.get("confusion_matrix"):
        pictures.append(
            Picture(
                "confusion",
                "Confusion matrix",
                figures.confusion_figure(matrix, manifest.classes),
                f"Labels against predictions on the {part} part of the training data: count, and share of the row.",
            )
        )
    if picture := _importance_picture(manifest.importance):
        pictures.append(picture)
    pictures += _membership_pictures(result)
    return pictures


def _training_picture(result: BacktestResult) -> Picture:
    best = result.manifest.facts.get("best_epoch")
    return Picture(
        "training",
        "Training",
        figures.training_figure(
            [{"epoch": record.epoch, "metrics": record.metrics} for record in result.history],
            best if isinstance(best, int) else None,
        ),
        f"{max((record.epoch for record in result.history), default=0):,} epochs.",
    )


def _judged(metrics: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    for part in ("test", "validation"):
        judged = metrics.get(part)
        if isinstance(judged, Mapping) and judged:
            return part, judged
    return "", {}


def _importance_picture(importance: Any) -> Picture | None:
    if not isinstance(importance, Mapping) or not importance.get("features"):
        return None
    features: Sequence[Mapping[str, Any]] = importance["features"]
    score = next(name for name in ("log_loss", "rmse") if name in features[0])
    ranked = sorted(features, key=lambda feature: -abs(feature[score]["mean"]))[:_MOST_INPUTS]
    words = {"log_loss": "log loss", "rmse": "RMSE"}[score]
    note = (
        f"How much {words} rises when one input is shuffled, as a share of it; whiskers: spread of"
        f" {importance['repeats']} shuffles."
    )
    changes = {feature["id"]: relative_change(importance, feature, score) for feature in ranked}
    if len(ranked) < len(features):
        note += f" The {len(ranked)} largest of {len(features)}."
    return Picture(
        "importance",
        "What the model relies on",
        figures.importance_figure(
            {name: mean for name, (mean, _) in changes.items()},
            {name: std for name, (_, std) in changes.items()},
            f"rise of {words}",
        ),
        note,
    )


def _membership_pictures(result: BacktestResult) -> list[Picture]:
    strategy = result.manifest.strategy
    histograms = {(each.fuzzy_set, each.timeframe): each for each in result.histograms}
    pictures = []
    for number, (name, timeframe) in enumerate(fuzzy_sets_of(strategy)):
        fuzzy_set, histogram = strategy.fuzzy_sets[name], histograms.get((name, timeframe))
        note = f"Reads {fuzzy_set.indicator}; grey: how often each value occurred in the backtest."
        if histogram is None:
            note = f"Reads {fuzzy_set.indicator}, of which there are no values in the backtest."
        elif share := unanswered_share(fuzzy_set, histogram):
            note += f" No membership answers on about {share:.1%} of bars."
        pictures.append(
            Picture(
                f"membership-{number}",
                f"Fuzzy set {name}, {timeframe}",
                membership_figure(fuzzy_set, histogram),
                note,
            )
        )
    return pictures
