"""What routes work with, made when the server starts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from ktrdr.api.engine.port import ExecutionEngine
from ktrdr.api.operations.service import OperationService
from ktrdr.api.settings import ApiSettings
from ktrdr.core.home import home_directory

if TYPE_CHECKING:
    from ktrdr.api.ledger.database import Database
    from ktrdr.api.ledger.ledger import Ledger
    from ktrdr.core.trials.trial_ledger import TrialLedger

__all__ = ["Opened", "Services", "open_services", "services"]


@dataclass(frozen=True, slots=True)
class Services:
    """Everything with a life from start to stop of the server. ``trials`` is for threads: it waits for its database."""

    settings: ApiSettings
    home: Path
    database: Database
    ledger: Ledger
    trials: TrialLedger
    operations: OperationService

    async def close(self) -> None:
        """Disconnect."""
        await self.operations.close()
        await self.database.close()


async def open_services(settings: ApiSettings, engine: ExecutionEngine) -> Services:
    """Open the ledgers, bring them up to date, and connect the engine.

    The database's libraries are loaded here: whoever only imports the API does without them.
    """
    from ktrdr.api.ledger.database import open_database, prepare_database
    from ktrdr.api.ledger.ledger import Ledger
    from ktrdr.api.ledger.server_trials import open_trials

    home = home_directory()
    await prepare_database(settings.database_url())
    database = open_database(settings.database_url())
    try:
        ledger = Ledger(database)
        trials = await asyncio.to_thread(open_trials, settings, home)
        operations = OperationService(ledger, engine, trials)
        await operations.start()
    except BaseException:
        await database.close()
        raise
    return Services(settings, home, database, ledger, trials, operations)


async def services(request: Request) -> Services:
    """Return the services of the running server, as a dependency of routes."""
    return request.app.state.services


Opened = Annotated[Services, Depends(services)]
