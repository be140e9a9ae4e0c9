"""`ktrdr verdict`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ktrdr.core.cli.remote_server import server_option
from ktrdr.core.cli.setting_options import given_options, setting_options
from ktrdr.core.jobs.job_settings import VerdictSettings

if TYPE_CHECKING:
    from ktrdr.core.errors import CancelledError
    from ktrdr.core.strategy.loader import LoadedStrategy
    from ktrdr.core.verdicts.verdict_parts import Verdict
    from ktrdr.core.verdicts.verdict_result import VerdictFacts

__all__ = ["verdict"]


@click.command()
@click.argument("strategy_file", metavar="STRATEGY", type=click.Path(path_type=Path))
@setting_options(VerdictSettings)
@click.option("--estimate", is_flag=True, help="Say how long the verdict would take on this machine, and make none.")
@click.option(
    "--resume",
    is_flag=True,
    help="Continue an interrupted run of the same verdict. Without --resume what it has trained is discarded.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where the HTML report is written.  [default: beside the other files of the verdict]",
)
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verdict(
    strategy_file: Path,
    settings: VerdictSettings,
    estimate: bool,
    resume: bool,
    report: Path | None,
    server: str | None,
    as_json: bool,
) -> None:
    """Judge whether a strategy has an edge: EDGE, NOT PROVEN, NONE or INVALID.

    Checks that nothing looks ahead and that the bars are sound, trains the strategy on copies of the bars in which no
    direction can be predicted, evaluates it on the real bars, and counts the trials. Ctrl+C keeps what is trained, from
    which --resume continues. Exit status: 0 EDGE, 3 NOT PROVEN, 4 NONE, 5 INVALID; 2 for wrong input.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.cli.report_place import check_report_place
    from ktrdr.core.cli.verdict_lines import print_verdict
    from ktrdr.core.errors import BadInputError
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.core.report.verdict_page import write_verdict_page
    from ktrdr.core.strategy.loader import load_strategy
    from ktrdr.core.verdicts.stored_verdict import store_verdict, verdict_directory
    from ktrdr.core.verdicts.verdict_result import EXIT_STATUS

    for option, given in (("--resume", resume), ("--report", report is not None), ("--server", server is not None)):
        if estimate and given:
            raise BadInputError(f"--estimate measures on this machine and makes no verdict; leave out {option}")
    check_report_place(report)
    # A server validates the strategy with its own plugins.
    loaded = load_strategy(strategy_file, plugins=default_manager(), plugin_may_be_missing=server is not None)
    for warning in loaded.warnings:
        click.echo(f"Warning: {warning.located(str(strategy_file))}", err=True)
    if estimate:
        _print_estimate(loaded, settings, as_json=as_json)
        return
    there = ""
    if server is not None:
        result = _judge_on_server(server, loaded.text, settings, resume=resume, quiet=as_json)
        there = result.facts.verdict
    else:
        result = _judge_here(loaded, settings, resume=resume, quiet=as_json)
    stored = store_verdict(result)
    facts = stored.facts
    directory = verdict_directory(facts.verdict)
    written: Path | None = None
    try:
        written = write_verdict_page(stored, directory / "report.html" if report is None else report)
    finally:
        # The verdict is made and stored, so it is told even if its report cannot be written.
        if as_json:
            print_json(
                {
                    **facts.model_dump(mode="json"),
                    "directory": str(directory),
                    "report": None if written is None else str(written),
                }
                | ({"verdict_on_server": there} if there else {})
            )
        else:
            print_verdict(facts)
            click.echo(f"Verdict     {facts.verdict}{f' (on {server}: {there})' if there else ''}")
            if facts.evaluation is not None:
                click.echo(f"Evaluation  {facts.evaluation.evaluation}")
            click.echo(f"Files       {directory}")
            if written is not None:
                click.echo(f"Report      {written}")
            _print_next(facts if server is None else result.facts, server)
    click.get_current_context().exit(EXIT_STATUS[facts.word])


def _print_next(facts: VerdictFacts, server: str | None) -> None:
    """Print what to do after an edge, or one that is not proven; the facts are those of the server, if there is one."""
    if facts.word == "EDGE" and facts.quick:
        again = _command(click.get_current_context(), leave_out="--quick")
        click.echo(f"Next: `{again}` judges in the full form.")
    elif facts.word == "EDGE" and facts.evaluation is not None:
        where = ["--server", server] if server is not None else []
        train = shlex.join(["ktrdr", "train", "--from", facts.evaluation.evaluation, *where])
        click.echo(f"Next: `{train}` trains the model to use.")
    elif facts.word == "NOT PROVEN":
        again = _command(click.get_current_context(), leave_out="--quick")
        click.echo(f"Next: read above what would change it; `{again}` then judges again.")


def _print_estimate(loaded: LoadedStrategy, settings: VerdictSettings, *, as_json: bool) -> None:
    """Print how long a verdict would take here."""
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.errors import CancelledError
    from ktrdr.core.work.interrupt import cancel_on_interrupt
    from ktrdr.core.work.progress_display import duration_words, progress_display
    from ktrdr.core.workflows.run_verdict import estimate

    cancelled: CancelledError | None = None
    with cancel_on_interrupt() as cancellation, progress_display(quiet=as_json) as progress:
        try:
            found = estimate(loaded, settings, progress=progress, cancellation=cancellation)
        except CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    if as_json:
        print_json(found.to_json())
        return
    click.echo(
        f"About {duration_words(found.seconds)} on this machine: {found.trainings:,} trainings, in {found.worlds:,}"
        f" worlds and on the real bars; measured in {found.measured:,} of the worlds."
    )


def _judge_here(loaded: LoadedStrategy, settings: VerdictSettings, *, resume: bool, quiet: bool) -> Verdict:
    from ktrdr.core.errors import CancelledError
    from ktrdr.core.work.interrupt import cancel_on_interrupt
    from ktrdr.core.work.progress_display import progress_display
    from ktrdr.core.workflows.run_verdict import judge

    stopped: CancelledError | None = None
    with cancel_on_interrupt() as cancellation, progress_display(quiet=quiet) as progress:
        try:
            found = judge(loaded, settings, resume=resume, progress=progress, cancellation=cancellation)
        except CancelledError as error:
            stopped = error
    if stopped is not None:
        _leave(stopped, kept=stopped.checkpoint is not None)
    return found


def _judge_on_server(server: str, text: str, settings: VerdictSettings, *, resume: bool, quiet: bool) -> Verdict:
    """Return the verdict of a server; its files are kept here too, as those of a local one."""
    from ktrdr.core.cli.remote_server import running_on_server
    from ktrdr.core.client import Client
    from ktrdr.core.errors import CancelledError

    with Client(server) as client:
        try:
            with running_on_server(client, quiet=quiet) as runs:
                return runs.judge(text, settings, resume=resume)
        except CancelledError as error:
            _leave(error, kept=True)


def _command(context: click.Context, *more: str, leave_out: str = "") -> str:
    """Return the command line of this run with the words of ``more``."""
    words = ["ktrdr", "verdict", str(context.params["strategy_file"])]
    words += [word for word in given_options(context, VerdictSettings) if word != leave_out]
    for name in ("report", "server"):
        if context.params[name] is not None:
            words += [f"--{name}", str(context.params[name])]
    return shlex.join([*words, *more])


def _leave(error: CancelledError, *, kept: bool) -> NoReturn:
    """Say how to continue a cancelled verdict, and end the process."""
    if kept:
        command = _command(click.get_current_context(), "--resume")
        click.echo(f"Cancelled; what is trained is kept. Continue with `{command}`.", err=True)
    else:
        click.echo("Cancelled; nothing is kept that could be resumed.", err=True)
    sys.exit(error.exit_status)
