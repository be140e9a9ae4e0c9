"""Construction of the FastAPI application."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI

from ktrdr.api import __version__
from ktrdr.api.engine.choose import choose_engine
from ktrdr.api.engine.port import ExecutionEngine
from ktrdr.api.http.guard import Guard
from ktrdr.api.http.head import HeadAsGet
from ktrdr.api.http.openapi import install_openapi, operation_id
from ktrdr.api.http.problems import PROBLEM_RESPONSES, install_problem_handlers
from ktrdr.api.http.request_metrics import PREFIX, Measure, Metrics
from ktrdr.api.http.security import require_token
from ktrdr.api.routes import (
    backtests,
    data,
    evaluations,
    events,
    fuzzy,
    health,
    indicators,
    metrics,
    models,
    operations,
    plugins,
    strategies,
    sweeps,
    trainings,
    trials,
    verdicts,
    welcome,
    workers,
)
from ktrdr.api.services import open_services
from ktrdr.api.settings import ApiSettings, load_settings
from ktrdr.core.errors import KtrdrError
from ktrdr.core.home import home_directory

if TYPE_CHECKING:
    from ktrdr.api.ledger.one_server import ServerHold

__all__ = ["create_app"]

_log = logging.getLogger(__name__)

_TAGS = [
    {"name": "health", "description": "Liveness, readiness and metrics of the server."},
    {"name": "data", "description": "Bars: import, read and check them."},
    {"name": "indicators", "description": "The catalogue of indicators, and their values on stored bars."},
    {"name": "fuzzy", "description": "Membership functions, and degrees of membership on stored bars."},
    {
        "name": "strategies",
        "description": "Strategy files: store and validate them, and list the features they define.",
    },
    {
        "name": "models",
        "description": "Trained models: inspect, verify, download and upload them, without an ML framework.",
    },
    {"name": "trainings", "description": "Train a strategy on a worker."},
    {
        "name": "evaluations",
        "description": "Evaluate a strategy on folds that its models have not seen; facts, curves and report.",
    },
    {
        "name": "verdicts",
        "description": "Judge whether a strategy has an edge: EDGE, NOT PROVEN, NONE or INVALID; facts and report.",
    },
    {"name": "backtests", "description": "Backtest a model on a worker; metrics, trades, equity and report."},
    {"name": "sweeps", "description": "Backtest one model with many combinations of settings, on all workers at once."},
    {
        "name": "trials",
        "description": "The ledger of trials: every choice whose results were looked at, and how many there were.",
    },
    {"name": "operations", "description": "Long-running work: its state, progress and result."},
    {"name": "workers", "description": "Connected workers and their capabilities."},
    {"name": "plugins", "description": "ML backends installed in the environment of the API."},
]


def create_app(
    settings: ApiSettings | None = None, engine: ExecutionEngine | None = None, hold: ServerHold | None = None
) -> FastAPI:
    """Return the API.

    Nothing is read or opened before the server starts.

    Args:
        settings: of the server; by default they are read from the environment when the server starts.
        engine: executes operations; by default the one that the settings name. Without any, operations are accepted
            and stay queued, with a text that says what they wait for.
        hold: the locks on the home and the ledger, if they are taken already. They are released when the server stops.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                app.state.settings = settings if settings is not None else load_settings()
                app.state.tokens = app.state.settings.tokens()
                app.state.hold = hold or _hold(app.state.settings)
                stack.callback(app.state.hold.release)
                chosen = engine or choose_engine(app.state.settings)
                opened = await open_services(app.state.settings, chosen, app.state.hold, app.state.give_up)
            except KtrdrError as error:
                app.state.refusal = str(error)
                raise
            stack.push_async_callback(opened.close)
            app.state.services = opened
            app.state.metrics = Metrics()
            yield

    app = FastAPI(
        title="KTRDR",
        version=__version__,
        description="Research neuro-fuzzy trading strategies.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=f"{PREFIX}/docs",
        swagger_ui_oauth2_redirect_url=None,
        redoc_url=None,
        openapi_tags=_TAGS,
        generate_unique_id_function=operation_id,
        lifespan=lifespan,
        responses=PROBLEM_RESPONSES,
    )
    app.state.give_up = _end_process
    install_problem_handlers(app)
    install_openapi(app)
    # Routes are matched in this order for each request: the ones that clients poll come first.
    _include(app, operations, events)
    app.include_router(health.router, prefix=PREFIX)
    app.include_router(welcome.router)
    _include(
        app,
        plugins,
        data,
        indicators,
        fuzzy,
        strategies,
        models,
        trainings,
        evaluations,
        verdicts,
        backtests,
        sweeps,
        trials,
        workers,
        metrics,
    )
    # The middleware that is added last receives a request first.
    app.add_middleware(HeadAsGet)
    app.add_middleware(Measure, state=app.state)
    app.add_middleware(Guard, state=app.state)
    return app


def _include(app: FastAPI, *modules: ModuleType) -> None:
    """Include routes that require a token, if the server has one."""
    for module in modules:
        app.include_router(module.router, prefix=PREFIX, dependencies=[Depends(require_token)])


def _hold(settings: ApiSettings) -> ServerHold:
    from ktrdr.api.ledger.one_server import server_hold

    return server_hold(settings, home_directory())


def _end_process(reason: str) -> None:
    """Stop the process with SIGTERM, for servers that do not set ``give_up``: `uvicorn ktrdr.api.main:app`."""
    _log.error("%s; this server stops", reason)
    signal.raise_signal(signal.SIGTERM)
