"""Trainings: start one, and read its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from ktrdr.api.http.problems import Problem
from ktrdr.api.ledger.operation_json import shown
from ktrdr.api.routes._shared.bar_queries import Store as Bars
from ktrdr.api.routes._shared.starting import STARTED, IdempotencyKey, completed, start
from ktrdr.api.routes._shared.stored_symbols import check_stored
from ktrdr.api.routes._shared.strategy_loading import offered
from ktrdr.api.routes._shared.strategy_requests import OneStrategy, strategy_job
from ktrdr.api.routes.operations import OperationId, OperationView, view
from ktrdr.api.routes.strategies import EXAMPLE, Store
from ktrdr.api.services import Opened
from ktrdr.core.jobs.job_settings import TrainingSettings
from ktrdr.core.jobs.kinds import TrainingJob

if TYPE_CHECKING:
    from pathlib import Path

    from ktrdr.api.strategy_files import StrategyStore
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.strategy.model import Strategy

__all__ = ["router"]

router = APIRouter(tags=["trainings"])


class TrainingRequest(OneStrategy, TrainingSettings):
    """Train a stored ``strategy``, by name, or the one in ``strategy_text``, or from a stored ``evaluation``.

    Settings that are left out have the values of the strategy. Days are UTC and inclusive. An evaluation has strategy,
    data, seed and epochs already.
    """


_EXAMPLES = {
    "stored": {"summary": "A stored strategy", "value": {"strategy": "rsi_reversion", "epochs": 20, "seed": 7}},
    "text": {"summary": "A strategy in the request", "value": {"strategy_text": EXAMPLE}},
    "evaluation": {"summary": "The model to use after an evaluation", "value": {"evaluation": "rsi_reversion/1"}},
    "seeds": {"summary": "Ten seeds, of which the median is kept", "value": {"strategy": "rsi_reversion", "seeds": 10}},
}


class TrainingResultView(BaseModel):
    """The result of a training; ``model`` is the name and version of the stored model."""

    model_config = ConfigDict(extra="allow")

    model: str


@router.post(
    "/trainings",
    status_code=202,
    responses={**STARTED, 404: {"model": Problem, "description": "There is no such strategy or evaluation"}},
)
async def start_training(
    asked: Annotated[TrainingRequest, Body(openapi_examples=_EXAMPLES)],
    response: Response,
    opened: Opened,
    store: Store,
    bars: Bars,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    """Queue a training. It runs as soon as a worker with the plugin of the model is free."""

    async def prepare() -> tuple[dict[str, Any], list[str]]:
        return await run_in_threadpool(_job, asked, store, bars, opened.home, await offered(opened))

    return view(await start(opened, response, "training", asked, idempotency_key, prepare))


def _job(
    asked: TrainingRequest, store: StrategyStore, bars: BarStore, home: Path, known: frozenset[str]
) -> tuple[dict[str, Any], list[str]]:
    from ktrdr.core.training.overrides import override

    if asked.evaluation is not None:
        return _evaluated_job(asked, asked.evaluation, bars, home)

    def check(strategy: Strategy) -> None:
        override(strategy, asked)

    return strategy_job(asked, asked, TrainingJob, check, store, bars, known)


def _evaluated_job(
    asked: TrainingRequest, evaluation: str, bars: BarStore, home: Path
) -> tuple[dict[str, Any], list[str]]:
    """Return the job of a training from a stored evaluation, by its number: there may be later ones when it runs."""
    from ktrdr.api.operations.requirements import training_needs
    from ktrdr.core.validation.stored_evaluation import load_evaluation

    found = load_evaluation(evaluation, home / "evaluations")
    check_stored(found.facts.symbols, bars)
    job = asked.to(TrainingJob, strategy=found.text, evaluation=found.facts.evaluation)
    return job.model_dump(mode="json"), training_needs(found.strategy)


@router.get(
    "/trainings/{operation_id}/result",
    responses={
        404: {"model": Problem, "description": "There is no such training"},
        409: {"model": Problem, "description": "The training has no result (yet)"},
    },
)
async def get_training_result(operation_id: OperationId, opened: Opened) -> TrainingResultView:
    """Return the result of a completed training."""
    return TrainingResultView.model_validate(shown(completed(await opened.ledger.get(operation_id), "training")))
