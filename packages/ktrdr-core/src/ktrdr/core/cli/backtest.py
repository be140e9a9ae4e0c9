"""`ktrdr backtest` and `ktrdr compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ktrdr.core.cli.remote_server import server_option
from ktrdr.core.cli.setting_options import setting_options
from ktrdr.core.jobs.job_settings import BacktestSettings

if TYPE_CHECKING:
    from ktrdr.core.backtesting.results import BacktestResult

__all__ = ["backtest", "compare", "print_result"]

# Metrics that are printed; the report, metrics.json and --json have all.
_SHOWN = (
    "total_return", "annual_return", "volatility", "sharpe", "sharpe_low", "sharpe_high", "probabilistic_sharpe",
    "deflated_sharpe", "trials", "sortino", "calmar", "max_drawdown", "longest_drawdown_days", "value_at_risk_95",
    "conditional_value_at_risk_95", "alpha", "beta", "exposure", "trades", "win_rate", "profit_factor", "expectancy",
    "sqn", "average_holding_bars", "average_mae", "average_mfe", "turnover", "costs", "net_profit", "final_equity",
)  # fmt: skip


@click.command()
@click.argument("model")
@setting_options(BacktestSettings)
@click.option(
    "--report",
    is_flag=False,
    flag_value="",
    metavar="[PATH]",
    help="Write the HTML report, to PATH or beside the other files.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Directory for the files of the run.  [default: below $KTRDR_HOME/runs]",
)
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def backtest(
    model: str,
    settings: BacktestSettings,
    report: str | None,
    output: Path | None,
    server: str | None,
    as_json: bool,
) -> None:
    """Trade a trained model on data it has not seen.

    MODEL is `name` for the latest version of a model, `name/3` for one, or a strategy file for the latest model that
    was trained from it. Decisions are made at the close of a bar and filled at the open of the next.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.models.model_store import default_model_store
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.core.runs.run_store import store_run
    from ktrdr.core.work.interrupt import cancel_on_interrupt
    from ktrdr.core.work.progress_display import progress_display
    from ktrdr.core.workflows.find_model import find_model
    from ktrdr.core.workflows.run_backtest import backtest as trade

    _check_free(output)
    if server is not None:
        result = _backtest_on_server(server, model, settings, quiet=as_json)
    else:
        plugins = default_manager()
        bundle = find_model(model, default_model_store(), plugins)
        with cancel_on_interrupt() as cancellation, progress_display(quiet=as_json) as progress:
            result = trade(bundle, settings, plugins=plugins, progress=progress, cancellation=cancellation)
    written: list[Path] = []

    def add_report(directory: Path) -> None:
        from ktrdr.core.report import write_report
        from ktrdr.core.report.strategy_verdict import latest_verdict_of

        place = Path(report) if report else directory / "report.html"
        written.append(write_report(result, place, verdict=latest_verdict_of(result)))

    directory = store_run(result, output, then=None if report is None else add_report)
    if as_json:
        files = {"directory": str(directory), "report": str(written[0]) if written else None}
        print_json({**result.to_json(), "run": _run_name(directory), **files})
    else:
        print_result(result, directory, written[0] if written else None)


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(runs: tuple[str, ...], as_json: bool) -> None:
    """Compare backtest runs, each with the number of trials that are known by now.

    RUN is the name that `ktrdr backtest` printed, such as `neuro_mean_reversion/1-2`, or the directory of a run.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.runs.run_store import find_run
    from ktrdr.core.workflows.compare_runs import summary_by_now

    found = [find_run(run) for run in runs]
    summaries = {_run_name(directory): summary_by_now(directory) for directory in found}
    if as_json:
        print_json(summaries)
        return
    _print_comparison(summaries)


def print_result(result: BacktestResult, directory: Path, report: Path | None) -> None:
    """Print the result of a backtest, for a person."""
    from ktrdr.core.backtesting.signals import passed_in_words
    from ktrdr.core.cli.output import print_warnings
    from ktrdr.core.cli.trial_lines import print_trial_count
    from ktrdr.core.data.times import format_end, format_time
    from ktrdr.core.names import named_market

    manifest = result.manifest
    symbols = named_market(" ".join(symbol.symbol for symbol in result.symbols), result.world)
    bars = sum(symbol.bars for symbol in result.symbols)
    click.echo(
        f"\n{manifest.ref}: {bars:,} bars of {symbols} {result.timeframe}, {format_time(result.start)} to"
        f" {format_end(result.end)} UTC"
    )
    click.echo(f"Period: {result.period}.")
    print_warnings(result.warnings)
    columns = {"strategy": result.metrics, "buy and hold": result.benchmark}
    columns |= {baseline.name: baseline.metrics for baseline in result.baselines}
    _print_metrics(columns)
    for baseline in result.baselines:
        click.echo(f"{baseline.name.capitalize()}: {baseline.statement}.")
    print_trial_count(result.trial_count)
    for symbol in result.symbols:
        click.echo(f"Decisions on {symbol.symbol}: {passed_in_words(symbol.passed)}.")
    if result.no_trades:
        click.secho(result.no_trades, fg="yellow")
    click.echo(f"\nRun     {_run_name(directory)}")
    click.echo(f"Files   {directory}")
    if report is not None:
        click.echo(f"Report  {report}")


def _backtest_on_server(server: str, model: str, settings: BacktestSettings, *, quiet: bool) -> BacktestResult:
    """Return the result of a run on a server; its files are kept here too, as those of a local run."""
    from ktrdr.core.cli.remote_server import running_on_server
    from ktrdr.core.client import Client

    with Client(server) as client, running_on_server(client, quiet=quiet) as runs:
        return runs.backtest(model, settings)


def _check_free(output: Path | None) -> None:
    """Raise an error if the directory is not free, before the backtest starts."""
    from ktrdr.core.errors import BadInputError

    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise BadInputError(f"--output {output} exists already and is not an empty directory; choose another path")


def _run_name(directory: Path) -> str:
    from ktrdr.core.runs.run_store import run_name

    return run_name(directory)


def _print_metrics(columns: Mapping[str, Mapping[str, Any]], head: Sequence[Sequence[str]] = ()) -> None:
    from ktrdr.core.backtesting.metrics import METRICS, format_metric
    from ktrdr.core.cli.output import print_table

    rows = [
        [info.label, *(format_metric(info.name, values.get(info.name)) for values in columns.values())]
        for info in METRICS
        if info.name in _SHOWN
    ]
    print_table(["", *columns], [*head, *rows], right=list(columns))


def _percent(share: float) -> str:
    return f"{share * 100:.4g}%"


def _print_comparison(summaries: Mapping[str, Mapping[str, Any]]) -> None:
    from ktrdr.core.cli.output import print_warnings
    from ktrdr.core.cli.trial_lines import print_trial_count
    from ktrdr.core.data.times import last_day, parse_time
    from ktrdr.core.names import named_market
    from ktrdr.core.trials.trial_count import TrialCount

    head = [
        ["model", *(summary["model"] for summary in summaries.values())],
        # The result of an older version has no world.
        ["symbols", *(named_market(" ".join(each["symbols"]), each.get("world", "")) for each in summaries.values())],
        ["from", *(summary["start"][:10] for summary in summaries.values())],
        ["to", *(last_day(parse_time(summary["end"])) for summary in summaries.values())],
        ["commission", *(_percent(summary["settings"]["commission"]) for summary in summaries.values())],
        ["slippage", *(_percent(summary["settings"]["slippage"]) for summary in summaries.values())],
    ]
    _print_metrics({name: summary["metrics"] for name, summary in summaries.items()}, head)
    for name, summary in summaries.items():
        if summary.get("trial_count") is not None:
            print_trial_count(TrialCount.from_json(summary["trial_count"]), name)
        print_warnings(summary["warnings"], f"{name}: ")
        if summary["no_trades"]:
            click.secho(f"{name}: {summary['no_trades']}", fg="yellow")
    if len({(*summary["symbols"], summary["start"], summary["end"]) for summary in summaries.values()}) > 1:
        click.secho("These runs trade different bars: their metrics cannot be compared directly.", fg="yellow")
