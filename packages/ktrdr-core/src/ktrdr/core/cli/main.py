"""The `ktrdr` command: a static table of commands, each imported only when it is run.

Start-up time matters on every call, so this module and its groups import only click and the standard library.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import click

from ktrdr.core import __version__
from ktrdr.core.cli.command_groups import LazyGroup
from ktrdr.core.errors import KtrdrError, record_of

__all__ = ["cli", "main"]

_COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("ktrdr.core.cli.demo:demo", "Run a strategy on real prices, and on a market whose edge is known."),
    "validate": ("ktrdr.core.cli.strategy:validate", "Check strategy files and report every error in them."),
    "train": ("ktrdr.core.cli.train:train", "Train the model of a strategy."),
    "backtest": ("ktrdr.core.cli.backtest:backtest", "Trade a trained model on data it has not seen."),
    "evaluate": ("ktrdr.core.cli.evaluate:evaluate", "Judge a strategy on many folds that its models have not seen."),
    "verdict": ("ktrdr.core.cli.verdict:verdict", "Judge whether a strategy has an edge."),
    "sweep": ("ktrdr.core.cli.sweep:sweep", "Trade a trained model under many settings, and rank them."),
    "compare": ("ktrdr.core.cli.backtest:compare", "Compare backtest runs."),
    "explain": ("ktrdr.core.cli.explain:explain", "Explain one decision of a model."),
    "check": ("ktrdr.core.cli.check:check", "Check a strategy's features and labels for look-ahead."),
    "strategy": ("ktrdr.core.cli.strategy_group:strategy", "Show features, schema and plots of a strategy."),
    "migrate": ("ktrdr.core.cli.strategy:migrate", "Convert a version 1 or 2 strategy to version 3."),
    "data": ("ktrdr.core.cli.data:data", "Import, list, check, resample and export market data."),
    "indicators": ("ktrdr.core.cli.indicators:indicators", "List indicators with their parameters."),
    "models": ("ktrdr.core.cli.models:models", "List, verify, move and delete trained models."),
    "trials": ("ktrdr.core.cli.trials:trials", "List, show, verify and merge recorded trials."),
    "cache": ("ktrdr.core.cli.cache:cache", "Show and clear the cache of features."),
    "plugins": ("ktrdr.core.cli.plugins:plugins", "List plugins, and check that they work."),
}


@click.group(
    cls=LazyGroup,
    table=_COMMANDS,
    entry_points="ktrdr.commands",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Everything KTRDR writes goes below $KTRDR_HOME (default ~/.ktrdr).",
)
@click.version_option(__version__, prog_name="ktrdr")
def cli() -> None:
    """Research neuro-fuzzy trading strategies: write one in YAML, train it, backtest it, see why it traded."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 for success, 2 for bad input, 130 when cancelled, 1 for anything else."""
    try:
        status = cli.main(args=arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Cancelled.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of the output (head, less) has closed the pipe: there is nothing to report.
        sys.stderr.close()
        sys.exit(1)
    except (KtrdrError, OSError) as error:
        record = record_of(error)
        click.echo(f"Error: {record.message}", err=True)
        sys.exit(record.exit_status)
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
