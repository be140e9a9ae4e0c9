"""`ktrdr train`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ktrdr.core.cli.remote_server import server_option
from ktrdr.core.cli.setting_options import OwnOption, given_options, setting_options
from ktrdr.core.jobs.job_settings import TrainingSettings

if TYPE_CHECKING:
    from ktrdr.core.models.manifest import Manifest
    from ktrdr.core.models.member_spread import Spread
    from ktrdr.core.strategy.loader import LoadedStrategy
    from ktrdr.core.training.result import TrainingResult

__all__ = ["print_trained", "train"]

_HEADLINES = {
    "classification": ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "log_loss"),
    "regression": ("rmse", "mae", "r2", "directional_accuracy", "information_coefficient"),
}
_FROM = OwnOption("--from", "EVALUATION", lambda given: given[-1])
_TOP = 8
_SMALL = 0.01
_TINY = 0.001


@click.command()
@click.argument("strategy_file", metavar="[STRATEGY]", type=click.Path(path_type=Path), required=False)
@setting_options(TrainingSettings, evaluation=_FROM)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue an interrupted run of the same training from its checkpoint. Without --resume it is discarded.",
)
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def train(
    strategy_file: Path | None, settings: TrainingSettings, resume: bool, server: str | None, as_json: bool
) -> None:
    """Train the model of a strategy, or the model to use after an evaluation of it.

    Reads the bars that `ktrdr data import` has stored, and stores the model as the next version of the strategy's name.
    Ctrl+C keeps a checkpoint, from which --resume continues; the result is the same as without the interruption.

    With --from, STRATEGY is left out: strategy, data and seed are those of the evaluation.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.errors import CancelledError
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.core.strategy.loader import load_strategy
    from ktrdr.core.work.interrupt import cancel_on_interrupt
    from ktrdr.core.work.progress_display import progress_display
    from ktrdr.core.workflows.run_training import train as train_strategy

    _check_subject(strategy_file, settings)
    plugins = default_manager()
    loaded: LoadedStrategy | None = None
    if strategy_file is not None:
        # A server validates the strategy with its own plugins.
        loaded = load_strategy(strategy_file, plugins=plugins, plugin_may_be_missing=server is not None)
        for warning in loaded.warnings:
            click.echo(f"Warning: {warning.located(str(strategy_file))}", err=True)
    if server is not None:
        text = None if loaded is None else loaded.text
        _train_on_server(server, text, settings, resume=resume, as_json=as_json)
        return
    stopped: CancelledError | None = None
    with cancel_on_interrupt() as cancellation, progress_display(quiet=as_json) as progress:
        try:
            result = train_strategy(
                loaded, settings, resume=resume, plugins=plugins, progress=progress, cancellation=cancellation
            )
        except CancelledError as error:
            stopped = error
    if stopped is not None:
        if stopped.checkpoint is None:
            click.echo("Cancelled; nothing is kept that could be resumed.", err=True)
        else:
            command = _command(click.get_current_context())
            click.echo(f"Cancelled; a checkpoint is kept. Continue with `{command}`.", err=True)
        sys.exit(stopped.exit_status)
    if as_json:
        print_json(result.to_json())
    else:
        print_trained(result)


def _check_subject(strategy_file: Path | None, settings: TrainingSettings) -> None:
    """Raise an error unless there is either a strategy or an evaluation to train from."""
    from ktrdr.core.errors import BadInputError

    if strategy_file is None and settings.evaluation is None:
        raise BadInputError("give a STRATEGY to train, or an evaluation of one with --from")
    if strategy_file is not None and settings.evaluation is not None:
        raise BadInputError(
            f"evaluation {settings.evaluation} has a strategy already; leave out {strategy_file}, or leave out --from"
            " to train it with parts of its own"
        )


def _command(context: click.Context) -> str:
    """Return the command line that resumes this run."""
    file = context.params["strategy_file"]
    words = ["ktrdr", "train", *([] if file is None else [str(file)])]
    words += given_options(context, TrainingSettings, evaluation=_FROM)
    if context.params["server"] is not None:
        words += ["--server", context.params["server"]]
    return shlex.join([*words, "--resume"])


def _train_on_server(server: str, text: str | None, settings: TrainingSettings, *, resume: bool, as_json: bool) -> None:
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.cli.remote_server import running_on_server
    from ktrdr.core.client import Client
    from ktrdr.core.errors import CancelledError
    from ktrdr.core.workflows.on_server import training_on_server

    with Client(server) as client:
        try:
            with running_on_server(client, quiet=as_json) as runs:
                result = runs.train(text, settings, resume=resume)
        except CancelledError:
            click.echo(f"Cancelled. Continue with `{_command(click.get_current_context())}`.", err=True)
            sys.exit(CancelledError.exit_status)
        if as_json:
            print_json(result)
        else:
            print_trained(training_on_server(client, result)[0], server=client.url)


def print_trained(result: TrainingResult, *, server: str | None = None) -> None:
    """Print the result of a training, here or on a server, for a person."""
    from ktrdr.core.cli.output import print_warnings
    from ktrdr.core.cli.trial_lines import print_trial_count
    from ktrdr.core.models.evaluation_figures import evaluation_facts
    from ktrdr.core.models.model_facts import epochs_in_words, kept_in_words
    from ktrdr.core.models.model_warnings import warnings_of
    from ktrdr.core.names import named_market

    manifest = result.bundle.manifest
    samples = ", ".join(f"{sum(own.values()):,} {part}" for part, own in result.samples.items() if sum(own.values()))
    market = named_market(" ".join(manifest.data.symbols), manifest.data.world)
    click.echo(
        f"\n{result.bundle.ref}: {manifest.strategy.model.words} trained with {manifest.plugin.name} on"
        f" {result.device.name}, {samples} samples of {market}"
    )
    chosen = kept_in_words(manifest)
    epoch = f"{f'seed {chosen}, ' if chosen else ''}epoch {result.best_epoch} of {result.epochs}"
    click.echo(f"Kept: {epochs_in_words(manifest) or epoch}.")
    print_warnings(warnings_of(manifest))
    click.echo()
    for label, fact in evaluation_facts(manifest):
        click.echo(f"{label:<14} {fact}")
    for part, metrics in manifest.metrics.items():
        _print_metrics(part, metrics, manifest, _HEADLINES[manifest.output])
    if manifest.importance is not None:
        _print_importance(manifest.importance)
    print_trial_count(result.trial_count)
    if server is not None:
        click.echo(f"Stored on {server}")
        click.echo(f"Next: `ktrdr backtest {result.bundle.ref} --server {server}`")
        return
    click.echo(f"Stored in {result.bundle.directory}")
    click.echo(f"Next: `ktrdr backtest {result.bundle.ref}`, `ktrdr explain {result.bundle.ref}`")


def _print_metrics(part: str, metrics: Any, manifest: Manifest, names: tuple[str, ...]) -> None:
    from ktrdr.core.cli.output import print_table
    from ktrdr.core.models.member_spread import spread_of

    spread = spread_of(manifest.members, part)
    # With a spread the table has more columns: to fit 80 characters, it has fewer decimals and narrower headings.
    space, number = ("\n", _short_number) if spread else (" ", _number)
    baselines: Mapping[str, Any] = manifest.baselines
    rivals = {name.replace("_", space): parts[part] for name, parts in baselines.items() if part in parts}
    columns = ["model", *(["mean±sd", "min..max"] if spread else []), *rivals]
    print_table(
        [part, *columns],
        [
            [
                name.replace("_", " "),
                number(metrics[name]),
                *(_in_short(spread[name]) if spread else ()),
                *(number(rival[name]) for rival in rivals.values()),
            ]
            for name in names
        ],
        right=columns,
        whole=columns if spread else (),
    )


def _in_short(spread: Spread) -> list[str]:
    """Return mean and range of a metric; all four numbers have the decimals of the largest value."""
    style = _short_style(max(abs(spread.min), abs(spread.max)))
    mean, sd, least, most = (f"{value:{style}}" for value in (spread.mean, spread.sd, spread.min, spread.max))
    return [f"{mean}±{sd}", f"{least}..{most}"]


def _print_importance(importance: Any) -> None:
    from ktrdr.core.cli.output import print_table
    from ktrdr.core.training.importance import change_in_words

    def changes(entry: Mapping[str, Any]) -> list[str]:
        return [change_in_words(importance, entry, score) for score in scores]

    scores = list(importance["scores"])
    columns = [f"{score.replace('_', ' ')} worse by" for score in scores]
    parts = {name for entry in importance["groups"] if len(entry["columns"]) > 1 for name in entry["columns"]}
    single = [entry for entry in importance["features"] if entry["id"] in parts]
    ranked = sorted(single, key=lambda entry: -entry[scores[0]]["mean"])[:_TOP]
    groups = sorted(importance["groups"], key=lambda entry: -entry[scores[0]]["mean"])
    print_table(
        ["input permuted", *columns],
        [
            *([_kind(entry), *changes(entry)] for entry in groups),
            *([f"  {entry['id']}", *changes(entry)] for entry in ranked),
        ],
        right=columns,
    )


def _kind(entry: Mapping[str, Any]) -> str:
    return f"{entry['kind'].replace('_', ' ')} {entry['id']}"


def _number(value: float) -> str:
    return f"{value:.4f}" if value == 0 or abs(value) >= _SMALL else f"{value:.3g}"


def _short_number(value: float) -> str:
    return f"{value:{_short_style(abs(value))}}"


def _short_style(size: float) -> str:
    """Return a format for values up to ``size`` of at most 8 characters, as a column has no space for more."""
    if size == 0 or size >= _SMALL:
        return ".3f"
    return ".5f" if size >= _TINY else ".1e"
