"""The server that `ktrdr serve` and `ktrdr up` run."""

from __future__ import annotations

import gc
import socket

import uvicorn
from fastapi import FastAPI

from ktrdr.api.settings import ApiSettings

__all__ = ["Server", "make_server"]

_SECONDS_FOR_REQUESTS = 5


class Server(uvicorn.Server):
    """Ends the streams of events first when it is told to stop: by themselves they never do."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and take what has been made so far for permanent.

        A full collection of garbage looks at every object there is: 150,000 of them, which stops all answers for 0.1 s.
        """
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is being answered, and stop."""
        services = getattr(self._app.state, "services", None)
        if services is not None:
            services.operations.broadcast.end()
        await super().shutdown(sockets)
        gc.unfreeze()


def make_server(app: FastAPI, settings: ApiSettings, *, log_level: str = "info") -> Server:
    """Return a server for ``app``; call its ``run``."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level=log_level,
        server_header=False,
        timeout_graceful_shutdown=_SECONDS_FOR_REQUESTS,
    )
    return Server(config, app)
