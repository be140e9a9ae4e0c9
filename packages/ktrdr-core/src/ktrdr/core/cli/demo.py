"""`ktrdr demo`: training and backtest of a strategy on a year of real data."""

from __future__ import annotations

from pathlib import Path

import click

from ktrdr.core.cli.setting_options import setting_options
from ktrdr.core.jobs.job_settings import BacktestSettings, TrainingSettings

__all__ = ["demo"]

# 0.2 basis points each, per side: about a quarter of a pip of EURUSD.
_COMMISSION = _SLIPPAGE = 0.00002


@click.command()
@setting_options(TrainingSettings, only=("seed", "epochs"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def demo(settings: TrainingSettings, as_json: bool) -> None:
    """Train and backtest a strategy on a year of real data.

    Imports the EURUSD hourly bars of 2017 that come with KTRDR, trains a small network on January to September that
    reads RSI and MACD through fuzzy sets, and trades the unseen rest of the year. Needs a plugin that trains `mlp`:
    `pip install ktrdr-ml-torch`.
    """
    from importlib.resources import as_file, files

    from ktrdr.core.cli.backtest import print_result
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.cli.train import print_trained
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.data.sample import install_sample
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.core.report import write_report
    from ktrdr.core.runs.run_store import run_name, store_run
    from ktrdr.core.strategy.loader import load_strategy
    from ktrdr.core.work.interrupt import cancel_on_interrupt
    from ktrdr.core.work.progress_display import progress_display
    from ktrdr.core.workflows.run_backtest import backtest
    from ktrdr.core.workflows.run_training import train

    plugins = default_manager()
    with as_file(files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml")) as path:
        loaded = load_strategy(path, plugins=plugins)
    # Check the backend before anything is written, so that a missing or broken one is reported at once.
    learner = loaded.strategy.model.learner
    backend, _ = plugins.backend_for(learner.type, learner.backend)
    plugins.validate(backend.name)
    bars = install_sample(default_store())
    if not as_json:
        click.echo(
            f"Data: {len(bars):,} hourly bars of {bars.symbol}, {str(bars.time[0])[:10]} to {str(bars.time[-1])[:10]};"
            f" training on {loaded.strategy.training_data.date_range.start} to"
            f" {loaded.strategy.training_data.date_range.end}."
        )
    with cancel_on_interrupt() as cancellation, progress_display(quiet=as_json) as progress:
        trained = train(loaded, settings, plugins=plugins, progress=progress, cancellation=cancellation)
    if not as_json:
        print_trained(trained)
    costs = BacktestSettings(commission=_COMMISSION, slippage=_SLIPPAGE)
    with cancel_on_interrupt() as cancellation, progress_display(quiet=as_json) as progress:
        result = backtest(trained.bundle, costs, plugins=plugins, progress=progress, cancellation=cancellation)
    reports: list[Path] = []
    directory = store_run(result, then=lambda place: reports.append(write_report(result, place / "report.html")))
    report = reports[0]
    if as_json:
        print_json(
            {
                "training": trained.to_json(),
                "backtest": {**result.to_json(), "run": run_name(directory)},
                "bundle": str(trained.bundle.directory),
                "trades": str(directory / "trades.parquet"),
                "equity": str(directory / "equity.parquet"),
                "report": str(report),
            }
        )
        return
    print_result(result, directory, report)
    click.echo(f"Bundle  {trained.bundle.directory}")
    click.echo(f"Trades  {directory / 'trades.parquet'}")
    click.echo(f"Equity  {directory / 'equity.parquet'}")
