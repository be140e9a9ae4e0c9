"""`ktrdr trials`: listing, verification and merging of ledgers of trials."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ktrdr.core.cli.command_groups import CommandGroup

if TYPE_CHECKING:
    from ktrdr.core.face.stored_trials import StoredTrial
    from ktrdr.core.trials.row import TrialRow
    from ktrdr.core.trials.trial_ledger import Listed, TrialLedger

__all__ = ["trials"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
# Accepted by every database, and more than the rows of any ledger.
_LARGEST = 2**62
# As wide as the labels of `show` and the space after them.
_INDENT = 16


@click.group(cls=CommandGroup)
def trials() -> None:
    """List, show, verify and merge recorded trials.

    Every training, evaluation, verdict, backtest and combination of a sweep is recorded in $KTRDR_HOME/trials.sqlite
    before its result is shown.
    """


@trials.command("list")
@click.option("--symbol", help="Show only trials on bars of this symbol.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Rows to show.")
@click.option("--before", type=click.IntRange(min=1), metavar="NUMBER", help="Show only rows with a smaller number.")
@_JSON
def list_trials(symbol: str | None, limit: int, before: int | None, as_json: bool) -> None:
    """List trials, newest first."""
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.data.symbol_spelling import missing_symbol

    ledger = _opened(warn=False)
    shown = min(limit, _LARGEST)
    found = ledger.page(symbol=symbol, before=None if before is None else min(before, _LARGEST), limit=shown + 1)
    page, total = found[:shown], ledger.rows()
    _print_warnings(ledger.warnings())
    after = page[-1].number if len(found) > shown else None
    if as_json:
        items = [{"number": listed.number, **_row_json(listed.row, "returns")} for listed in page]
        print_json({"ledger": ledger.id, "total": total, "items": items, "next": after})
        return
    if not total:
        click.echo(
            f"Ledger {ledger.id} is empty; `ktrdr train`, `ktrdr backtest` and `ktrdr sweep` record their trials in it."
        )
        return
    if page:
        _print_page(page, ledger.id)
    else:
        which = [f"has bars of {symbol}"] if symbol is not None else []
        which += [f"has a number below {before}"] if before is not None else []
        meant = missing_symbol(symbol, set(ledger.symbols()) - {symbol}) if symbol is not None else ""
        click.echo(f"No row {' and '.join(which)}{meant or '.'}")
    more = ""
    if after is not None:
        narrowed = f" --symbol {symbol}" if symbol is not None else ""
        more = f"; `ktrdr trials list{narrowed} --before {after}` shows older ones"
    click.echo(f"{total:,} row{'' if total == 1 else 's'} in ledger {ledger.id}{more}.")


@trials.command()
@click.argument("trial_id", metavar="ID")
@_JSON
def show(trial_id: str, as_json: bool) -> None:
    """Show all fields of one row, and the strategy of the trial.

    ID is the id that `ktrdr trials list` shows; its first digits are enough.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.face.stored_trials import load

    trial = load(trial_id)
    _print_warnings(trial.warnings)
    if as_json:
        print_json(_row_json(trial.row) | {"strategy_text": trial.strategy_text})
    else:
        _print_row(trial)
        click.echo(f"\n{trial.strategy_text.rstrip()}")


@trials.command()
@click.argument("path", type=click.Path(path_type=str))
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
@_JSON
def export(path: str, force: bool, as_json: bool) -> None:
    """Write all rows to a file, for `ktrdr trials import` in another home.

    The file also contains the rows that were imported into this ledger.
    """
    from pathlib import Path

    from ktrdr.core.cli.output import print_json
    from ktrdr.core.trials.transfer import check_trials_export, export_trials

    written = Path(path)
    ledger = _opened()
    check_trials_export(written, overwrite=force)
    rows = export_trials(ledger, written)
    if as_json:
        print_json({"path": written, "ledger": ledger.id, "rows": rows, "bytes": written.stat().st_size})
    else:
        click.echo(f"Wrote {_rows(rows)} to {written} ({written.stat().st_size:,} bytes).")


@trials.command("import")
@click.argument("path", type=click.Path(path_type=str))
@_JSON
def import_rows(path: str, as_json: bool) -> None:
    """Add the rows of an exported file.

    The whole file is checked first. Rows that are known already are not added again, so nothing is counted twice.
    """
    from pathlib import Path

    from ktrdr.core.cli.output import print_json
    from ktrdr.core.trials.transfer import import_trials

    ledger = _opened()
    added, known = import_trials(ledger, Path(path))
    if as_json:
        print_json({"ledger": ledger.id, "added": added, "known": known})
    else:
        click.echo(f"Added {_rows(added)}; {known:,} {'was' if known == 1 else 'were'} known.")


@trials.command()
@_JSON
def verify(as_json: bool) -> None:
    """Check every row. Exit status 2 means that a row is broken.

    Each row contains the hash of the row before it, so that changed and deleted rows are detected.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.workflows.places import trials_in

    chains = trials_in(None).verify()
    if as_json:
        print_json(
            [
                {
                    "ledger": chain.ledger,
                    "own": chain.own,
                    "rows": chain.rows,
                    "state": "broken" if chain.problem else "ok",
                    "problem": chain.problem,
                }
                for chain in chains
            ]
        )
    else:
        for chain in chains:
            whose = "this one" if chain.own else "imported"
            state = f"broken: {chain.problem}" if chain.problem else "ok"
            click.echo(f"Ledger {chain.ledger} ({whose}): {_rows(chain.rows)}, {state}")
    if any(chain.problem for chain in chains):
        click.echo(
            "Restore an undamaged copy of trials.sqlite. Until then, every result that counts these trials says"
            " that the ledger is damaged.",
            err=True,
        )
        click.get_current_context().exit(2)


def _opened(*, warn: bool = True) -> TrialLedger:
    """Return the ledger of this home, with a warning if it is known to be damaged."""
    from ktrdr.core.workflows.places import trials_in

    ledger = trials_in(None)
    if warn:
        _print_warnings(ledger.warnings())
    return ledger


def _print_warnings(warnings: Sequence[str]) -> None:
    for warning in warnings:
        click.secho(f"Warning: {warning}.", fg="yellow", err=True)


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


def _row_json(row: TrialRow, *without: str) -> dict[str, Any]:
    return row.model_dump(mode="json", exclude=set(without))


def _print_page(page: Sequence[Listed], own: str) -> None:
    """Print a line per row, and a heading above successive rows with the same time, model and bars."""
    width = shutil.get_terminal_size().columns
    places = max(6, *(len(str(listed.number)) for listed in page))
    kinds = max(len(listed.row.kind) for listed in page)
    click.secho(f"{'number':>{places}}  {'id':<16}  {'kind':<{kinds}}  Sharpe  differs in", dim=True)
    above = ""
    for number, row in ((listed.number, listed.row) for listed in page):
        common = f"{row.time:%Y-%m-%d %H:%M}  {_bars(row)}"
        if common != above:
            click.echo(textwrap.shorten(common, width, placeholder=" ...") if len(common) > width else common)
            above = common
        line = f"{number:>{places}}  {row.id}  {row.kind:<{kinds}}  {_sharpe(row):>6}"
        remarks = [f"{_last_words(key)}={_value(value)}" for key, value in row.changes.items()]
        remarks += ["before the ledger"] if row.before_ledger else []
        remarks += [f"from ledger {row.ledger}"] if row.ledger != own else []
        line += "  " + ", ".join(remarks)
        click.echo(line.rstrip() if len(line) <= width else f"{line[: max(width - 3, 0)].rstrip(' ,')}...")


def _bars(row: TrialRow) -> str:
    from ktrdr.core.data.times import last_day
    from ktrdr.core.short_texts import first_words

    whose = f"{row.model} on " if row.model else ""
    world = f" ({row.world})" if row.world else ""
    return f"{whose}{first_words(row.symbols)} {row.timeframe}{world}, {row.start:%Y-%m-%d} to {last_day(row.end)}"


def _sharpe(row: TrialRow) -> str:
    value = row.metrics.get("sharpe")
    return f"{value:.2f}" if isinstance(value, int | float) and row.kind != "training" else "-"


def _last_words(key: str) -> str:
    """Return a dotted key without its section, to save room in a list."""
    return key.partition(".")[2] or key


def _value(value: Any) -> str:
    """Return a value in the syntax of --set."""
    if isinstance(value, list):
        return " ".join(_value(each) for each in value)
    if isinstance(value, float):
        return f"{value:g}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in values.items())


def _numbers(values: Mapping[str, Any]) -> str:
    """Return the single numbers of a map of metrics; --json also prints the others."""
    return ", ".join(
        f"{name} {value:.4g}"
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    )


def _print_row(trial: StoredTrial) -> None:
    from ktrdr.core.data.times import format_end

    row, whose = trial.row, "imported" if trial.imported else "this one"
    days = None if row.returns is None else _days(row.returns)
    rows: list[tuple[str, Any]] = [
        ("id", row.id),
        ("recorded", f"{row.time:%Y-%m-%d %H:%M:%S} UTC" + (", from before the ledger" if row.before_ledger else "")),
        ("ledger", f"{row.ledger} ({whose})"),
        ("kind", row.kind),
        ("model", row.model),
        ("operation", row.operation),
        ("symbols", " ".join(row.symbols)),
        ("bars", f"{row.timeframe}, {row.start:%Y-%m-%d %H:%M} to {format_end(row.end)} UTC"),
        ("world", row.world),
        ("account", _pairs(row.account)),
        ("seed", row.seed),
        ("changes", ", ".join(f"{key}={_value(value)}" for key, value in row.changes.items())),
        ("chosen among", None if row.chosen_among is None else f"{row.chosen_among:,} settings of a sweep"),
        ("metrics", _numbers(row.metrics)),
        ("daily returns", days),
        ("hash", row.hash),
        ("previous row", row.previous),
        ("trial", row.trial),
        ("model choice", row.fitted),
        ("strategy", row.strategy),
        ("changed from", row.parent),
        ("training data", row.training_data),
        ("data", row.data),
    ]
    for label, value in rows:
        if value is not None and value != "":
            click.echo(_wrapped(label, str(value)))


def _days(returns: dict[str, str]) -> str:
    from ktrdr.core.errors import BadInputError
    from ktrdr.core.trials.daily_returns import DailyReturns

    try:
        days = len(DailyReturns.from_json(returns).values)
    except BadInputError as error:
        return str(error)
    return f"{days:,} day{'' if days == 1 else 's'} from {returns['first']}"


def _wrapped(label: str, value: str) -> str:
    return textwrap.fill(
        f"{label:<{_INDENT - 1}} {value}",
        max(shutil.get_terminal_size().columns, _INDENT + 20),
        subsequent_indent=" " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
