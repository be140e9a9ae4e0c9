"""The `ktrdr` command: a static table of commands, each imported only when it is run.

Start-up is what a user feels on every call: this module imports click and the standard library, nothing else.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ktrdr.core import __version__
from ktrdr.core.errors import BadInputError, KtrdrError, record_of

__all__ = ["LazyGroup", "cli", "main"]

_COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("ktrdr.core.cli.demo:demo", "Train and backtest a strategy on a year of real data."),
    "validate": ("ktrdr.core.cli.strategy:validate", "Check strategy files and report every error in them."),
    "train": ("ktrdr.core.cli.train:train", "Train the model of a strategy."),
    "backtest": ("ktrdr.core.cli.backtest:backtest", "Trade a trained model on data it has not seen."),
    "sweep": ("ktrdr.core.cli.sweep:sweep", "Trade a trained model under many settings, and rank them."),
    "compare": ("ktrdr.core.cli.backtest:compare", "Put backtest runs side by side."),
    "explain": ("ktrdr.core.cli.explain:explain", "Show what led to one decision of a model."),
    "check": ("ktrdr.core.cli.check:check", "Look for look-ahead in a strategy's features and labels."),
    "strategy": ("ktrdr.core.cli.strategy_group:strategy", "Features, schema and pictures of a strategy."),
    "migrate": ("ktrdr.core.cli.strategy:migrate", "Turn a version 1 or 2 strategy into version 3."),
    "data": ("ktrdr.core.cli.data:data", "Import, list, check, resample and export market data."),
    "indicators": ("ktrdr.core.cli.indicators:indicators", "List indicators with their parameters."),
    "models": ("ktrdr.core.cli.models:models", "List, verify, move and delete trained models."),
    "trials": ("ktrdr.core.cli.trials:trials", "List, show, verify and merge what was tried."),
    "plugins": ("ktrdr.core.cli.plugins:plugins", "List plugins, and check that they work."),
}

# What other distributions of ours add: known here only to say where a command is that is not installed.
_ELSEWHERE: Mapping[str, str] = {
    "serve": "ktrdr-api",
    "up": "ktrdr-api",
    "cluster": "ktrdr-api",
    "worker": "ktrdr-worker",
}


class LazyGroup(click.Group):
    """A group whose commands are a table ``name -> (module:attribute, help)``, imported one at a time.

    With ``entry_points`` set, commands of other distributions in that group are added; they are looked for only when
    the help is shown or a name is not in the table.
    """

    def __init__(
        self, *args: Any, table: Mapping[str, tuple[str, str]], entry_points: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._table = table
        self._entry_points = entry_points

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the table and of installed plugin commands."""
        return [*self._table, *self._foreign()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name in self._table:
            return _load(self._table[cmd_name][0])
        foreign = self._foreign().get(cmd_name)
        return None if foreign is None else _load(foreign)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say what was meant when a command does not exist."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            from ktrdr.core.parameters import did_you_mean

            if self._entry_points is not None and name in _ELSEWHERE:
                raise BadInputError(
                    f"`{ctx.command_path} {name}` is in {_ELSEWHERE[name]}, which is not installed here;"
                    f" `pip install {_ELSEWHERE[name]}`"
                )
            hint = did_you_mean(name, self.list_commands(ctx)) or f"; see `{ctx.command_path} --help`"
            raise click.UsageError(f"no such command `{name}`{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands from the table, without importing any."""
        rows = [(name, text) for name, (_, text) in self._table.items()]
        foreign = [(name, f"({target.partition(':')[0]})") for name, target in self._foreign().items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
        if foreign:
            with formatter.section("Commands of installed plugins"):
                formatter.write_dl(foreign)

    def _foreign(self) -> dict[str, str]:
        if self._entry_points is None:
            return {}
        from ktrdr.core.plugins.discovery import discover

        return {
            record.name: record.module
            # The allow and block lists are about backends: an allow list of those must not take commands away.
            for record in discover(self._entry_points, environ={})
            if record.state == "available" and record.name not in self._table
        }


def _load(target: str) -> click.Command:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


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
        # The reader of our output (head, less) has gone: nothing to say, and nobody to say it to.
        sys.stderr.close()
        sys.exit(1)
    except (KtrdrError, OSError) as error:
        record = record_of(error)
        click.echo(f"Error: {record.message}", err=True)
        sys.exit(record.exit_status)
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
