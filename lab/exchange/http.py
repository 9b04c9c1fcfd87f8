"""The HTTP server under the exchange: bytes that are no HTTP get a shaped 400 as well."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from lab.exchange.call import BODY_BYTES_MAX
from lab.exchange.errors import ApiError, flat, internal

BODY_TIMEOUT_S = 10.0
HEAD_TIMEOUT_S = 10.0
"""A request that began must have all of its headers within this, in real seconds."""

_log = logging.getLogger("lab.exchange")


class ShapedHandler(web.RequestHandler):
    """A connection whose protocol errors are answered as the exchange would."""

    __slots__ = ("_date", "_head_timeout_s", "_head_timer")

    def __init__(self, server: "ShapedServer", loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop=loop, access_log=None)  # type: ignore[arg-type]
        self._date = server.date
        self._head_timeout_s = server.head_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Take bytes; begin to wait when they are the beginning of a request."""
        count = self._request_count
        super().data_received(data)
        is_whole = self._request_count != count or self._upgraded
        is_body = self._current_request is not None or bool(self._messages)
        if is_whole or is_body:
            self._stop_waiting()
        elif data and self._head_timer is None:
            self._head_timer = self._loop.call_later(self._head_timeout_s, self._give_up)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        if self.transport is not None:
            body = msgspec.json.encode(flat("request headers: timed out").body)
            head = (
                f"HTTP/1.1 400 Bad Request\r\nDate: {self._date()}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.force_close()

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
        head_timeout_s: float = HEAD_TIMEOUT_S,
    ) -> None:
        super().__init__(handler)
        self.date = date
        self.head_timeout_s = head_timeout_s

    def __call__(self) -> ShapedHandler:
        """Return the protocol of a new connection."""
        return ShapedHandler(self, self._loop)


async def read_body(request: web.BaseRequest) -> bytes | ApiError:
    """Return the body, or the refusal of one that cannot be read."""
    if not request.body_exists:
        return b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.read()
    except TimeoutError:
        return flat("request body: timed out")
    except (web.HTTPException, web.RequestPayloadError, ConnectionError):
        return flat("request body: unreadable or too large")
    if len(body) > BODY_BYTES_MAX:
        return flat(f"request body: expected at most {BODY_BYTES_MAX} bytes")
    return body
