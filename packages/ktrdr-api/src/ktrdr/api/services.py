"""The objects that routes work with; they are created when the server starts and closed when it stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from ktrdr.api.engine.port import ExecutionEngine
from ktrdr.api.ledger.records import LedgerUnavailableError
from ktrdr.api.operations.service import OperationService
from ktrdr.api.settings import ApiSettings
from ktrdr.core.errors import BadInputError, one_line
from ktrdr.core.home import home_directory

if TYPE_CHECKING:
    from ktrdr.api.ledger.database import Database
    from ktrdr.api.ledger.ledger import Ledger
    from ktrdr.api.ledger.one_server import ServerHold
    from ktrdr.core.trials.trial_ledger import TrialLedger

__all__ = ["Opened", "Services", "open_services", "services"]

_log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 2.0


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that is open while the server runs. ``trials`` blocks: call it in a thread, not in the event loop."""

    settings: ApiSettings
    home: Path
    database: Database
    ledger: Ledger
    trials: TrialLedger
    operations: OperationService
    keeper: asyncio.Task[None] | None

    async def close(self) -> None:
        """Stop the background tasks and close the connections."""
        if self.keeper is not None:
            self.keeper.cancel()
            await asyncio.gather(self.keeper, return_exceptions=True)
        await self.operations.close()
        await self.database.close()


async def open_services(
    settings: ApiSettings, engine: ExecutionEngine, hold: ServerHold, give_up: Callable[[str], None]
) -> Services:
    """Open the ledgers, bring them up to date, and connect the engine.

    The libraries of the database are imported here, so that the import of the API does not load them.

    Args:
        settings: of the server.
        engine: executes operations.
        hold: the locks on the home and the ledger; they are taken before anything else is done.
        give_up: called with the reason if another server has locked the ledger while the database was unreachable.

    Raises:
        BadInputError: another server uses the home or the ledger, or the ledger cannot be used.
    """
    from ktrdr.api.ledger.database import open_database, prepare_database
    from ktrdr.api.ledger.ledger import Ledger
    from ktrdr.api.ledger.server_trials import open_trials

    home = home_directory()
    await asyncio.to_thread(hold.take)
    await prepare_database(settings.database_url())
    session = hold.session
    database = open_database(settings.database_url(), None if session is None else lambda: session.proof)
    try:
        ledger = Ledger(database)
        trials = await asyncio.to_thread(open_trials, settings, home)
        operations = OperationService(ledger, engine, trials)
        try:
            await operations.start()
        except LedgerUnavailableError as error:
            await operations.close()
            place = database.writer.url.render_as_string(hide_password=True)
            raise BadInputError(
                f"the ledger at {place} cannot be used: {one_line(error)}; put back a backup of it, or see"
                " KTRDR_API_DATABASE"
            ) from None
    except BaseException:
        await database.close()
        raise
    keeper = None if session is None else asyncio.create_task(_keep(hold, give_up), name="hold on the ledger")
    return Services(settings, home, database, ledger, trials, operations, keeper)


async def _keep(hold: ServerHold, give_up: Callable[[str], None]) -> None:
    """Check the lock on the ledger at intervals and take it again if it was lost; give up if another server has it."""
    held = True
    while True:
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        before = held
        try:
            held = await asyncio.to_thread(hold.keep)
        except BadInputError as error:
            give_up(str(error))
            return
        if held != before:
            _log.warning(
                "this server has the lock on its ledger again"
                if held
                else "this server has lost the lock on its ledger"
            )


async def services(request: Request) -> Services:
    """Return the services of the running server, as a dependency of routes."""
    return request.app.state.services


Opened = Annotated[Services, Depends(services)]
