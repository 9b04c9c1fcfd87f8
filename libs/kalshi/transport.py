"""Carry one HTTP request. The seam below the client: tests pass their own.

aiohttp, because it costs a quarter of httpx's processor time per call (docs/adr/0003).
"""

import time
from collections.abc import Mapping
from typing import Any, Protocol

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from msgspec import Struct
from yarl import URL

from libs.kalshi.errors import NoAnswerError, NotSentError

BODY_BYTES_MAX = 64 * 1024 * 1024


class Answer(Struct, frozen=True):
    """A whole HTTP answer; `date` is its Date header or ""."""

    status: int
    body: bytes
    date: str = ""


class Transport(Protocol):
    """Send one request, once."""

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """Return the answer. Raises NotSentError or NoAnswerError; never sends twice."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds of real time, as sockets count it."""

    connect_s: float = 2.0
    total_s: float = 5.0
    leave_s: float = 1.0
    """A POST or PUT that did not leave us within this is not sent any more: what it was allowed
    by may have ended while the process stood still."""


class HeldUp(aiohttp.ClientError):
    """A request stood still in us for too long; none of its bytes has left."""


def _punctual(leave_s: float) -> type[aiohttp.ClientRequest]:
    """Return a request that looks at the time in the very call that hands its bytes to the socket.

    aiohttp does that in a turn of the loop after the one in which `send` was called, or later.
    """

    class Punctual(aiohttp.ClientRequest):
        def __init__(self, *arguments: Any, **words: Any) -> None:
            super().__init__(*arguments, **words)
            self._leave_until_s = time.monotonic() + leave_s

        async def write_bytes(
            self, writer: AbstractStreamWriter, conn: Any, content_length: int | None = None
        ) -> None:
            if self.method in ("POST", "PUT") and time.monotonic() > self._leave_until_s:
                conn.protocol.set_exception(HeldUp())
                conn.close()
                return
            await super().write_bytes(writer, conn, content_length)

    return Punctual


class AiohttpTransport:
    """HTTP/1.1 with kept connections; build it inside the running loop."""

    def __init__(self, timeouts: Timeouts | None = None, connections: int = 16) -> None:
        limits = timeouts or Timeouts()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=30.0),
            request_class=_punctual(limits.leave_s),
            timeout=aiohttp.ClientTimeout(
                total=limits.total_s, connect=limits.connect_s, sock_connect=limits.connect_s
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
        )
        # aiohttp repeats a DELETE on its own when a kept connection closes under it. A cancel
        # sent twice hides its own success behind a 404. A test holds us to this.
        self._session._retry_connection = False

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """Send and read the whole answer; see Transport."""
        call = f"{method} {url.partition('?')[0]}"
        if self._session.closed:
            raise NotSentError(call, "this client is closed")
        try:
            async with self._session.request(
                method, URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await response.content.read(BODY_BYTES_MAX + 1)
                while len(content) <= BODY_BYTES_MAX and not response.content.at_eof():
                    content += await response.content.read(BODY_BYTES_MAX + 1 - len(content))
                if len(content) > BODY_BYTES_MAX:
                    raise NoAnswerError(call, f"the answer is larger than {BODY_BYTES_MAX} bytes")
                return Answer(response.status, content, response.headers.get("Date", ""))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSentError(call, f"no connection: {_reason(error)}") from error
        except HeldUp as error:
            raise NotSentError(call, "held up in this process, not sent any more") from error
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise NotSentError(call, f"no HTTP address: {_reason(error)}") from error
        except TimeoutError as error:
            raise NoAnswerError(call, "no whole answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NoAnswerError(call, f"the connection broke: {_reason(error)}") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


class ReadOnlyTransport:
    """Let reads out and nothing else: what would change something fails before it is sent."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """Send a GET; raise NotSentError for any other method. See Transport."""
        if method != "GET":
            raise NotSentError(f"{method} {url.partition('?')[0]}", "only reads are sent here")
        return await self._inner.send(method, url, headers, body)

    async def close(self) -> None:
        """Close the connections."""
        await self._inner.close()


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__} {error}".strip()[:200]
