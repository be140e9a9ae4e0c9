"""Market data: what is stored, bars by page or as Parquet, what is odd about them, deletion."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse
from pydantic import AwareDatetime, BaseModel
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from ktrdr.api.services import Services, services
from ktrdr.api.uploads import receive
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.store import BarStore

__all__ = ["router"]

router = APIRouter(tags=["data"])

Opened = Annotated[Services, Depends(services)]
Moment = Annotated[AwareDatetime | None, Query()]


class DatasetView(BaseModel):
    """One data set; ``[start, end)`` from the open of the first bar to the close of the last."""

    symbol: str
    timeframe: str
    rows: int
    start: dt.datetime
    end: dt.datetime
    bytes: int


class BarsPage(BaseModel):
    """Columns of bars, labelled by their open; ``next`` is the ``start`` of the following page."""

    symbol: str
    timeframe: str
    time: list[dt.datetime]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float | None]
    next: dt.datetime | None


def store_of(opened: Opened) -> BarStore:
    """Return the bar store of the server."""
    return BarStore(opened.home / "data")


Store = Annotated[BarStore, Depends(store_of)]


def utc(time: np.datetime64) -> dt.datetime:
    """Return an aware time; bars are labelled to the microsecond at most."""
    return time.astype("datetime64[us]").item().replace(tzinfo=dt.UTC)


def moment(time: dt.datetime | None) -> np.datetime64 | None:
    """Return a time as the store takes it."""
    if time is None:
        return None
    return np.datetime64(time.astimezone(dt.UTC).replace(tzinfo=None), "ns")


@router.get("/data")
def list_data(store: Store) -> list[DatasetView]:
    """List what is stored."""
    return [
        DatasetView(
            symbol=info.symbol,
            timeframe=info.timeframe,
            rows=info.rows,
            start=utc(info.start),
            end=utc(info.end),
            bytes=info.bytes,
        )
        for info in store.datasets()
    ]


def _load(store: BarStore, symbol: str, timeframe: str, start: dt.datetime | None, end: dt.datetime | None) -> Bars:
    from ktrdr.core.data.loading import load_bars

    return load_bars(store, symbol, timeframe, moment(start), moment(end))


@router.get("/data/{symbol}/{timeframe}")
def get_bars(
    symbol: str,
    timeframe: str,
    store: Store,
    start: Moment = None,
    end: Moment = None,
    limit: Annotated[int, Query(ge=1, le=50_000)] = 1000,
) -> BarsPage:
    """Return bars that open in ``[start, end)``, oldest first, a page at a time.

    A timeframe that is not stored is resampled from a finer one that is.
    """
    bars = _load(store, symbol, timeframe, start, end)
    page = bars[:limit]
    volume: list[Any] = np.where(np.isnan(page.volume), None, page.volume.astype(object)).tolist()
    return BarsPage(
        symbol=bars.symbol,
        timeframe=bars.timeframe.name,
        time=[utc(time) for time in page.time],
        open=page.open.tolist(),
        high=page.high.tolist(),
        low=page.low.tolist(),
        close=page.close.tolist(),
        volume=volume,
        next=utc(bars.time[limit]) if len(bars) > limit else None,
    )


@router.get(
    "/data/{symbol}/{timeframe}/parquet",
    response_class=FileResponse,
    responses={200: {"content": {"application/vnd.apache.parquet": {}}, "description": "The bars as one file"}},
)
def get_parquet(symbol: str, timeframe: str, store: Store, start: Moment = None, end: Moment = None) -> FileResponse:
    """Return bars that open in ``[start, end)`` as one Parquet file."""
    from ktrdr.core.data.parquet import write_parquet

    bars = _load(store, symbol, timeframe, start, end)
    with tempfile.NamedTemporaryFile(suffix=".parquet", delete=False) as file:
        path = Path(file.name)
    write_parquet(bars, path)
    return FileResponse(
        path,
        media_type="application/vnd.apache.parquet",
        filename=f"{bars.symbol}_{bars.timeframe}.parquet",
        background=BackgroundTask(path.unlink),
    )


class FindingView(BaseModel):
    """Something odd; ``times`` are opens of the first bars concerned."""

    kind: str
    severity: str
    message: str
    count: int
    times: list[dt.datetime]


class DataReport(BaseModel):
    """What is odd about a data set: gaps by kind, against the market's calendar, and findings."""

    symbol: str
    timeframe: str
    rows: int
    calendar: str
    ok: bool
    gaps: dict[str, int]
    missing_bars: int
    findings: list[FindingView]


class DatasetWritten(BaseModel):
    """What an import did to one data set, and what is odd about what it brought."""

    symbol: str
    timeframe: str
    added: int
    replaced: int
    unchanged: int
    rows: int
    validation: DataReport


class Imported(BaseModel):
    """``notes`` say what was assumed, and what of the file was left out."""

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
    symbol: Annotated[str | None, Query(max_length=64)] = None,
    timeframe: Annotated[str | None, Query(max_length=8)] = None,
    timezone: Annotated[str | None, Query(max_length=64)] = None,
) -> Imported:
    """Import the CSV or Parquet file in the body, as `ktrdr data import` does.

    ``filename`` is the vendor's name of the file: its ending tells the kind, and it may name the symbol.
    """
    from ktrdr.core.data.importer import import_file

    async with receive(request, filename) as path:
        report = await run_in_threadpool(
            import_file, path, store, symbol=symbol, timeframe=timeframe, timezone=timezone
        )
    return Imported.model_validate(report.to_json() | {"notes": list(report.notes)})


@router.get("/data/{symbol}/{timeframe}/report")
def get_report(symbol: str, timeframe: str, store: Store) -> DataReport:
    """Check a stored data set; nothing is changed."""
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


@router.delete("/data/{symbol}/{timeframe}", status_code=204)
def delete_data(symbol: str, timeframe: str, store: Store) -> None:
    """Remove a data set."""
    store.delete(symbol, timeframe)
