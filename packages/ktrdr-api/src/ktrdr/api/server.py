"""The server that `ktrdr serve` and `ktrdr up` run."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from ktrdr.api.settings import ApiSettings

__all__ = ["Server", "make_server"]

_SECONDS_FOR_REQUESTS = 5


class Server(uvicorn.Server):
    """Ends the streams of events first when it is told to stop: by themselves they never do.

    Attributes:
        gave_up: why it has stopped by itself, empty while it has not.
        on_started: called once it answers.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app
        self.gave_up = ""
        self.on_started: Callable[[], None] = lambda: None
        app.state.give_up = self.give_up

    @property
    def url(self) -> str:
        """Where it answers, from its own machine; empty before it has started."""
        for server in self.servers:
            for each in server.sockets:
                host, port, *_ = each.getsockname()
                host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
                return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return ""

    def give_up(self, reason: str) -> None:
        """Stop, for a reason of its own."""
        self.gave_up = reason
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, tell who else wants this home where it answers, and take what has been made so far for permanent.

        A full collection of garbage looks at every object there is: 150,000 of them, which stops all answers for 0.1 s.
        """
        await super().startup(sockets)
        hold = getattr(self._app.state, "hold", None)
        if self.started and hold is not None:
            await asyncio.to_thread(hold.announce, self.url)
        gc.collect()
        gc.freeze()
        if self.started:
            self.on_started()

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
