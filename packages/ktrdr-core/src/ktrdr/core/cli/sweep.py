"""`ktrdr sweep`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ktrdr.core.cli.remote_server import server_option
from ktrdr.core.cli.setting_options import OwnOption, setting_options
from ktrdr.core.jobs.job_settings import SweepSettings

__all__ = ["print_sweep", "sweep"]

# Metrics of a row that are printed, with short names that leave room for the settings.
_SHOWN = {
    "sharpe": "Sharpe",
    "total_return": "Return",
    "deflated_sharpe": "Deflated",
    "max_drawdown": "Drawdown",
    "trades": "Trades",
}


def _values(given: Sequence[str]) -> dict[str, list[Any]]:
    """Return ``{key: values}``; values are read as in a strategy file."""
    from ktrdr.core.errors import BadInputError
    from ktrdr.core.strategy.document import read_document

    found: dict[str, list[Any]] = {}
    for item in given:
        key, sign, text = (part.strip() for part in item.partition("="))
        if not key or not sign or not text:
            raise BadInputError(f"--set {item} is not understood; write --set risk.stop_loss.atr=2,3,4")
        if key in found:
            raise BadInputError(f"`{key}` is given twice; write all of its values after one --set, with commas")
        found[key] = []
        for part in text.split(","):
            if part.strip() in ("null", "~"):
                found[key].append(None)
                continue
            root = read_document(part.strip()).root
            if root is None or isinstance(root.value, dict | list):
                raise BadInputError(f"--set {key}: `{part}` is not one value such as 0.5, true or null")
            found[key].append(root.value)
    return found


@click.command()
@click.argument("model")
@setting_options(SweepSettings, settings=OwnOption("--set", "KEY=VALUE,...", _values))
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print all rows as JSON.")
def sweep(
    model: str,
    settings: SweepSettings,
    server: str | None,
    as_json: bool,
) -> None:
    """Trade a trained model under every combination of settings, and rank them.

    MODEL is `name` for the latest version of a model, or `name/3` for one. Only keys below `decisions` and `risk` can
    be swept, as they need no new training: --set decisions.confidence_threshold=0.4,0.5 --set risk.stop_loss.atr=2,3,4.
    Each combination is recorded as a trial, and the deflated Sharpe ratio of each row counts all known trials.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.cli.remote_server import running_on_server
    from ktrdr.core.client import Client
    from ktrdr.core.work.interrupt import cancel_on_interrupt
    from ktrdr.core.work.progress_display import progress_display
    from ktrdr.core.workflows.run_sweep import sweep as sweep_model

    if server is not None:
        with Client(server) as client, running_on_server(client, quiet=as_json) as runs:
            result = runs.sweep(model, settings)
    else:
        with cancel_on_interrupt() as cancellation, progress_display(quiet=as_json) as progress:
            result = sweep_model(model, settings, progress=progress, cancellation=cancellation).to_json()
    if as_json:
        print_json(result)
    else:
        print_sweep(result, settings.top)


def print_sweep(result: Mapping[str, Any], top: int) -> None:
    """Print the best ``top`` rows of a sweep, for a person."""
    from ktrdr.core.backtesting.metrics import METRICS, format_metric
    from ktrdr.core.cli.output import print_table, print_warnings
    from ktrdr.core.cli.trial_lines import print_trial_count
    from ktrdr.core.data.times import last_day, parse_time
    from ktrdr.core.names import named_market
    from ktrdr.core.trials.trial_count import TrialCount

    labels = {info.name: _SHOWN.get(info.name, info.label) for info in METRICS}
    rows = result["rows"]
    metrics = [result["metric"], *(name for name in _SHOWN if name != result["metric"])]
    names = list(rows[0]["settings"])
    click.echo(
        f"\n{result['model']}: {len(rows):,} combinations on {result['bars']:,} bars of"
        f" {named_market(' '.join(result['symbols']), result.get('world', ''))} {result['timeframe']},"
        f" {result['start'][:10]} to {last_day(parse_time(result['end']))}"
    )
    click.echo(f"Period: {result['period']}.")
    # The result of an older server has no warnings.
    print_warnings(result.get("warnings", ()))
    # Columns are headed by letters, because the keys are too long.
    letters = [chr(ord("a") + number) for number in range(len(names))]
    for letter, name in zip(letters, names, strict=True):
        click.echo(f"{letter}: {name}")
    columns = [*letters, *(labels[name] for name in metrics)]
    print_table(
        ["", *columns],
        [
            [
                place,
                *(_shown(row["settings"][name]) for name in names),
                *(format_metric(name, row["metrics"][name]) for name in metrics),
            ]
            for place, row in enumerate(rows[:top], start=1)
        ],
        right=["", *columns],
    )
    if len(rows) > top:
        more = len(rows) - top
        click.echo(f"{more:,} more row{'' if more == 1 else 's'}: --top {len(rows)}, or --json.")
    click.echo(_on_the_best(rows))
    if result.get("trial_count") is not None:
        print_trial_count(dataclasses.replace(TrialCount.from_json(result["trial_count"]), chosen_among=None))


def _on_the_best(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return one sentence on how to read the best row."""
    profit = rows[0]["metrics"].get("net_profit")
    if len(rows) > 1 and profit is not None and profit <= 0:
        return f"Even the best of {len(rows):,} makes no profit, although choosing the best makes it look better."
    return f"The best of {len(rows):,} looks better by luck than it is; the deflated Sharpe ratio accounts for that."


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "-" if value is None else str(value).lower()
