"""`ktrdr evaluate`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ktrdr.core.cli.remote_server import server_option
from ktrdr.core.cli.setting_options import given_options, setting_options
from ktrdr.core.jobs.job_settings import EvaluationSettings

if TYPE_CHECKING:
    from ktrdr.core.errors import CancelledError
    from ktrdr.core.validation.evaluation_parts import Evaluation

__all__ = ["evaluate"]


@click.command()
@click.argument("strategy_file", metavar="STRATEGY", type=click.Path(path_type=Path))
@setting_options(EvaluationSettings)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue an interrupted run of the same evaluation. Without --resume what it has trained is discarded.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where the HTML report is written.  [default: beside the other files of the evaluation]",
)
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    strategy_file: Path,
    settings: EvaluationSettings,
    resume: bool,
    report: Path | None,
    server: str | None,
    as_json: bool,
) -> None:
    """Evaluate a strategy on bars that its models have not seen, with intervals.

    Splits the data into folds as the section `validation` of the strategy says, trains a model on each with several
    seeds, and trades what they predict out of sample. Without the section: 6 groups in time, of which every 2 are
    tested. Ctrl+C keeps the trainings that are finished, from which --resume continues.
    """
    from ktrdr.core.cli.evaluation_lines import print_evaluation
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.cli.report_place import check_report_place
    from ktrdr.core.errors import CancelledError
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.core.report.evaluation_page import write_evaluation_page
    from ktrdr.core.strategy.loader import load_strategy
    from ktrdr.core.validation.stored_evaluation import evaluation_directory, store_evaluation
    from ktrdr.core.work.interrupt import cancel_on_interrupt
    from ktrdr.core.work.progress_display import progress_display
    from ktrdr.core.workflows.run_evaluation import evaluate as evaluate_strategy

    check_report_place(report)
    plugins = default_manager()
    # A server validates the strategy with its own plugins.
    loaded = load_strategy(strategy_file, plugins=plugins, plugin_may_be_missing=server is not None)
    for warning in loaded.warnings:
        click.echo(f"Warning: {warning.located(str(strategy_file))}", err=True)
    there = ""
    if server is not None:
        result = _evaluate_on_server(server, loaded.text, settings, resume=resume, quiet=as_json)
        there = result.facts.evaluation
    else:
        stopped: CancelledError | None = None
        with cancel_on_interrupt() as cancellation, progress_display(quiet=as_json) as progress:
            try:
                result = evaluate_strategy(
                    loaded, settings, resume=resume, plugins=plugins, progress=progress, cancellation=cancellation
                )
            except CancelledError as error:
                stopped = error
        if stopped is not None:
            _leave(stopped, kept=stopped.checkpoint is not None)
    stored = store_evaluation(result)
    directory = evaluation_directory(stored.facts.evaluation)
    written = write_evaluation_page(stored, directory / "report.html" if report is None else report)
    if as_json:
        print_json(
            {**stored.facts.model_dump(mode="json"), "directory": str(directory), "report": str(written)}
            | ({"evaluation_on_server": there} if there else {})
        )
        return
    print_evaluation(stored.facts)
    click.echo(f"\nEvaluation  {stored.facts.evaluation}{f' (on {server}: {there})' if there else ''}")
    click.echo(f"Files       {directory}")
    click.echo(f"Report      {written}")
    where = ["--server", server] if server is not None else []
    train = shlex.join(["ktrdr", "train", "--from", there or stored.facts.evaluation, *where])
    click.echo(f"Next: `{train}` trains the model to use.")


def _command(context: click.Context) -> str:
    """Return the command line that resumes this run."""
    words = ["ktrdr", "evaluate", str(context.params["strategy_file"])]
    words += given_options(context, EvaluationSettings)
    for name in ("report", "server"):
        if context.params[name] is not None:
            words += [f"--{name}", str(context.params[name])]
    return shlex.join([*words, "--resume"])


def _leave(error: CancelledError, *, kept: bool) -> NoReturn:
    """Say how to continue a cancelled evaluation, and end the process."""
    if kept:
        command = _command(click.get_current_context())
        click.echo(f"Cancelled; the finished trainings are kept. Continue with `{command}`.", err=True)
    else:
        click.echo("Cancelled; nothing is kept that could be resumed.", err=True)
    sys.exit(error.exit_status)


def _evaluate_on_server(
    server: str, text: str, settings: EvaluationSettings, *, resume: bool, quiet: bool
) -> Evaluation:
    """Return the evaluation of a server; its files are kept here too, as those of a local one."""
    from ktrdr.core.cli.remote_server import running_on_server
    from ktrdr.core.client import Client
    from ktrdr.core.errors import CancelledError

    with Client(server) as client:
        try:
            with running_on_server(client, quiet=quiet) as runs:
                return runs.evaluate(text, settings, resume=resume)
        except CancelledError as error:
            _leave(error, kept=True)
