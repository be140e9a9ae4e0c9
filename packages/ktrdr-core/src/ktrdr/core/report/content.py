"""Content of the report's page: the numbers, figures, tables and texts of a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ktrdr.core.backtesting.metrics import METRICS, AccountCurve, format_metric
from ktrdr.core.backtesting.metrics.over_time import rolling_sharpe, rolling_window
from ktrdr.core.backtesting.results import BacktestResult, SymbolResult
from ktrdr.core.backtesting.tables import Table
from ktrdr.core.data.times import format_end, format_time
from ktrdr.core.names import named_market
from ktrdr.core.report import facts, figures
from ktrdr.core.report.account_tables import account_tables
from ktrdr.core.report.membership_figures import dead_zone_share, fuzzy_sets_of, membership_figure
from ktrdr.core.report.page import Block, Card, MetricRow, Page, Picture
from ktrdr.core.report.strategy_verdict import verdict_block, verdict_headline
from ktrdr.core.report.timeline import Timeline
from ktrdr.core.report.tones import tone_of
from ktrdr.core.report.trade_list import MOST_ROWS, trade_columns, trade_rows
from ktrdr.core.training.importance import relative_change

if TYPE_CHECKING:
    from ktrdr.core.verdicts.stored_verdict import VerdictEntry

__all__ = ["PRICES", "account_pictures", "cards_of", "page_of", "sentence"]

PRICES = "Price and trades, "
"""Beginning of the title of the prices of a symbol."""
_MOST_PRICE_FIGURES = 12
_MOST_INPUTS = 25


def page_of(result: BacktestResult, verdict: VerdictEntry | None = None) -> Page:
    """Return everything that the report shows of a result, and of the latest verdict on its strategy if it is given."""
    name = result.manifest.strategy.name
    several = len(result.symbols) > 1
    timeline = _timeline(result)
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
        headline="" if verdict is None else verdict_headline(name, verdict),
        description=result.manifest.strategy.description or "",
        warnings=[sentence(warning) for warning in result.warnings],
        cards=cards_of(result),
        timeline=timeline.labels,
        wide_figures=_wide_figures(result, timeline),
        tables=account_tables(result),
        trade_columns=trade_columns(several),
        trades=trade_rows(result, several),
        trades_note=note,
        no_trades=result.no_trades,
        metric_columns=("strategy", "buy and hold", *(baseline.name for baseline in result.baselines)),
        metrics=_metrics(result),
        metrics_note=" ".join(sentence(f"{baseline.name} {baseline.statement}") for baseline in result.baselines),
        paired_figures=[*_monthly_pictures(result), *_paired_figures(result)],
        blocks=(
            *(() if verdict is None else (verdict_block(name, verdict),)),
            *facts.blocks(result),
            Block("Strategy file", text=result.strategy_text),
        ),
    )


def _subtitle(result: BacktestResult) -> str:
    symbols = [symbol.symbol for symbol in result.symbols]
    names = named_market(", ".join(symbols) if len(symbols) <= 6 else f"{len(symbols)} symbols", result.world)
    bars = len(result.equity["time"])
    span = f"{format_time(result.start)} to {format_end(result.end)} UTC"
    return f"{names}, {result.timeframe}, {span}, {bars:,} bars. {sentence(result.period)}"


def sentence(text: str) -> str:
    """Return a text with a capital letter and a full stop."""
    return text[:1].upper() + text[1:].rstrip(".") + "." if text else ""


def cards_of(result: BacktestResult) -> list[Card]:
    """Return the large numbers at the top of the report."""
    metrics, benchmark = result.metrics, result.benchmark
    rivals = [benchmark, *(baseline.metrics for baseline in result.baselines)]

    def card(name: str, label: str = "") -> Card:
        info = next(info for info in METRICS if info.name == name)
        other = benchmark.get(name)
        return Card(
            label or info.label,
            format_metric(name, metrics.get(name)),
            tone_of(name, metrics, rivals),
            "" if other is None else f"buy and hold {format_metric(name, other)}",
        )

    low, high = metrics.get("sharpe_low"), metrics.get("sharpe_high")
    interval = "" if low is None or high is None else f", 95% {low:.1f} to {high:.1f}"
    return [
        card("total_return"),
        card("sharpe", f"Sharpe ratio{interval}"),
        card("max_drawdown"),
        card("exposure"),
        card("trades"),
        card("win_rate"),
        card("profit_factor"),
        card("costs"),
    ]


def _timeline(result: BacktestResult) -> Timeline:
    # With many symbols each price figure gets fewer points, to limit the size of the page.
    shared = figures.MOST_PLACES if len(result.symbols) <= 3 else figures.MOST_PLACES // 2
    return Timeline.of(result.equity["time"], shared)


def account_pictures(result: BacktestResult) -> tuple[Timeline, list[Picture]]:
    """Return the report's axis of time, and on it equity, drawdown, the prices of one symbol, and exposure."""
    timeline = _timeline(result)
    pictures = {picture.key: picture for picture in _wide_figures(result, timeline)}
    price = next(key for key in pictures if key.startswith("price-"))
    return timeline, [pictures[key] for key in ("equity", "drawdown", price, "exposure")]


def _wide_figures(result: BacktestResult, timeline: Timeline) -> list[Picture]:
    equity = result.equity
    merged = _merged(timeline, "with their lowest, highest and last value")
    positive = bool((equity["equity"] > 0).all() and (equity["benchmark"] > 0).all())
    return [
        Picture(
            "equity",
            "Equity",
            figures.equity_figure(timeline, equity["equity"], equity["benchmark"]),
            f"At the close of each bar, compared with buying at the first bar and holding, at the same costs.{merged}",
            time=True,
            log=positive,
        ),
        Picture("drawdown", "Drawdown", figures.drawdown_figure(timeline, equity["drawdown"]), time=True),
        *_price_pictures(result, timeline),
        Picture(
            "exposure",
            "Exposure",
            figures.exposure_figure(timeline, *_exposures(result)),
            "Value of the open positions at the close of each bar, as a share of the equity; short positions below 0.",
            time=True,
        ),
        *_rolling_pictures(result, timeline),
    ]


def _merged(timeline: Timeline, drawn: str) -> str:
    if timeline.width == 1:
        return ""
    return (
        f" Each point shows {timeline.width:,} successive bars of {len(timeline.time):,}, {drawn}; zooming in shows no"
        " more detail."
    )


def _exposures(result: BacktestResult) -> tuple[np.ndarray, np.ndarray]:
    """Return the value of all long and of all short positions as shares of the equity, float64 ``(n,)`` each."""
    time, equity = result.equity["time"], result.equity["equity"]
    long, short = np.zeros(len(time)), np.zeros(len(time))
    for symbol in result.symbols:
        own, value = symbol.positions["time"], symbol.positions["value"]
        if len(own) != len(time):
            # Between bars of this symbol, a position keeps its value at the symbol's last close.
            row = np.searchsorted(own, time, side="right") - 1
            value = np.where(row < 0, 0.0, value[row])
        long += np.maximum(value, 0.0)
        short += np.minimum(value, 0.0)
    known = equity > 0
    return tuple(np.divide(each, equity, out=np.full(len(time), np.nan), where=known) for each in (long, short))


def _rolling_pictures(result: BacktestResult, timeline: Timeline) -> list[Picture]:
    periods = result.metrics["periods_per_year"]
    window = rolling_window(len(timeline.time), periods)
    if window is None:
        return []
    name, bars = window
    own, benchmark = (_rolling(result, column, bars, periods) for column in ("equity", "benchmark"))
    if np.isnan(own).all():
        return []
    return [
        Picture(
            "rolling",
            "Rolling Sharpe ratio",
            figures.rolling_figure(timeline, own, benchmark),
            f"Over the last {bars:,} bars (a {name}) at each bar, annualized like the Sharpe ratio of the backtest.",
            time=True,
        )
    ]


def _rolling(result: BacktestResult, column: str, window: int, periods: float) -> np.ndarray:
    equity = result.equity[column]
    returns = AccountCurve(result.equity["time"], equity, result.settings.capital, periods).returns
    rolled = np.full(len(equity), np.nan)
    # Returns end at the bar on which the equity is 0 or below.
    rolled[: len(returns)] = rolling_sharpe(returns, window, periods)
    return rolled


def _price_pictures(result: BacktestResult, timeline: Timeline) -> list[Picture]:
    traded = {symbol.symbol: 0 for symbol in result.symbols}
    names, counts = np.unique(result.trades["symbol"].astype(str), return_counts=True)
    traded |= dict(zip(names.tolist(), counts.tolist(), strict=True))
    # The symbols with the most trades are chosen, and drawn in the order of the result.
    chosen = set(sorted(traded, key=lambda name: -traded[name])[:_MOST_PRICE_FIGURES])
    most = figures.MOST_TRADES // len(chosen)
    pictures: list[Picture] = []
    for number, symbol in enumerate(result.symbols):
        if symbol.symbol not in chosen:
            continue
        note = ""
        if len(chosen) < len(result.symbols) and not pictures:
            note = f" The {_MOST_PRICE_FIGURES} symbols with the most trades of {len(result.symbols)} are drawn."
        pictures.append(_price_picture(symbol, number, result.trades, timeline, most, note))
    return pictures


def _price_picture(
    symbol: SymbolResult, number: int, trades: Table, timeline: Timeline, most: int, note: str
) -> Picture:
    own = np.flatnonzero(trades["symbol"] == symbol.symbol)
    drawn = own
    if len(own) > most:
        drawn = np.sort(own[np.argsort(-np.abs(trades["net"][own]), kind="stable")[:most]])
        note = f" Of {len(own):,} trades, the {most:,} with the largest profits and losses are drawn.{note}"
    shown = "Candles, hollow where the close is not below the open" if "open" in symbol.positions else "Closes"
    return Picture(
        f"price-{number}",
        f"{PRICES}{symbol.symbol}",
        figures.price_figure(timeline, symbol.positions, {name: column[drawn] for name, column in trades.items()}),
        f"{shown}; entries and exits at the prices of their fills.{note}{_merged(timeline, 'as one candle')}",
        time=True,
        log=bool((symbol.positions["low" if "low" in symbol.positions else "close"] > 0).all()),
    )


def _monthly_pictures(result: BacktestResult) -> list[Picture]:
    monthly = result.metrics.get("monthly_returns")
    if not monthly:
        return []
    note = "In percent, by calendar month (UTC); the first and the last month may be incomplete."
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
                f"Labels and predictions on the {part} part of the training data: count, and share of the row.",
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
        f"Increase of the {words} when one input is shuffled, as a share of the {words}; error bars: standard deviation"
        f" over {importance['repeats']} shuffles."
    )
    changes = {feature["id"]: relative_change(importance, feature, score) for feature in ranked}
    if len(ranked) < len(features):
        note += f" The {len(ranked)} most important of {len(features)} inputs."
    return Picture(
        "importance",
        "What the model relies on",
        figures.importance_figure(
            {name: mean for name, (mean, _) in changes.items()},
            {name: std for name, (_, std) in changes.items()},
            f"increase of {words}",
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
            note = f"Reads {fuzzy_set.indicator}, which has no values in the backtest."
        elif share := dead_zone_share(fuzzy_set, histogram):
            note += f" All memberships are 0 on about {share:.1%} of bars."
        pictures.append(
            Picture(
                f"membership-{number}",
                f"Fuzzy set {name}, {timeframe}",
                membership_figure(fuzzy_set, histogram),
                note,
            )
        )
    return pictures
