"""Build the application."""

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
    {"name": "health", "description": "Is it alive, is it ready."},
    {"name": "data", "description": "Bars: import, read, check."},
    {"name": "indicators", "description": "The catalogue, and values on stored bars."},
    {"name": "fuzzy", "description": "Membership functions, and degrees of membership on stored bars."},
    {"name": "strategies", "description": "Strategy files and what they mean."},
    {"name": "models", "description": "Trained models, none of which needs an ML framework to be kept."},
    {"name": "trainings", "description": "Train a strategy on a worker."},
    {"name": "backtests", "description": "Trade a model on a worker; metrics, trades, equity, report."},
    {"name": "sweeps", "description": "One model under many settings, on all workers at once."},
    {"name": "trials", "description": "What was tried, and among how many trials a result was chosen."},
    {"name": "operations", "description": "What runs, how far it is, how it ended."},
    {"name": "workers", "description": "Who is there, and what each can do."},
    {"name": "plugins", "description": "ML backends installed beside the API."},
]


def create_app(
    settings: ApiSettings | None = None, engine: ExecutionEngine | None = None, hold: ServerHold | None = None
) -> FastAPI:
    """Return the API.

    Nothing is read or opened before the server starts: settings that are not given are read from the environment
    then, and say which engine to use if none is given. Without one operations are accepted, stay queued, and say what
    they wait for. ``hold`` is this server's on its home and ledger, where it was taken before; it is given back when
    the server stops.
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
    # Looked through in this order for each request: those come first that are asked several times a second.
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
        backtests,
        sweeps,
        trials,
        workers,
        metrics,
    )
    # The last one added is the first to see a request.
    app.add_middleware(HeadAsGet)
    app.add_middleware(Measure, state=app.state)
    app.add_middleware(Guard, state=app.state)
    return app


def _include(app: FastAPI, *modules: ModuleType) -> None:
    """Include routes that want a token, where one is set."""
    for module in modules:
        app.include_router(module.router, prefix=PREFIX, dependencies=[Depends(require_token)])


def _hold(settings: ApiSettings) -> ServerHold:
    from ktrdr.api.ledger.one_server import server_hold

    return server_hold(settings, home_directory())


def _end_process(reason: str) -> None:
    """End a server that others made, as whoever stops it would; ours are asked themselves."""
    _log.error("%s; this server stops", reason)
    signal.raise_signal(signal.SIGTERM)
