"""Build the application."""

from __future__ import annotations

from fastapi import Depends, FastAPI

from ktrdr.api import __version__
from ktrdr.api.problems import install_problem_handlers
from ktrdr.api.routes import health, models, plugins
from ktrdr.api.security import require_token
from ktrdr.api.settings import ApiSettings

__all__ = ["create_app"]


def create_app(settings: ApiSettings | None = None) -> FastAPI:
    """Return the API. Settings are read from the environment at the first request that needs them, if not given."""
    app = FastAPI(
        title="KTRDR",
        version=__version__,
        description="Research neuro-fuzzy trading strategies.",
        openapi_url="/api/v1/openapi.json",
        docs_url="/api/v1/docs",
        redoc_url=None,
    )
    app.state.settings = settings
    install_problem_handlers(app)
    app.include_router(health.router, prefix="/api/v1")
    for router in (plugins.router, models.router):
        app.include_router(router, prefix="/api/v1", dependencies=[Depends(require_token)])
    return app
