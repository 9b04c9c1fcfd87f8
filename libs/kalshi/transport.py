"""Carry one HTTP request. The seam below the client: tests pass their own.

aiohttp, because it costs a quarter of httpx's processor time per call (docs/adr/0003).
"""

from collections.abc import Mapping
from typing import Protocol

import aiohttp
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


class AiohttpTransport:
    """HTTP/1.1 with kept connections; build it inside the running loop."""

    def __init__(self, timeouts: Timeouts | None = None, connections: int = 16) -> None:
        limits = timeouts or Timeouts()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=30.0),
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
