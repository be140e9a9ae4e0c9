"""Printing of the demo, and its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ktrdr.core.cli.output import print_table

if TYPE_CHECKING:
    from ktrdr.core.backtesting.results import BacktestResult
    from ktrdr.core.data.bars import Bars
    from ktrdr.core.training.result import TrainingResult
    from ktrdr.core.validation.edge import Edge
    from ktrdr.core.validation.evaluation_result import EvaluationFacts

__all__ = ["Half", "print_data", "print_half", "print_summary"]

_SHOWN = ("total_return", "sharpe", "max_drawdown", "trades", "win_rate", "costs")


@dataclass(frozen=True)
class Half:
    """One half of the demo: a market, and what the strategy does there.

    Attributes:
        bars: all bars of the market.
        facts: the evaluation.
        page: report of the evaluation.
        trained: the training.
        result: the backtest.
        directory: files of the backtest.
        report: report of the backtest.
    """

    bars: Bars
    facts: EvaluationFacts
    page: Path
    trained: TrainingResult
    result: BacktestResult
    directory: Path
    report: Path

    @cached_property
    def edge(self) -> Edge:
        """Conditions of an edge, as the evaluation meets them."""
        from ktrdr.core.validation.edge import edge_of

        return edge_of(self.facts)

    @property
    def sentence(self) -> str:
        """Whether an edge was found, and whether the backtest confirms it."""
        from ktrdr.core.validation.edge import edge_sentence

        known = bool(self.bars.world)
        name = f"{'synthetic ' if known else ''}{self.bars.symbol}"
        return edge_sentence(name, self.edge, self.result.metrics, self.result.benchmark, known=known)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        from ktrdr.core.runs.run_store import run_name

        return {
            "data": {
                "symbol": self.bars.symbol,
                "timeframe": self.bars.timeframe.name,
                "bars": len(self.bars),
                "start": str(self.bars.time[0]),
                "end": str(self.bars[-1:].close_time[0]),
                "world": self.bars.world,
            },
            "evaluation": self.facts.model_dump(mode="json"),
            "edge": {**self.edge.to_json(), "sentence": self.sentence},
            "training": self.trained.to_json(),
            "backtest": {**self.result.to_json(), "run": run_name(self.directory)},
            "bundle": str(self.trained.bundle.directory),
            "trades": str(self.directory / "trades.parquet"),
            "equity": str(self.directory / "equity.parquet"),
            "evaluation_report": str(self.page),
            "report": str(self.report),
        }


def print_data(number: int, bars: Bars) -> None:
    """Print which market the next half is about, before it is run."""
    from ktrdr.core.synthetic.known_edge import known_edge_market
    from ktrdr.core.synthetic.processes import PROCESSES

    span = f"{len(bars):,} hourly bars, {str(bars.time[0])[:10]} to {str(bars.time[-1])[:10]}"
    if not bars.world:
        click.secho(f"\n{number}. Real prices: {bars.symbol}", bold=True)
        click.echo(f"{span}. Has the strategy an edge there?")
        return
    market = known_edge_market()
    click.secho(f"\n{number}. A known edge: {bars.symbol}, a SYNTHETIC market", bold=True)
    click.echo(f"{span}. Process {market.process}, seed {market.seed}:")
    click.echo(f"{PROCESSES[market.process].description}. The edge is known, as the formula is.")


def print_half(half: Half) -> None:
    """Print what came of one half."""
    from ktrdr.core.backtesting.metrics import METRICS, format_metric
    from ktrdr.core.data.times import format_end, format_time, last_day
    from ktrdr.core.runs.run_store import run_name
    from ktrdr.core.validation.evaluation_sentences import accounts_in_words

    facts, result, account = half.facts, half.result, half.facts.account
    click.echo(
        f"\nEvaluated on {facts.period.start:%Y-%m-%d} to {last_day(facts.period.end)}: {len(facts.folds)} folds,"
        f" {accounts_in_words(facts)};\ncommission {account['commission']:.3%} and slippage"
        f" {account['slippage']:.3%} per side."
    )
    columns = ["found", "needed", "better than", "met"]
    print_table(
        ["out of sample", *columns],
        [
            [each.measure, each.found, each.needed, each.rival, "yes" if each.met else "no"]
            for each in half.edge.conditions
        ],
        whole=["out of sample", *columns],
    )
    click.echo(
        f"Trained {half.trained.bundle.ref}, and traded the bars after its training data,\n"
        f"{format_time(result.start)} to {format_end(result.end)} UTC, with the same costs."
    )
    names = [info for info in METRICS if info.name in _SHOWN]
    columns = ["strategy", "buy and hold"]
    print_table(
        ["later bars", *columns],
        [
            [info.label, *(format_metric(info.name, own.get(info.name)) for own in (result.metrics, result.benchmark))]
            for info in names
        ],
        right=columns,
    )
    click.secho(half.sentence, bold=True)
    click.echo(f"\nEvaluation  {facts.evaluation}: {half.page}")
    click.echo(f"Model       {half.trained.bundle.ref}: {half.trained.bundle.directory}")
    click.echo(f"Backtest    {run_name(half.directory)}: {half.report}")


def print_summary(halves: Sequence[Half]) -> None:
    """Print how the halves were judged, and where to go from here."""
    click.secho("\nIn short", bold=True)
    for half in halves:
        click.echo(half.sentence)
    click.echo(
        "An edge is found only where all four conditions are met; how often chance meets\nthem is shown in"
        " docs/explanation/validation.md.\nOpen the reports in a browser: they need no network."
    )
    click.echo(f"Next: `ktrdr explain {halves[-1].trained.bundle.ref}` shows why one decision was made.")
