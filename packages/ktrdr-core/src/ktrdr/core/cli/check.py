"""`ktrdr check`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ktrdr.core.features.causality import CheckReport, Finding

__all__ = ["check"]


@click.command()
@click.argument("strategy_file", metavar="STRATEGY", type=click.Path(path_type=Path))
@click.option("--symbol", help="Symbol of the bars to check on.  [default: the strategy's first symbol]")
@click.option("--sample", is_flag=True, help="Check on the shipped EURUSD sample instead of stored data.")
@click.option(
    "--bars",
    "cuts",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Number of random bars at which the data are cut off, and changed from there on.",
)
@click.option(
    "--last",
    type=click.IntRange(20),
    default=20_000,
    show_default=True,
    help="Check on this many of the most recent base bars.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random bars.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    strategy_file: Path, symbol: str | None, sample: bool, cuts: int, last: int, seed: int, as_json: bool
) -> None:
    """Check a strategy's features and labels for look-ahead.

    Cuts the data off at random bars, or gives the bars from there on other prices, computes every feature and label
    again, and compares: a value that changes depends on later bars. Then starts the data at random bars, to measure how
    much history each feature needs. Exit status 1 means that a feature or label depends on the future.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.strategy.loader import load_strategy
    from ktrdr.core.work.progress_display import progress_display
    from ktrdr.core.workflows.run_check import check as check_strategy

    loaded = load_strategy(strategy_file)
    with progress_display(quiet=as_json) as progress:
        report = check_strategy(
            loaded, symbol=symbol, sample=sample, cuts=cuts, last=last, seed=seed, progress=progress
        )
    if as_json:
        print_json({"strategy": loaded.strategy.name, **report.to_json()})
    else:
        _print(loaded.strategy.name, report)
    if report.leaking:
        sys.exit(1)


def _print(name: str, report: CheckReport) -> None:
    from ktrdr.core.cli.output import print_table
    from ktrdr.core.data.times import last_day
    from ktrdr.core.names import named_market

    click.echo(
        f"{name} on {named_market(report.symbol, report.world)} {report.timeframe}: {report.bars:,} bars from"
        f" {_day(report.start)} to {last_day(report.end)}, cut off at {report.cuts} and started at {report.starts}"
        f" random bars (seed {report.seed})"
    )
    rows = [_row(finding, report) for finding in report.features]
    if report.labels:
        rows.append(_row(report.labels, report))
    print_table(["feature", "look-ahead", "bars of history"], rows, right=["bars of history"])
    for finding in (*report.features, *((report.labels,) if report.labels else ())):
        if finding.example:
            time, without, with_future = finding.example
            known = "with other bars after that time" if finding.other_bars else "with the bars up to that time"
            later = "the real ones" if finding.other_bars else "later bars"
            click.echo(
                f"{finding.id}: at {str(time)[:16]} it is {_number(without)} {known}, and {_number(with_future)} with"
                f" {later}"
            )
    if report.leaking:
        click.echo(f"Look-ahead found in {len(report.leaking)}: {', '.join(report.leaking)}.")
    else:
        click.echo("No look-ahead found.")
    slow = [finding.settles_after for finding in report.features]
    if None in slow:
        click.echo(
            f"Features that did not settle within {report.history_seen:,} bars depend on the first bar of the data;"
            " training and backtest agree on them only if their data start at the same bar."
        )
    else:
        needed = max(value for value in slow if value is not None)
        click.echo(
            f"All features settle to 1e-6 within {needed:,} bars of history; rows are used from bar {report.warmup:,}"
            " on."
        )
        if needed > report.warmup:
            click.echo(f"To use settled rows only, set `training_data.history_required` to {needed}.")


def _row(finding: Finding, report: CheckReport) -> list[str]:
    if finding.leaks:
        plural = "bar" if finding.bars_ahead == 1 else "bars"
        verdict = f"YES, {finding.bars_ahead:,} {plural} ahead, at {finding.leaks} of {report.cuts} cuts"
    elif finding.id == "label" and report.look_ahead is not None:
        verdict = f"none beyond the {report.look_ahead:,} bars it declares"
    else:
        verdict = "none"
    history = f"> {report.history_seen:,}" if finding.settles_after is None else f"{finding.settles_after:,}"
    return [finding.id, verdict, history]


def _day(time: Any) -> str:
    return str(time)[:10]


def _number(value: float) -> str:
    return "undefined" if value != value else f"{value:.6g}"
