"""The uvicorn server that `ktrdr serve` and `ktrdr up` run."""

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
    """A uvicorn server that ends all event streams when it stops; they would keep it running otherwise.

    Attributes:
        gave_up: why the server has stopped by itself; empty if it has not.
        on_started: called once the server accepts requests.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app
        self.gave_up = ""
        self.on_started: Callable[[], None] = lambda: None
        app.state.give_up = self.give_up

    @property
    def url(self) -> str:
        """URL of the server for clients on this machine; empty before it has started."""
        for server in self.servers:
            for each in server.sockets:
                host, port, *_ = each.getsockname()
                host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
                return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return ""

    def give_up(self, reason: str) -> None:
        """Stop the server by itself, and keep the ``reason``."""
        self.gave_up = reason
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, publish the URL beside the lock on the home, and exclude all present objects from garbage collection.

        A full collection visits all 150,000 objects of the started server, and no request is answered for 0.1 s.
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
        """Finish the requests in progress, and stop."""
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
