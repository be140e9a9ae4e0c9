"""What routes work with, made when the server starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastapi import Request

from ktrdr.api.engine.port import ExecutionEngine
from ktrdr.api.ledger.database import Database, open_database
from ktrdr.api.ledger.ledger import Ledger
from ktrdr.api.operations.service import OperationService
from ktrdr.api.settings import ApiSettings
from ktrdr.core.settings import home_directory

__all__ = ["Services", "open_services", "services"]


@dataclass(frozen=True, slots=True)
class Services:
    """Everything with a life from start to stop of the server."""

    settings: ApiSettings
    home: Path
    database: Database
    ledger: Ledger
    operations: OperationService


async def open_services(settings: ApiSettings, engine: ExecutionEngine) -> Services:
    """Open the ledger, bring it up to date, and connect the engine."""
    home = home_directory()
    if settings.database is None:
        home.mkdir(parents=True, exist_ok=True)
    database = open_database(settings.database or f"sqlite:///{home / 'ledger.sqlite'}")
    await database.migrate()
    ledger = Ledger(database)
    operations = OperationService(ledger, engine)
    await operations.start()
    return Services(settings, home, database, ledger, operations)


def services(request: Request) -> Services:
    """Return the services of the running server, as a dependency of routes."""
    return request.app.state.services
