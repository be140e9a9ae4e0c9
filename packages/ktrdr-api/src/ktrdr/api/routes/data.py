"""Market data: list, import, read, check and delete data sets; calendars of symbols."""

from __future__ import annotations

import datetime as dt
import inspect
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from ktrdr.api.http.downloads import FILE, PARQUET, temporary_file
from ktrdr.api.http.problems import Problem, ProblemError
from ktrdr.api.http.query_options import as_query
from ktrdr.api.http.uploads import receive
from ktrdr.api.routes._shared.bar_queries import Instant, Store, TimeframeName, load, utc
from ktrdr.core.errors import BadInputError
from ktrdr.core.files.json_values import plain_json
from ktrdr.core.names import SYMBOL_PATTERN, check_symbol

__all__ = ["router"]

router = APIRouter(tags=["data"])


async def _possible(symbol: Annotated[str, Path(pattern=f"^{SYMBOL_PATTERN}$", examples=["EURUSD"])]) -> str:
    """Return the symbol, or answer 404 for a name that no data set can have."""
    try:
        return check_symbol(symbol)
    except BadInputError as error:
        raise ProblemError(404, "not-found", "Not found", str(error), field="path.symbol") from None


SymbolPath = Annotated[str, Depends(_possible)]
Moment = Annotated[Instant | None, Query(examples=["2017-03-01T00:00:00Z"])]

_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There are no such bars"}}


class DatasetView(BaseModel):
    """One data set; it covers ``[start, end)``, from the open of the first bar to the close of the last.

    A ``calendar`` that is not stored is derived from the name of the symbol; ``null`` if the name is ambiguous.
    ``world`` is the name of the synthetic market that the bars are from, empty for imported bars.
    """

    symbol: str
    timeframe: str
    rows: int
    start: dt.datetime
    end: dt.datetime
    bytes: int
    calendar: str | None
    calendar_stored: bool
    world: str


class CalendarChange(BaseModel):
    """``FX``, ``24/7`` or an exchange such as ``XNYS``."""

    calendar: Annotated[str, Field(max_length=32, examples=["XNYS"])]


class CalendarView(BaseModel):
    """The calendar of all timeframes of a symbol.

    ``told_by`` is the source: ``stored``, ``name`` of the symbol, or ``times`` of the bars if the name is ambiguous.
    ``choices`` are the possible calendars if no source decides; ``warning`` says what else a change requires.
    """

    symbol: str
    calendar: str
    told_by: Literal["stored", "times", "name"]
    choices: list[str]
    warning: str


class BarsPage(BaseModel):
    """Columns of bars, labelled by their open; ``next`` is the ``start`` of the following page.

    ``world`` is the name of the synthetic market that the bars are from, empty for imported bars.
    """

    symbol: str
    timeframe: str
    world: str
    time: list[dt.datetime]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float | None]
    next: dt.datetime | None


@router.get("/data")
def list_data(store: Store) -> list[DatasetView]:
    """List the stored data sets."""
    from ktrdr.core.data.stored_calendar import listed_calendar

    return [
        DatasetView(
            symbol=info.symbol,
            timeframe=info.timeframe,
            rows=info.rows,
            start=utc(info.start),
            end=utc(info.end),
            bytes=info.bytes,
            world=info.world,
            **listed_calendar(info.symbol, info.calendar),
        )
        for info in store.datasets()
    ]


@router.get("/calendars/{symbol}", responses=_MISSING)
def get_calendar(symbol: SymbolPath, store: Store) -> CalendarView:
    """Return the calendar of a symbol, which says when its market is open."""
    from ktrdr.core.data.stored_calendar import stored_calendar

    return CalendarView.model_validate(stored_calendar(store, symbol).to_json())


@router.put("/calendars/{symbol}", responses=_MISSING)
def set_calendar(symbol: SymbolPath, change: CalendarChange, store: Store) -> CalendarView:
    """Store the calendar of a symbol, for all its timeframes."""
    from ktrdr.core.data.stored_calendar import change_calendar

    return CalendarView.model_validate(change_calendar(store, symbol, change.calendar).to_json())


@router.get("/data/{symbol}/{timeframe}", responses=_MISSING)
def get_bars(
    symbol: SymbolPath,
    timeframe: TimeframeName,
    store: Store,
    start: Moment = None,
    end: Moment = None,
    limit: Annotated[int, Query(ge=1, le=50_000)] = 1000,
) -> BarsPage:
    """Return a page of bars that open in ``[start, end)``, oldest first.

    Bars of a timeframe that is not stored are resampled from a finer stored timeframe.
    """
    bars = load(store, symbol, timeframe, start, end)
    page = bars[:limit]
    return BarsPage(
        symbol=bars.symbol,
        timeframe=bars.timeframe.name,
        world=bars.world,
        time=[utc(time) for time in page.time],
        open=page.open.tolist(),
        high=page.high.tolist(),
        low=page.low.tolist(),
        close=page.close.tolist(),
        volume=plain_json(page.volume),
        next=utc(bars.time[limit]) if len(bars) > limit else None,
    )


@router.get(
    "/data/{symbol}/{timeframe}/parquet",
    response_class=FileResponse,
    responses={200: {"content": {PARQUET: FILE}, "description": "The bars as one file"}, **_MISSING},
)
def get_parquet(
    symbol: SymbolPath, timeframe: TimeframeName, store: Store, start: Moment = None, end: Moment = None
) -> FileResponse:
    """Return bars that open in ``[start, end)`` as one Parquet file."""
    from ktrdr.core.data.exporter import export_bars

    bars = load(store, symbol, timeframe, start, end)
    return temporary_file(
        lambda path: export_bars(bars, path, overwrite=True),
        filename=f"{bars.symbol}_{bars.timeframe}.parquet",
        media_type=PARQUET,
    )


class FindingView(BaseModel):
    """A problem in the bars; ``times`` are the opens of the first bars with it."""

    kind: str
    severity: str
    message: str
    count: int
    times: list[dt.datetime]


class DataReport(BaseModel):
    """Report on a data set: gaps by kind, according to the calendar of the market, and findings."""

    symbol: str
    timeframe: str
    rows: int
    calendar: str
    world: str
    ok: bool
    gaps: dict[str, int]
    missing_bars: int
    findings: list[FindingView]


class DatasetWritten(BaseModel):
    """The effect of an import on one data set, and a report on the imported bars."""

    symbol: str
    timeframe: str
    added: int
    replaced: int
    unchanged: int
    rows: int
    validation: DataReport


class Imported(BaseModel):
    """Result of an import; ``notes`` list assumptions, and parts of the file that were left out."""

    datasets: list[DatasetWritten]
    notes: list[str]


@router.post(
    "/data",
    status_code=201,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def import_data(
    request: Request,
    store: Store,
    filename: Annotated[str, Query(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")],
    symbol: Annotated[str | None, Query(pattern=f"^{SYMBOL_PATTERN}$")] = None,
    timeframe: Annotated[TimeframeName | None, Query()] = None,
    timezone: Annotated[str | None, Query(max_length=64)] = None,
    calendar: Annotated[str | None, Query(max_length=32, examples=["XNYS"])] = None,
    dates: Annotated[Literal["day-first", "month-first"] | None, Query()] = None,
    decimal: Annotated[Literal["point", "comma"] | None, Query()] = None,
    label: Annotated[Literal["open", "close"], Query()] = "open",
    column: Annotated[
        list[Annotated[str, Field(max_length=128, pattern=r"^[a-z]+=.+$")]] | None,
        Query(max_length=8, examples=[["close=PX_LAST"]]),
    ] = None,
    skip_bad: bool = False,
    align: bool = False,
) -> Imported:
    """Import the CSV or Parquet file in the body, as `ktrdr data import` does.

    ``filename`` is the vendor's name of the file: its suffix gives the format, and it may contain the symbol. The
    other parameters are the options of the command; ``column`` may be repeated.
    """
    from ktrdr.core.data.vendor.importer import import_file

    columns = dict(text.split("=", 1) for text in column or ())
    async with receive(request, filename) as path:
        try:
            report = await run_in_threadpool(
                import_file,
                path,
                store,
                symbol=symbol,
                timeframe=timeframe,
                timezone=timezone,
                calendar=calendar,
                columns=columns,
                dates=dates,
                decimal=decimal,
                label=label,
                skip_bad=skip_bad,
                align=align,
            )
        except BadInputError as error:
            raise BadInputError(_as_query(str(error))) from error
    answer = report.to_json() | {"notes": [_as_query(note) for note in report.notes]}
    for dataset in answer["datasets"]:
        for finding in dataset["validation"]["findings"]:
            finding["message"] = _as_query(finding["message"])
    return Imported.model_validate(answer)


def _as_query(message: str) -> str:
    return as_query(message, inspect.signature(import_data).parameters, ("skip_bad", "align"))


@router.get("/data/{symbol}/{timeframe}/report", responses=_MISSING)
def get_data_report(symbol: SymbolPath, timeframe: TimeframeName, store: Store) -> DataReport:
    """Check a stored data set without changing it."""
    from ktrdr.core.data.validation import validate_bars

    report = validate_bars(store.read(symbol, timeframe))
    findings = [
        FindingView(
            kind=finding.kind,
            severity=finding.severity,
            message=finding.message,
            count=finding.count,
            times=[utc(time) for time in finding.times],
        )
        for finding in report.findings
    ]
    return DataReport.model_validate(report.to_json() | {"findings": findings})


@router.delete("/data/{symbol}/{timeframe}", status_code=204, responses=_MISSING)
def delete_data(symbol: SymbolPath, timeframe: TimeframeName, store: Store) -> None:
    """Delete a data set."""
    store.delete(symbol, timeframe)
