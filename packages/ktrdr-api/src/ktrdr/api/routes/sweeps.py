"""Sweeps: backtests of one model with every combination of settings, on all workers at once."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from ktrdr.api.http.problems import Problem
from ktrdr.api.ledger.operation_json import shown
from ktrdr.api.routes._shared.bar_queries import Store as Bars
from ktrdr.api.routes._shared.starting import STARTED, IdempotencyKey, completed, start
from ktrdr.api.routes._shared.stored_symbols import check_stored
from ktrdr.api.routes.models import Store
from ktrdr.api.routes.operations import OperationId, OperationView, view
from ktrdr.api.services import Opened
from ktrdr.core.jobs.job_settings import Value
from ktrdr.core.jobs.kinds import SweepJob

if TYPE_CHECKING:
    from ktrdr.core.data.bar_store import BarStore
    from ktrdr.core.models.model_store import ModelStore

__all__ = ["router"]

router = APIRouter(tags=["sweeps"])


class SweepRequest(SweepJob):
    """Backtest ``model`` (``name/version``, or the latest of ``name``) with every combination of ``settings``.

    ``settings`` are dotted keys below ``decisions`` and ``risk``, each with the values to try. The other fields are
    those of a backtest.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "rsi_reversion/1",
                    "settings": {"decisions.confidence_threshold": [0.4, 0.5], "risk.stop_loss.atr": [2, 3, 4]},
                }
            ]
        }
    )


class SweepRow(BaseModel):
    """One combination of settings; ``trial`` is its number in the order of the combinations."""

    trial: int
    settings: dict[str, Value]
    metrics: dict[str, float | None]


class SweepResult(BaseModel):
    """The result of a sweep: ``rows`` of all ``trials``, the best by ``metric`` first.

    The first ``resampled`` rows have an interval of the Sharpe ratio. ``trial_count`` is the number of trials for
    which the Sharpe ratios are deflated: those in the server's ledger.
    """

    model_config = ConfigDict(extra="allow")

    model: str
    metric: str
    resampled: int | None = None
    trials: int
    trial_count: dict[str, Any] | None = None
    rows: list[SweepRow]


@router.post(
    "/sweeps",
    status_code=202,
    responses={**STARTED, 404: {"model": Problem, "description": "There is no such model"}},
)
async def start_sweep(
    asked: Annotated[SweepRequest, Body()],
    response: Response,
    opened: Opened,
    store: Store,
    bars: Bars,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    """Queue a sweep. All workers share its backtests: those with the model's plugin, unless its twin predicts."""
    prepare = functools.partial(run_in_threadpool, _job, asked, store, bars)
    return view(await start(opened, response, "sweep", asked, idempotency_key, prepare))


def _job(asked: SweepRequest, store: ModelStore, bars: BarStore) -> tuple[dict[str, Any], list[str]]:
    """Return the job and its requirements; every combination is checked, and the model gets its version."""
    from ktrdr.api.operations.requirements import backtest_needs
    from ktrdr.core.models.inference_choice import choose_inference, trades_out_of_sample
    from ktrdr.core.sweeps.grid import check_sweep

    bundle = store.get(asked.model)
    check_stored(asked.symbols, bars)
    # Chosen here for all workers, since a twin may be added to the model while they prepare the sweep.
    stored = trades_out_of_sample(bundle.manifest, asked)
    inference = "auto" if stored else choose_inference(bundle.manifest, asked.inference, asked.device)
    job = asked.to(SweepJob, model=bundle.manifest.ref, inference=inference)
    check_sweep(job, bundle)
    return job.model_dump(mode="json"), backtest_needs(bundle.manifest, job)


@router.get(
    "/sweeps/{operation_id}/result",
    responses={
        404: {"model": Problem, "description": "There is no such sweep"},
        409: {"model": Problem, "description": "The sweep has no result (yet)"},
    },
)
async def get_sweep_result(operation_id: OperationId, opened: Opened) -> SweepResult:
    """Return the table of a completed sweep."""
    return SweepResult.model_validate(shown(completed(await opened.ledger.get(operation_id), "sweep")))
