"""Build the application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from ktrdr.api import __version__
from ktrdr.api.engine.port import ExecutionEngine, NoEngine
from ktrdr.api.problems import PROBLEM_RESPONSES, install_problem_handlers
from ktrdr.api.routes import data, events, health, models, operations, plugins, workers
from ktrdr.api.security import require_token
from ktrdr.api.services import open_services
from ktrdr.api.settings import ApiSettings

__all__ = ["create_app"]


def create_app(settings: ApiSettings | None = None, engine: ExecutionEngine | None = None) -> FastAPI:
    """Return the API.

    Nothing is read or opened before the server starts: settings that are not given are read from the environment
    then. Without an engine operations are accepted, stay queued, and say what they wait for.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = settings if settings is not None else ApiSettings()
        app.state.token = app.state.settings.resolved_token()
        opened = await open_services(app.state.settings, engine if engine is not None else NoEngine())
        app.state.services = opened
        try:
            yield
        finally:
            await opened.operations.close()
            await opened.database.close()

    app = FastAPI(
        title="KTRDR",
        version=__version__,
        description="Research neuro-fuzzy trading strategies.",
        openapi_url="/api/v1/openapi.json",
        docs_url="/api/v1/docs",
        redoc_url=None,
        lifespan=lifespan,
        responses=PROBLEM_RESPONSES,
        max_body_size=(settings or ApiSettings.model_construct()).max_body,
    )
    install_problem_handlers(app)
    app.include_router(health.router, prefix="/api/v1")
    for module in (plugins, data, models, operations, events, workers):
        app.include_router(module.router, prefix="/api/v1", dependencies=[Depends(require_token)])
    return app
