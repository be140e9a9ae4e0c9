"""HEAD for every route that answers GET: the same headers, without the body."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HeadAsGet"]


class HeadAsGet:
    """ASGI middleware that handles HEAD as GET and drops the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, HEAD as GET."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        endless = asyncio.Event()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                if Headers(raw=message["headers"]).get("content-type", "").startswith("text/event-stream"):
                    endless.set()

        answering = asyncio.ensure_future(self._app({**scope, "method": "GET"}, receive, sending))
        ending = asyncio.create_task(endless.wait(), name="end of HEAD")
        try:
            # A response with a temporary file removes it at its end, so wait for it; a stream of events has no end.
            await asyncio.wait({answering, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
            if not answering.done():
                answering.cancel()
            await asyncio.gather(ending, answering, return_exceptions=True)
        if not answering.cancelled():
            answering.result()
