"""Verdicts: start one, and read its facts and report."""

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
from ktrdr.core.jobs.job_settings import VerdictSettings
from ktrdr.core.jobs.kinds import VerdictJob
from ktrdr.core.limits import LARGEST_VERSION
from ktrdr.core.names import NAME_PATTERN
from ktrdr.core.verdicts.verdict_result import VerdictFacts, Word

if TYPE_CHECKING:
    from ktrdr.api.strategy_files import StrategyStore
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.strategy.model import Strategy

__all__ = ["router"]

router = APIRouter(tags=["verdicts"])

_NAME = f"^{NAME_PATTERN}$"
StrategyName = Annotated[str, Path(pattern=_NAME, examples=["rsi_reversion"])]
Number = Annotated[int, Path(ge=1, le=LARGEST_VERSION)]

_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such verdict"}}


class VerdictRequest(OneStrategy, VerdictSettings):
    """Judge whether a stored ``strategy``, by name, or the one in ``strategy_text`` has an edge.

    Settings that are left out have the values of the strategy. Days are UTC and inclusive.
    """


_EXAMPLES = {
    "stored": {"summary": "A stored strategy", "value": {"strategy": "rsi_reversion", "commission": 0.0001}},
    "quick": {
        "summary": "The quick form of a strategy in the request",
        "value": {"strategy_text": EXAMPLE, "quick": True, "commission": 0.0001},
    },
}


class VerdictSummary(BaseModel):
    """One stored verdict; a damaged one has only ``verdict`` and ``problem``.

    ``sharpe`` is the annual Sharpe ratio of the median account, ``low`` to ``high`` its 90 % interval, and
    ``deflated_sharpe`` the probability that it is not luck; null where a verdict has none.
    """

    verdict: str
    word: Word | None = None
    sentence: str = ""
    strategy: str | None = None
    choice: str | None = None
    made: dt.datetime | None = None
    quick: bool | None = None
    symbols: list[str] = []
    timeframe: str | None = None
    world: str = ""
    sharpe: float | None = None
    low: float | None = None
    high: float | None = None
    deflated_sharpe: float | None = None
    trials: int | None = None
    evaluation: str | None = None
    problem: str = ""


class VerdictAnswer(VerdictFacts):
    """A verdict, with the status that ``ktrdr verdict`` would end with: 0, 3, 4 or 5."""

    exit_status: int


@router.post(
    "/verdicts",
    status_code=202,
    responses={**STARTED, 404: {"model": Problem, "description": "There is no such strategy"}},
)
async def start_verdict(
    asked: Annotated[VerdictRequest, Body(openapi_examples=_EXAMPLES)],
    response: Response,
    opened: Opened,
    store: Store,
    bars: Bars,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    """Queue a verdict. It runs as soon as a worker with the plugin of the model is free."""

    async def prepare() -> tuple[dict[str, Any], list[str]]:
        return await run_in_threadpool(_job, asked, store, bars, await offered(opened))

    return view(await start(opened, response, "verdict", asked, idempotency_key, prepare))


def _job(
    asked: VerdictRequest, store: StrategyStore, bars: BarStore, known: frozenset[str]
) -> tuple[dict[str, Any], list[str]]:
    from ktrdr.core.training.overrides import override_evaluated

    def check(strategy: Strategy) -> None:
        override_evaluated(strategy, asked.evaluation())

    return strategy_job(asked, asked, VerdictJob, check, store, bars, known)


@router.get("/verdicts")
def list_verdicts(opened: Opened, name: Annotated[str | None, Query(pattern=_NAME)] = None) -> list[VerdictSummary]:
    """List the stored verdicts, or those on one strategy by its name."""
    from ktrdr.core.verdicts.stored_verdict import list_verdicts

    return [
        VerdictSummary(verdict=entry.name, problem=entry.problem) if entry.facts is None else _summary(entry.facts)
        for entry in list_verdicts(opened.home / "verdicts")
        if name is None or entry.name.partition("/")[0] == name
    ]


def _summary(facts: VerdictFacts) -> VerdictSummary:
    found = facts.deflation
    return VerdictSummary(
        verdict=facts.verdict,
        word=facts.word,
        sentence=facts.sentence,
        strategy=facts.strategy,
        choice=facts.choice,
        made=facts.made,
        quick=facts.quick,
        symbols=list(facts.symbols),
        timeframe=facts.timeframe,
        world=facts.world,
        sharpe=None if found is None else found.sharpe,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        deflated_sharpe=None if found is None else found.probability,
        trials=None if found is None else found.trials,
        evaluation=None if facts.evaluation is None else facts.evaluation.evaluation,
    )


@router.get(
    "/verdicts/{operation_id}/result",
    responses={
        404: {"model": Problem, "description": "There is no such verdict"},
        409: {"model": Problem, "description": "The verdict is not made (yet)"},
    },
)
async def get_verdict_result(operation_id: OperationId, opened: Opened) -> VerdictAnswer:
    """Return a verdict that is made, by its operation; ``verdict`` is its name in the store."""
    result = shown(completed(await opened.ledger.get(operation_id), "verdict"))
    return VerdictAnswer.model_validate({key: result[key] for key in VerdictAnswer.model_fields if key in result})


@router.get("/verdicts/{name}/{number}", responses=_MISSING)
def get_verdict(name: StrategyName, number: Number, opened: Opened) -> VerdictFacts:
    """Return a stored verdict without its curves."""
    from ktrdr.core.verdicts.stored_verdict import load_verdict_facts

    return load_verdict_facts(f"{name}/{number}", opened.home / "verdicts")


@router.get(
    "/verdicts/{name}/{number}/archive",
    response_class=FileResponse,
    responses={200: {"content": {ZIP: FILE}, "description": "All files of the verdict"}, **_MISSING},
)
def get_verdict_archive(name: StrategyName, number: Number, opened: Opened) -> FileResponse:
    """Return all files of a verdict as one zip file; its evaluation has an archive of its own."""
    from ktrdr.core.files.result_archive import pack_result
    from ktrdr.core.verdicts.stored_verdict import verdict_directory

    directory = verdict_directory(f"{name}/{number}", opened.home / "verdicts")
    return temporary_file(lambda path: pack_result(directory, path), filename=f"{name}-{number}.zip", media_type=ZIP)


@router.get(
    "/verdicts/{name}/{number}/report",
    response_class=HTMLResponse,
    responses={200: {"description": "A self-contained HTML page"}, **_MISSING},
)
def get_verdict_report(name: StrategyName, number: Number, opened: Opened) -> Response:
    """Return the report as one self-contained HTML page."""
    from ktrdr.core.report.verdict_page import write_verdict_page
    from ktrdr.core.verdicts.stored_verdict import load_verdict

    verdict = load_verdict(f"{name}/{number}", opened.home / "verdicts")
    return report_page(lambda path: write_verdict_page(verdict, path), f"{name}-{number}.html")
