"""`ktrdr demo`: the same strategy on real prices, and on a market whose edge is known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ktrdr.core.cli.setting_options import setting_options
from ktrdr.core.jobs.job_settings import AccountSettings, BacktestSettings, EvaluationSettings, TrainingSettings

if TYPE_CHECKING:
    from ktrdr.core.cli.demo_lines import Half
    from ktrdr.core.data.bars import Bars
    from ktrdr.core.plugins.manager import PluginManager
    from ktrdr.core.strategy.loader import LoadedStrategy
    from ktrdr.core.work.cancellation import Cancellation
    from ktrdr.core.work.progress import Progress

__all__ = ["demo"]

# Three seeds show how much is luck, and leave the demo short.
_SEEDS = 3
# Steps that take time; what the others tell is in the results.
_STEPS = ("training", "prediction", "metrics", "importance", "simulation")
# 0.2 basis points each, per side: about a quarter of a pip of EURUSD.
_REAL = AccountSettings(commission=0.00002, slippage=0.00002)
# The edge of the synthetic market is known to be larger than five times as much.
_SYNTHETIC = AccountSettings(commission=0.0001, slippage=0.0001)


@click.command()
@setting_options(TrainingSettings, only=("seed", "epochs"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def demo(settings: TrainingSettings, as_json: bool) -> None:
    """Run a strategy on real prices, and on a market whose edge is known.

    Evaluates, trains and backtests the same strategy twice: on hourly EURUSD bars of 2017, which come with KTRDR, and
    on synthetic hourly bars of a process whose price returns to its mean. Each half ends with whether an edge was
    found, and why. Needs a plugin that trains `mlp`: `pip install ktrdr-ml-torch`.
    """
    from importlib.resources import as_file, files

    from ktrdr.core.cli.demo_lines import print_data, print_half, print_summary
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.data.sample import install_sample
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.core.strategy.loader import load_strategy
    from ktrdr.core.synthetic.known_edge import install_known_edge
    from ktrdr.core.work.interrupt import cancel_on_interrupt

    plugins = default_manager()
    with as_file(files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml")) as path:
        loaded = load_strategy(path, plugins=plugins)
    # Check the backend before anything is written, so that a missing or broken one is reported at once.
    learner = loaded.strategy.model.learner
    backend, _ = plugins.backend_for(learner.type, learner.backend)
    plugins.validate(backend.name)
    store = default_store()
    synthetic, real = install_known_edge(store), install_sample(store)
    halves = []
    for number, (bars, account) in enumerate(((real, _REAL), (synthetic, _SYNTHETIC)), 1):
        if not as_json:
            print_data(number, bars)
        with cancel_on_interrupt() as cancellation:
            half = _run(loaded, bars, settings, account, plugins, cancellation, quiet=as_json)
        if not as_json:
            print_half(half)
        halves.append(half)
    if as_json:
        print_json({"real": halves[0].to_json(), "known_edge": halves[1].to_json()})
    else:
        print_summary(halves)


def _run(
    loaded: LoadedStrategy,
    bars: Bars,
    settings: TrainingSettings,
    account: AccountSettings,
    plugins: PluginManager,
    cancellation: Cancellation,
    *,
    quiet: bool,
) -> Half:
    """Evaluate, train and backtest on the bars of one market; return the results and where they are stored."""
    from ktrdr.core.cli.demo_lines import Half
    from ktrdr.core.report import write_report
    from ktrdr.core.report.evaluation_page import write_evaluation_page
    from ktrdr.core.report.strategy_verdict import latest_verdict_of
    from ktrdr.core.runs.run_store import store_run
    from ktrdr.core.validation.stored_evaluation import evaluation_directory, store_evaluation
    from ktrdr.core.workflows.run_backtest import backtest
    from ktrdr.core.workflows.run_evaluation import evaluate
    from ktrdr.core.workflows.run_training import train

    of_the_market = settings.model_copy(update={"symbols": (bars.symbol,)})
    costs = {"commission": account.commission, "slippage": account.slippage}
    with _main_steps(quiet=quiet) as progress:
        judged = of_the_market.to(EvaluationSettings, seeds=_SEEDS, **costs)
        evaluation = store_evaluation(
            evaluate(loaded, judged, plugins=plugins, progress=progress, cancellation=cancellation)
        )
    page = evaluation_directory(evaluation.facts.evaluation) / "report.html"
    write_evaluation_page(evaluation, page)
    with _main_steps(quiet=quiet) as progress:
        trained = train(loaded, of_the_market, plugins=plugins, progress=progress, cancellation=cancellation)
    with _main_steps(quiet=quiet) as progress:
        traded = BacktestSettings(**costs)
        result = backtest(trained.bundle, traded, plugins=plugins, progress=progress, cancellation=cancellation)
    reports: list[Path] = []
    verdict = latest_verdict_of(result)
    directory = store_run(
        result, then=lambda place: reports.append(write_report(result, place / "report.html", verdict=verdict))
    )
    return Half(bars, evaluation.facts, page, trained, result, directory, reports[0])


@contextmanager
def _main_steps(*, quiet: bool) -> Iterator[Progress]:
    """Yield a receiver of progress that draws only the steps that take time."""
    from ktrdr.core.work.progress_display import progress_display

    with progress_display(quiet=quiet) as progress:
        yield lambda event: progress(event) if event.step in _STEPS else None
