"""The application for ASGI servers: ``uvicorn ktrdr.api.main:app``."""

from __future__ import annotations

from ktrdr.api.app import create_app

__all__ = ["app"]

app = create_app()
