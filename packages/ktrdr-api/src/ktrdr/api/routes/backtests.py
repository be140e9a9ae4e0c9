"""Backtests: start one, and read its metrics, trades, equity curve and report."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from fastapi.responses import FileResponse, HTMLResponse
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from ktrdr.api.http.downloads import FILE, PARQUET, ZIP, report_page, temporary_file
from ktrdr.api.http.problems import Problem
from ktrdr.api.ledger.operation_json import shown
from ktrdr.api.routes._shared.bar_queries import Store as Bars
from ktrdr.api.routes._shared.result_files import read_backtest, result_directory
from ktrdr.api.routes._shared.starting import STARTED, IdempotencyKey, completed, start
from ktrdr.api.routes._shared.stored_symbols import check_stored
from ktrdr.api.routes.models import Store as Models
from ktrdr.api.routes.operations import OperationId, OperationView, view
from ktrdr.api.services import Opened, Services
from ktrdr.core.jobs.kinds import BacktestJob

if TYPE_CHECKING:
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.models.model_store import ModelStore

__all__ = ["router"]

router = APIRouter(tags=["backtests"])


class BacktestRequest(BacktestJob):
    """Backtest ``model`` (``name/version``, or the latest version of ``name``). Days are UTC and inclusive."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "rsi_reversion/1", "commission": 0.00002, "slippage": 0.00002}]}
    )


class BacktestMetrics(BaseModel):
    """Metrics of the strategy, of buying and holding, and of simple baselines; ``null``: not defined."""

    metrics: dict[str, Any]
    benchmark: dict[str, Any]
    baselines: list[dict[str, Any]]


class Trades(BaseModel):
    """A page of trades in the order of their entries, each with its reasons; ``total`` is the number of all trades."""

    total: int
    items: list[dict[str, Any]]


class Equity(BaseModel):
    """A page of the equity curve: one entry per bar, labelled by its open, with the values at its close.

    ``total`` is the number of all entries.
    """

    total: int
    time: list[str]
    equity: list[float | None]
    cash: list[float | None]
    positions: list[float | None]
    drawdown: list[float | None]
    benchmark: list[float | None]


class BacktestSummary(BaseModel):
    """The result of a backtest without its tables."""

    model_config = ConfigDict(extra="allow")

    model: str


Offset = Annotated[int, Query(ge=0, le=1_000_000_000)]
Limit = Annotated[int, Query(ge=1, le=50_000)]

_RESULT: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such backtest, or its files are not on this server"},
    409: {"model": Problem, "description": "The backtest has no result (yet)"},
}


@router.post(
    "/backtests",
    status_code=202,
    responses={**STARTED, 404: {"model": Problem, "description": "There is no such model"}},
)
async def start_backtest(
    asked: Annotated[BacktestRequest, Body()],
    response: Response,
    opened: Opened,
    store: Models,
    bars: Bars,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    """Queue a backtest. It runs as soon as a worker is free, with the model's plugin unless its twin predicts."""
    prepare = functools.partial(run_in_threadpool, _job, asked, store, bars)
    return view(await start(opened, response, "backtest", asked, idempotency_key, prepare))


def _job(asked: BacktestRequest, store: ModelStore, bars: BarStore) -> tuple[dict[str, Any], list[str]]:
    from ktrdr.api.operations.requirements import backtest_needs

    manifest = store.get(asked.model).manifest
    check_stored(asked.symbols, bars)
    job = asked.to(BacktestJob, model=manifest.ref)
    return job.model_dump(mode="json"), backtest_needs(manifest, job)


async def _result(operation_id: str, opened: Services) -> Any:
    return completed(await opened.ledger.get(operation_id), "backtest")


@router.get("/backtests/{operation_id}/result", responses=_RESULT)
async def get_backtest_result(operation_id: OperationId, opened: Opened) -> BacktestSummary:
    """Return the result of a completed backtest, without its tables."""
    return BacktestSummary.model_validate(shown(await _result(operation_id, opened)))


@router.get("/backtests/{operation_id}/metrics", responses=_RESULT)
async def get_backtest_metrics(operation_id: OperationId, opened: Opened) -> BacktestMetrics:
    """Return the metrics of a backtest, with those of the benchmark and the baselines."""
    result = await _result(operation_id, opened)
    return BacktestMetrics.model_validate({name: result[name] for name in BacktestMetrics.model_fields})


@router.get("/backtests/{operation_id}/trades", responses=_RESULT)
async def get_trades(operation_id: OperationId, opened: Opened, offset: Offset = 0, limit: Limit = 1000) -> Trades:
    """Return a page of trades, each with the memberships and outputs that led to it."""
    result = await _result(operation_id, opened)

    def read() -> Trades:
        rows = read_backtest(opened.home, result).trade_rows()
        return Trades(total=len(rows), items=rows[offset : offset + limit])

    return await run_in_threadpool(read)


@router.get("/backtests/{operation_id}/equity", responses=_RESULT)
async def get_equity(operation_id: OperationId, opened: Opened, offset: Offset = 0, limit: Limit = 5000) -> Equity:
    """Return a page of the equity curve."""
    from ktrdr.core.backtesting.tables import read_table, time_text

    result = await _result(operation_id, opened)

    def read() -> Equity:
        from ktrdr.core.files.json_values import plain_json

        table = read_table(result_directory(opened.home, result) / "equity.parquet")
        page = {name: column[offset : offset + limit] for name, column in table.items()}
        times = time_text(page.pop("time"))
        columns = {name: plain_json(column) for name, column in page.items()}
        return Equity.model_validate({"total": len(table["time"]), "time": times, **columns})

    return await run_in_threadpool(read)


def _file(path: Path, filename: str) -> FileResponse:
    return FileResponse(path, media_type=PARQUET, filename=filename)


@router.get(
    "/backtests/{operation_id}/trades/parquet",
    response_class=FileResponse,
    responses={200: {"content": {PARQUET: FILE}, "description": "All trades as one file"}, **_RESULT},
)
async def get_trades_parquet(operation_id: OperationId, opened: Opened) -> FileResponse:
    """Return all trades as a Parquet file."""
    directory = result_directory(opened.home, await _result(operation_id, opened))
    return _file(directory / "trades.parquet", f"{operation_id}-trades.parquet")


@router.get(
    "/backtests/{operation_id}/equity/parquet",
    response_class=FileResponse,
    responses={200: {"content": {PARQUET: FILE}, "description": "The whole equity curve as one file"}, **_RESULT},
)
async def get_equity_parquet(operation_id: OperationId, opened: Opened) -> FileResponse:
    """Return the equity curve as a Parquet file."""
    directory = result_directory(opened.home, await _result(operation_id, opened))
    return _file(directory / "equity.parquet", f"{operation_id}-equity.parquet")


@router.get(
    "/backtests/{operation_id}/archive",
    response_class=FileResponse,
    responses={200: {"content": {ZIP: FILE}, "description": "All files of the run"}, **_RESULT},
)
async def get_backtest_archive(operation_id: OperationId, opened: Opened) -> FileResponse:
    """Return all files of the run as one zip file."""
    directory = result_directory(opened.home, await _result(operation_id, opened))

    def make() -> FileResponse:
        from ktrdr.core.files.result_archive import pack_result

        return temporary_file(lambda path: pack_result(directory, path), filename=f"{operation_id}.zip", media_type=ZIP)

    return await run_in_threadpool(make)


@router.get(
    "/backtests/{operation_id}/report",
    response_class=HTMLResponse,
    responses={200: {"description": "A self-contained HTML page"}, **_RESULT},
)
async def get_backtest_report(operation_id: OperationId, opened: Opened) -> Response:
    """Return the report as one self-contained HTML page."""
    result = await _result(operation_id, opened)

    def make() -> FileResponse:
        backtest = read_backtest(opened.home, result)
        from ktrdr.core.report import write_report
        from ktrdr.core.report.strategy_verdict import latest_verdict_of

        verdict = latest_verdict_of(backtest, opened.home / "verdicts")
        return report_page(lambda path: write_report(backtest, path, verdict=verdict), f"{operation_id}.html")

    return await run_in_threadpool(make)
