"""`ktrdr data`: import, listing, checks, resampling and export of market data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ktrdr.core.cli.command_groups import CommandGroup
from ktrdr.core.synthetic.processes import DEFAULT_BARS, DEFAULT_SEED, DEFAULT_START, PROCESSES

if TYPE_CHECKING:
    from ktrdr.core.data.bar_store import DatasetInfo
    from ktrdr.core.data.bars import Bars
    from ktrdr.core.data.validation import ValidationReport
    from ktrdr.core.data.vendor.importer import ImportReport

__all__ = ["data"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_START = click.option("--start", metavar="TIME", help="First open, such as 2017-01-31 or 2017-01-31T14:00 (UTC).")
_END = click.option("--end", metavar="TIME", help="Opens before this time (UTC).")
_CALENDARS = "FX, 24/7 or an exchange such as XNYS"


@click.group(cls=CommandGroup)
def data() -> None:
    """Import, list, check, resample and export market data.

    Bars are stored below $KTRDR_HOME/data. The time of a bar is its open, in UTC.
    """


@data.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--symbol", help="Symbol of the bars, or the symbol to read from a file with several.")
@click.option("--timeframe", help="Timeframe of the bars; by default detected from their times.")
@click.option("--timezone", metavar="ZONE", help="Time zone of times without one [default: UTC].")
@click.option(
    "--dates",
    type=click.Choice(["day-first", "month-first"]),
    help="Order of day and month in dates such as 02/03/2017.",
)
@click.option("--decimal", type=click.Choice(["point", "comma"]), help="Decimal sign, if 1.234 could mean 1234.")
@click.option(
    "--label",
    type=click.Choice(["open", "close"]),
    default="open",
    show_default=True,
    help="Whether the time of a bar in the file is its open or its close.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="ROLE=NAME",
    help="Column for time, open, ...: its heading or its number.",
)
@click.option("--skip-bad", is_flag=True, help="Skip rows that are not valid bars, and report them.")
@click.option(
    "--align",
    is_flag=True,
    help="Move short bars at the start of a session to the grid of the timeframe, and report them.",
)
@click.option(
    "--calendar",
    metavar="NAME",
    help=f"Calendar to store with the symbol: {_CALENDARS}; by default the stored one, or detected from symbol and"
    " times.",
)
@_JSON
def import_(
    files: tuple[Path, ...],
    symbol: str | None,
    timeframe: str | None,
    timezone: str | None,
    dates: str | None,
    decimal: str | None,
    label: str,
    columns: tuple[str, ...],
    skip_bad: bool,
    align: bool,
    calendar: str | None,
    as_json: bool,
) -> None:
    """Import CSV or Parquet files, plain, gzip or zip.

    Column names, date formats and several symbols in one file are recognized. Each file is imported completely or not
    at all. Bars that are stored already are replaced, so importing a file again changes nothing.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.data.vendor.importer import import_file
    from ktrdr.core.errors import CancelledError, KtrdrError
    from ktrdr.core.work.interrupt import cancel_on_interrupt
    from ktrdr.core.work.progress_display import progress_display

    roles = _roles(columns)
    store = default_store()
    results: list[dict[str, Any]] = []
    status = 0
    with cancel_on_interrupt() as cancellation, progress_display(quiet=as_json) as progress:
        for path in files:
            try:
                report = import_file(
                    path,
                    store,
                    symbol=symbol,
                    timeframe=timeframe,
                    timezone=timezone,
                    calendar=calendar,
                    columns=roles,
                    dates=dates,
                    decimal=decimal,
                    label=label,
                    skip_bad=skip_bad,
                    align=align,
                    progress=progress,
                    cancellation=cancellation,
                )
            except CancelledError:
                raise
            except KtrdrError as error:
                if len(files) == 1:
                    raise
                # Import the other files, and fail at the end.
                status = max(status, error.exit_status)
                results.append({"file": str(path), "error": str(error)})
                click.echo(f"Error: {error}", err=True)
                continue
            results.append(report.to_json())
            if not as_json:
                _print_import(report)
    if as_json:
        print_json(results)
    failed = sum("error" in result for result in results)
    if failed and not as_json:
        click.echo(f"{failed} of {len(files)} files were not imported.", err=True)
    sys.exit(status)


@data.command(short_help="Make bars of a market whose process is known.")
@click.argument("symbol")
@click.option("--process", required=True, metavar="NAME", help=f"Process of the market: {', '.join(PROCESSES)}.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=DEFAULT_SEED, show_default=True, help="Seed of every random number."
)
@click.option("--bars", type=click.IntRange(min=1), help=f"Number of bars [default: {DEFAULT_BARS}].")
@click.option(
    "--start", metavar="TIME", help=f"First open (UTC) [default: {DEFAULT_START}, or the first open after it]."
)
@click.option("--end", metavar="TIME", help="Opens before this time (UTC), instead of --bars.")
@click.option("--timeframe", default="1h", show_default=True, help="Timeframe of the bars.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Parameter of the process; all are per bar.")
@_JSON
def synthesize(
    symbol: str,
    process: str,
    seed: int,
    bars: int | None,
    start: str | None,
    end: str | None,
    timeframe: str,
    changes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make bars of a market whose process is known, and store them as SYMBOL.

    The market is always open and has no gaps. The same options give the same bars on every machine, and more bars
    continue fewer. Every result from such bars is marked as synthetic.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.data.timeframe import Timeframe
    from ktrdr.core.data.times import parse_time
    from ktrdr.core.synthetic.market import synthetic_market
    from ktrdr.core.synthetic.storing import default_start, number_of_bars, store_market

    frame = Timeframe(timeframe)
    first = default_start(frame) if start is None else parse_time(start, "--start")
    until = None if end is None else parse_time(end, "--end")
    market = synthetic_market(process, seed, _numbers(changes))
    n = number_of_bars(bars, first, until, frame)
    store = default_store()
    report = store_market(market, store, symbol, frame, first, n)
    if as_json:
        added = {"added": report.added, "unchanged": report.unchanged}
        print_json(_info_json(store.info(symbol, frame)) | {"recipe": store.recipe(symbol, frame)} | added)
    else:
        click.echo(
            f"{symbol} {frame}: {report.added:,} bars added, {report.unchanged:,} already there; "
            f"{report.rows:,} stored of the synthetic market {market.world}."
        )


@data.command("list")
@_JSON
def list_(as_json: bool) -> None:
    """List the stored data sets."""
    from ktrdr.core.cli.output import print_json, print_table
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.data.times import format_end, format_time
    from ktrdr.core.names import named_market

    datasets = default_store().datasets()
    if as_json:
        print_json([_info_json(info) for info in datasets])
    elif not datasets:
        click.echo("No data is stored; `ktrdr data import FILE` adds some.")
    else:
        calendars = [_calendar(info) for info in datasets]
        print_table(
            ["data set", "bars", "from", "until (UTC)", "calendar", "size"],
            [
                [
                    f"{info.symbol} {info.timeframe}",
                    f"{info.rows:,}",
                    format_time(info.start),
                    format_end(info.end),
                    calendar,
                    _size(info.bytes),
                ]
                for info, calendar in zip(datasets, calendars, strict=True)
            ],
            right=["bars", "size"],
        )
        for info in datasets:
            if info.world:
                click.echo(f"{named_market(f'{info.symbol} {info.timeframe}', info.world)}")
        if any(calendar.startswith("(") for calendar in calendars):
            click.echo("Calendars in parentheses are not stored; they are derived from the symbol's name.")
        unclear = [info.symbol for info, calendar in zip(datasets, calendars, strict=True) if calendar == "?"]
        if unclear:
            click.echo(f"? is ambiguous: `ktrdr data calendar {unclear[0]}` shows more.")


@data.command(short_help="Show or set a symbol's calendar.")
@click.argument("symbol")
@click.argument("name", required=False)
@_JSON
def calendar(symbol: str, name: str | None, as_json: bool) -> None:
    """Show the calendar of SYMBOL, or set it to NAME: FX, 24/7 or an exchange such as XNYS.

    The calendar defines when the market is open, for all timeframes of the symbol. It decides which gaps are expected,
    and how many bars a year has.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.data.stored_calendar import change_calendar, stored_calendar

    store = default_store()
    found = stored_calendar(store, symbol) if name is None else change_calendar(store, symbol, name)
    if as_json:
        print_json(found.to_json())
        return
    click.echo(f"{symbol}: {found.statement}")
    if found.warning:
        click.echo(f"  warning: {found.warning}")


@data.command()
@click.argument("symbol")
@click.argument("timeframe")
@_START
@_END
@click.option("--rows", type=click.IntRange(min=0), default=10, show_default=True, help="Bars to show; 0 for all.")
@_JSON
def show(symbol: str, timeframe: str, start: str | None, end: str | None, rows: int, as_json: bool) -> None:
    """Show the first and the last bars of a range."""
    from ktrdr.core.cli.output import print_json, print_table
    from ktrdr.core.data.times import format_time
    from ktrdr.core.names import named_market

    bars = _load(symbol, timeframe, start, end)
    cut = 0 < rows < len(bars)
    head, tail = ((rows + 1) // 2, rows // 2) if cut else (len(bars), 0)
    chosen = [*range(head), *range(len(bars) - tail, len(bars))]
    if as_json:
        names = ("open", "high", "low", "close", "volume")
        print_json(
            {
                "symbol": symbol,
                "timeframe": timeframe,
                "world": bars.world,
                "rows": len(bars),
                "bars": [
                    {"time": _iso(bars.time[i])} | {name: getattr(bars, name)[i] for name in names} for i in chosen
                ],
            }
        )
        return
    table = [
        [
            format_time(bars.time[i]),
            *(f"{getattr(bars, name)[i]:.10g}" for name in ("open", "high", "low", "close")),
            _volume(bars.volume[i]),
        ]
        for i in chosen
    ]
    if cut and tail:
        table.insert(head, ["...", *[""] * 5])
    title = f"{named_market(f'{symbol} {timeframe}', bars.world)}: {len(bars):,} bars"
    columns = ["time (UTC)", "open", "high", "low", "close", "volume"]
    print_table(columns, table, right=columns[1:], title=title)


@data.command(short_help="Check stored bars: errors, gaps, jumps.")
@click.argument("symbol", required=False)
@click.argument("timeframe", required=False)
@click.option(
    "--calendar", metavar="NAME", help=f"Calendar for this check: {_CALENDARS}; by default that of the data set."
)
@_JSON
def check(symbol: str | None, timeframe: str | None, calendar: str | None, as_json: bool) -> None:
    """Check stored bars: errors, gaps against the market's calendar, jumps that look like splits.

    Without SYMBOL all data sets are checked. Exit status 2 means that a data set has errors.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.data.validation import validate_bars
    from ktrdr.core.errors import BadInputError

    store = default_store()
    chosen = [
        info for info in store.datasets() if symbol in (None, info.symbol) and timeframe in (None, info.timeframe)
    ]
    if not chosen and symbol is not None:
        store.info(symbol, timeframe or "1h")  # raises an error that lists the stored data
    results: list[dict[str, Any]] = []
    for info in chosen:
        try:
            report = validate_bars(store.read(info.symbol, info.timeframe), calendar)
        except BadInputError as error:
            if len(chosen) == 1:
                raise
            results.append({"symbol": info.symbol, "timeframe": info.timeframe, "ok": False, "error": str(error)})
            click.echo(f"Error: {error}", err=True)
            continue
        results.append(report.to_json())
        if not as_json:
            _print_validation(report)
    if as_json:
        print_json(results)
    elif not chosen:
        click.echo("No data is stored; `ktrdr data import FILE` adds some.")
    if not all(result["ok"] for result in results):
        sys.exit(2)


@data.command()
@click.argument("symbol")
@click.option("--to", "target", required=True, metavar="TIMEFRAME", help="Timeframe to resample to.")
@click.option(
    "--from", "source", metavar="TIMEFRAME", help="Stored timeframe to resample from; by default the best fit."
)
@_JSON
def resample(symbol: str, target: str, source: str | None, as_json: bool) -> None:
    """Resample stored bars to a coarser timeframe, and store the result.

    This is not needed before training: timeframes that are not stored are resampled when they are used.
    """
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.data.loading import load_bars
    from ktrdr.core.data.resample import resample as resample_bars
    from ktrdr.core.errors import BadInputError

    store = default_store()
    if source is not None:
        bars = resample_bars(store.read(symbol, source), target)
    elif store.has(symbol, target):
        raise BadInputError(f"{symbol} {target} is stored already; name the timeframe to resample from with --from")
    else:
        bars = load_bars(store, symbol, target)
    if not len(bars):
        raise BadInputError(f"the stored bars of {symbol} do not fill a single {target} bar")
    report = store.write(bars)
    if as_json:
        print_json(_info_json(store.info(symbol, target)) | {"added": report.added, "replaced": report.replaced})
    else:
        click.echo(
            f"{symbol} {target}: {report.added:,} bars added, {report.replaced:,} replaced, {report.rows:,} stored."
        )


@data.command(short_help="Write bars to a CSV or Parquet file.")
@click.argument("symbol")
@click.argument("timeframe")
@click.argument("file", type=click.Path(path_type=Path))
@_START
@_END
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
@_JSON
def export(
    symbol: str, timeframe: str, file: Path, start: str | None, end: str | None, force: bool, as_json: bool
) -> None:
    """Write bars to FILE: CSV or Parquet, by its suffix (.csv, .csv.gz, .parquet)."""
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.data.exporter import export_bars

    bars = _load(symbol, timeframe, start, end)
    export_bars(bars, file, overwrite=force)
    if as_json:
        print_json({"file": str(file), "symbol": symbol, "timeframe": timeframe, "rows": len(bars)})
    else:
        click.echo(f"{len(bars):,} bars of {symbol} {timeframe} written to {file}")
        if bars.calendar is not None and not file.name.lower().endswith(".parquet"):
            if bars.world:
                click.echo(f"A CSV file does not store that its bars are from the synthetic market {bars.world}.")
            click.echo(f"A CSV file does not store the calendar; import it with --calendar {bars.calendar}")


@data.command()
@click.argument("symbol")
@click.argument("timeframe", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@_JSON
def delete(symbol: str, timeframe: str | None, yes: bool, as_json: bool) -> None:
    """Delete the bars of SYMBOL: of one timeframe, or of all."""
    from ktrdr.core.cli.output import print_json
    from ktrdr.core.data.bar_store import default_store

    store = default_store()
    if timeframe is not None:
        timeframes = [timeframe]
        question = f"Delete {symbol} {timeframe}?"
    else:
        timeframes = [info.timeframe for info in store.datasets() if info.symbol == symbol]
        question = f"Delete {symbol} {', '.join(timeframes)}?"
        if not timeframes:
            store.delete(symbol, "1h")  # raises an error that lists the stored data
    if not yes:
        click.confirm(question, abort=True, err=as_json)
    for each in timeframes:
        store.delete(symbol, each)
        if not as_json:
            click.echo(f"{symbol} {each} deleted.")
    if as_json:
        print_json([{"symbol": symbol, "timeframe": each} for each in timeframes])


def _roles(columns: tuple[str, ...]) -> dict[str, str]:
    roles: dict[str, str] = {}
    for text in columns:
        role, separator, name = text.partition("=")
        if not separator or not name:
            raise click.BadParameter(f"{text!r} is not ROLE=NAME, such as open=PX_OPEN", param_hint="--column")
        roles[role] = name
    return roles


def _load(symbol: str, timeframe: str, start: str | None, end: str | None) -> Bars:
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.data.loading import load_bars
    from ktrdr.core.data.times import check_order, parse_time

    first = None if start is None else parse_time(start, "--start")
    until = None if end is None else parse_time(end, "--end")
    check_order(first, until)
    return load_bars(default_store(), symbol, timeframe, first, until)


def _numbers(changes: tuple[str, ...]) -> dict[str, Any]:
    """Return the parameters that ``--set`` gives; what is no number is left to their check."""
    from ktrdr.core.errors import BadInputError

    numbers: dict[str, Any] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or key in numbers:
            raise BadInputError(f"--set {change}: write each parameter once, as KEY=VALUE, such as --set price=100")
        try:
            numbers[key] = float(value)
        except ValueError:
            numbers[key] = value
    return numbers


def _print_import(report: ImportReport) -> None:
    for write, validation in zip(report.writes, report.validations, strict=True):
        click.echo(
            f"{write.symbol} {write.timeframe}: {write.added:,} bars added, {write.replaced:,} replaced, "
            f"{write.unchanged:,} already there; {write.rows:,} stored."
        )
        for finding in validation.findings:
            click.echo(f"  {finding.severity}: {finding.message}")
    for note in report.notes:
        click.echo(f"  note: {note}")


def _print_validation(report: ValidationReport) -> None:
    from ktrdr.core.names import named_market

    gaps = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in report.gaps.items() if count)
    verdict = "no errors" if report.ok else "ERRORS"
    click.echo(
        f"{named_market(f'{report.symbol} {report.timeframe}', report.world)}: {report.rows:,} bars, {verdict}; "
        f"gaps by the calendar {report.calendar}: {gaps or 'none'}"
    )
    for finding in report.findings:
        click.echo(f"  {finding.severity}: {finding.message}")


def _info_json(info: DatasetInfo) -> dict[str, Any]:
    from ktrdr.core.data.stored_calendar import listed_calendar

    return {
        "symbol": info.symbol,
        "timeframe": info.timeframe,
        "rows": info.rows,
        "start": _iso(info.start),
        "end": _iso(info.end),
        "bytes": info.bytes,
        "world": info.world,
        **listed_calendar(info.symbol, info.calendar),
    }


def _calendar(info: DatasetInfo) -> str:
    """Return the calendar of a data set: in parentheses if it is not stored, ``?`` if it is ambiguous."""
    from ktrdr.core.data.symbol_spelling import readings

    if info.calendar is not None:
        return info.calendar
    told = readings(info.symbol)
    return f"({told[0].calendar})" if len(told) == 1 else "?"


def _iso(time: Any) -> str:
    return f"{time.astype('datetime64[s]')}Z"


def _volume(volume: float) -> str:
    if volume != volume:
        return "unknown"
    return f"{volume:,.0f}" if volume >= 1e6 else f"{volume:.10g}"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} GB"
