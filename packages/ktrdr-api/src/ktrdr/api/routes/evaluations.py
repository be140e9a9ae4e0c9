"""Evaluations: start one, and read its facts, curves and report."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Response
from fastapi.responses import FileResponse, HTMLResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from ktrdr.api.http.downloads import FILE, ZIP, report_page, temporary_file
from ktrdr.api.http.problems import Problem
from ktrdr.api.ledger.operation_json import shown
from ktrdr.api.routes._shared.bar_queries import Store as Bars
from ktrdr.api.routes._shared.starting import STARTED, IdempotencyKey, completed, start
from ktrdr.api.routes._shared.strategy_loading import offered
from ktrdr.api.routes._shared.strategy_requests import OneStrategy, strategy_job
from ktrdr.api.routes.operations import OperationId, OperationView, view
from ktrdr.api.routes.strategies import EXAMPLE, Store
from ktrdr.api.services import Opened
from ktrdr.core.jobs.job_settings import EvaluationSettings
from ktrdr.core.jobs.kinds import EvaluationJob
from ktrdr.core.limits import LARGEST_VERSION
from ktrdr.core.names import NAME_PATTERN
from ktrdr.core.validation.evaluation_result import EvaluationFacts

if TYPE_CHECKING:
    import numpy as np

    from ktrdr.api.strategy_files import StrategyStore
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.strategy.model import Strategy

__all__ = ["router"]

router = APIRouter(tags=["evaluations"])

_NAME = f"^{NAME_PATTERN}$"
StrategyName = Annotated[str, Path(pattern=_NAME, examples=["rsi_reversion"])]
Number = Annotated[int, Path(ge=1, le=LARGEST_VERSION)]

_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such evaluation"}}


class EvaluationRequest(OneStrategy, EvaluationSettings):
    """Evaluate a stored ``strategy``, by name, or the one in ``strategy_text``.

    Settings that are left out have the values of the strategy. Days are UTC and inclusive.
    """


_EXAMPLES = {
    "stored": {"summary": "A stored strategy", "value": {"strategy": "rsi_reversion", "seeds": 3}},
    "text": {"summary": "A strategy in the request", "value": {"strategy_text": EXAMPLE, "commission": 0.00002}},
}


class EvaluationSummary(BaseModel):
    """One stored evaluation; a damaged one has only ``evaluation`` and ``problem``.

    ``sharpe`` is the median over all paths and seeds.
    """

    evaluation: str
    strategy: str | None = None
    validation: str | None = None
    symbols: list[str] = []
    timeframe: str | None = None
    world: str = ""
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    folds: int | None = None
    seeds: int | None = None
    sharpe: float | None = None
    problem: str = ""


class EvaluationCurves(BaseModel):
    """A page of the curves of an evaluation: one entry per bar, labelled by its open, with the values at its close.

    ``accounts`` are in the order of the ``paths`` of the evaluation; ``total`` is the number of all entries.
    """

    total: int
    time: list[str]
    accounts: list[list[float | None]]
    buy_and_hold: list[float | None]
    close: list[float | None]


@router.post(
    "/evaluations",
    status_code=202,
    responses={**STARTED, 404: {"model": Problem, "description": "There is no such strategy"}},
)
async def start_evaluation(
    asked: Annotated[EvaluationRequest, Body(openapi_examples=_EXAMPLES)],
    response: Response,
    opened: Opened,
    store: Store,
    bars: Bars,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    """Queue an evaluation. It runs as soon as a worker with the plugin of the model is free."""

    async def prepare() -> tuple[dict[str, Any], list[str]]:
        return await run_in_threadpool(_job, asked, store, bars, await offered(opened))

    return view(await start(opened, response, "evaluation", asked, idempotency_key, prepare))


def _job(
    asked: EvaluationRequest, store: StrategyStore, bars: BarStore, known: frozenset[str]
) -> tuple[dict[str, Any], list[str]]:
    from ktrdr.core.training.overrides import override_evaluated

    def check(strategy: Strategy) -> None:
        override_evaluated(strategy, asked)

    return strategy_job(asked, asked, EvaluationJob, check, store, bars, known)


@router.get("/evaluations")
def list_evaluations(
    opened: Opened, name: Annotated[str | None, Query(pattern=_NAME)] = None
) -> list[EvaluationSummary]:
    """List the stored evaluations, or those of one strategy by its name."""
    from ktrdr.core.validation.stored_evaluation import list_evaluations

    return [
        EvaluationSummary(evaluation=entry.name, problem=entry.problem)
        if entry.facts is None
        else _summary(entry.facts)
        for entry in list_evaluations(opened.home / "evaluations")
        if name is None or entry.name.partition("/")[0] == name
    ]


def _summary(facts: EvaluationFacts) -> EvaluationSummary:
    return EvaluationSummary(
        evaluation=facts.evaluation,
        strategy=facts.strategy,
        validation=facts.validation.type,
        symbols=list(facts.symbols),
        timeframe=facts.timeframe,
        world=facts.world,
        start=facts.tested.start,
        end=facts.tested.end,
        folds=len(facts.folds),
        seeds=len(facts.seeds),
        sharpe=facts.spread["sharpe"].median if "sharpe" in facts.spread else None,
    )


@router.get(
    "/evaluations/{operation_id}/result",
    responses={
        404: {"model": Problem, "description": "There is no such evaluation"},
        409: {"model": Problem, "description": "The evaluation has no result (yet)"},
    },
)
async def get_evaluation_result(operation_id: OperationId, opened: Opened) -> EvaluationFacts:
    """Return the result of a completed evaluation; ``evaluation`` is its name in the store."""
    result = shown(completed(await opened.ledger.get(operation_id), "evaluation"))
    return EvaluationFacts.model_validate({key: result[key] for key in EvaluationFacts.model_fields if key in result})


@router.get("/evaluations/{name}/{number}", responses=_MISSING)
def get_evaluation(name: StrategyName, number: Number, opened: Opened) -> EvaluationFacts:
    """Return a stored evaluation without its curves."""
    from ktrdr.core.validation.stored_evaluation import load_evaluation

    return load_evaluation(f"{name}/{number}", opened.home / "evaluations").facts


@router.get("/evaluations/{name}/{number}/curves", responses=_MISSING)
def get_evaluation_curves(
    name: StrategyName,
    number: Number,
    opened: Opened,
    offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=50_000)] = 1000,
) -> EvaluationCurves:
    """Return a page of the equity of every account, beside buy and hold."""
    from ktrdr.core.backtesting.tables import time_text
    from ktrdr.core.files.json_values import plain_json
    from ktrdr.core.validation.stored_evaluation import load_evaluation

    curves = load_evaluation(f"{name}/{number}", opened.home / "evaluations").curves
    page = slice(offset, offset + limit)

    def column(values: np.ndarray) -> Any:
        return plain_json(values[page])

    return EvaluationCurves(
        total=len(curves.time),
        time=time_text(curves.time[page]),
        accounts=[column(account) for account in curves.equity],
        buy_and_hold=column(curves.buy_and_hold),
        close=column(curves.close),
    )


@router.get(
    "/evaluations/{name}/{number}/archive",
    response_class=FileResponse,
    responses={200: {"content": {ZIP: FILE}, "description": "All files of the evaluation"}, **_MISSING},
)
def get_evaluation_archive(name: StrategyName, number: Number, opened: Opened) -> FileResponse:
    """Return all files of an evaluation as one zip file."""
    from ktrdr.core.files.result_archive import pack_result
    from ktrdr.core.validation.stored_evaluation import evaluation_directory

    directory = evaluation_directory(f"{name}/{number}", opened.home / "evaluations")
    return temporary_file(lambda path: pack_result(directory, path), filename=f"{name}-{number}.zip", media_type=ZIP)


@router.get(
    "/evaluations/{name}/{number}/report",
    response_class=HTMLResponse,
    responses={200: {"description": "A self-contained HTML page"}, **_MISSING},
)
def get_evaluation_report(name: StrategyName, number: Number, opened: Opened) -> Response:
    """Return the report as one self-contained HTML page."""
    from ktrdr.core.report.evaluation_page import write_evaluation_page
    from ktrdr.core.validation.stored_evaluation import load_evaluation

    evaluation = load_evaluation(f"{name}/{number}", opened.home / "evaluations")
    return report_page(lambda path: write_evaluation_page(evaluation, path), f"{name}-{number}.html")
