"""The HTTP server under the exchange: bytes that are no HTTP get a shaped 400 as well."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from lab.exchange.errors import flat, internal

_log = logging.getLogger("lab.exchange")


class ShapedHandler(web.RequestHandler):
    """A connection whose protocol errors are answered as the exchange would."""

    __slots__ = ("_date",)

    def __init__(self, server: "ShapedServer", loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop=loop, access_log=None)  # type: ignore[arg-type]
        self._date = server.date

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to bytes that could not be parsed, and close."""
        if status >= 500:
            _log.error("connection failed", exc_info=exc)
        else:
            _log.debug("not HTTP from %s: %s", request.remote, message)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun when the connection failed")
        error = internal() if status >= 500 else flat("malformed HTTP request")
        answer = web.Response(
            status=max(400, status),
            body=msgspec.json.encode(error.body),
            headers={"Date": self._date()},
            content_type="application/json",
        )
        answer.force_close()
        return answer


class ShapedServer(web.Server):
    """A server of such connections; `date` gives the text of the Date header."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        date: Callable[[], str],
    ) -> None:
        super().__init__(handler)
        self.date = date

    def __call__(self) -> ShapedHandler:
        """Return the protocol of a new connection."""
        return ShapedHandler(self, self._loop)
