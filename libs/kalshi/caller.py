"""Make one signed call and read its answer; everything in rest.py goes through here."""

from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from libs.common.clock import Clock
from libs.kalshi.endpoints import Endpoint
from libs.kalshi.errors import (
    CursorLoopError,
    KalshiError,
    RefusedError,
    UnreadableError,
    error_of,
)
from libs.kalshi.fields import NS_PER_MS
from libs.kalshi.signing import Signer
from libs.kalshi.skew import SkewEstimate, parse_http_date_ns
from libs.kalshi.transport import Answer, Transport

EXPIRED_TIMESTAMP = "header_timestamp_expired"
PAGES_MAX = 1000

Query = list[tuple[str, str]]
Decoded = TypeVar("Decoded")


class Caller:
    """Sign, send, decode. Reads are re-signed once on an expired timestamp; writes never repeat.

    `base_url` ends in /trade-api/v2. Without a signer only public calls can be made.
    """

    def __init__(
        self, base_url: str, transport: Transport, clock: Clock, signer: Signer | None
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
            raise ValueError(f"base_url: expected http(s)://host/trade-api/v2, got {base_url!r}")
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._prefix = parts.path.rstrip("/")
        self._transport = transport
        self._clock = clock
        self._signer = signer
        self._signing_offset_ns = 0
        self.skew = SkewEstimate()

    async def call(
        self,
        endpoint: Endpoint,
        decoder: "msgspec.json.Decoder[Decoded]",
        *,
        names: dict[str, str] | None = None,
        query: Query | None = None,
        body: bytes | None = None,
    ) -> Decoded:
        """Return the decoded 2xx answer. Raises KalshiError (see errors.py)."""
        label, answer = await self.exchange(endpoint, names=names, query=query, body=body)
        if not 200 <= answer.status < 300:
            raise error_of(label, answer.status, answer.body)
        try:
            return decoder.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UnreadableError(label, answer.status, str(error)[:300]) from error

    async def call_without_answer(
        self,
        endpoint: Endpoint,
        *,
        names: dict[str, str] | None = None,
        query: Query | None = None,
        body: bytes | None = None,
    ) -> None:
        """Make a call whose 2xx answer says nothing more. Raises KalshiError."""
        label, answer = await self.exchange(endpoint, names=names, query=query, body=body)
        if not 200 <= answer.status < 300:
            raise error_of(label, answer.status, answer.body)

    async def pages(
        self,
        endpoint: Endpoint,
        decoder: "msgspec.json.Decoder[Any]",
        query: Query,
        *,
        pages_max: int = PAGES_MAX,
    ) -> list[Any]:
        """Return the items of all pages. Raises KalshiError; CursorLoopError when it never ends.

        The exchange answers a cursor it does not know with the first page (§2.5), so a cursor
        that comes twice would go round for ever.
        """
        items: list[Any] = []
        seen: set[str] = set()
        cursor = ""
        for _ in range(pages_max):
            page = await self.call(
                endpoint, decoder, query=[*query, ("cursor", cursor)] if cursor else query
            )
            items.extend(page.items)
            cursor = page.cursor
            if not cursor:
                return items
            if cursor in seen:
                raise CursorLoopError(
                    f"{endpoint.method} {endpoint.template}",
                    f"the same cursor came twice, after {len(items)} items; start over",
                )
            seen.add(cursor)
        raise CursorLoopError(
            f"{endpoint.method} {endpoint.template}",
            f"more than {pages_max} pages; narrow the query",
        )

    async def exchange(
        self,
        endpoint: Endpoint,
        *,
        names: dict[str, str] | None = None,
        query: Query | None = None,
        body: bytes | None = None,
    ) -> tuple[str, Answer]:
        """Send and return the label for errors and the raw answer of any status."""
        path = self._prefix + _fill(endpoint.template, names)
        label = f"{endpoint.method} {path}"
        url = self._origin + path + ("?" + urlencode(query) if query else "")
        answer = await self._send(endpoint, path, url, body)
        if answer.status == 401 and self._expired(label, answer):
            self._adopt_offset()
            if endpoint.is_read:
                answer = await self._send(endpoint, path, url, body)
        return label, answer

    async def _send(self, endpoint: Endpoint, path: str, url: str, body: bytes | None) -> Answer:
        headers: dict[str, str] = {}
        sent_ns = self._clock.now_ns()
        if self._signer is not None:
            timestamp_ms = (sent_ns - self._signing_offset_ns) // NS_PER_MS
            headers = self._signer.sign(timestamp_ms, endpoint.method, path)
        elif endpoint.needs_key:
            raise RuntimeError(f"{endpoint.method} {path} needs a signer; this client has none")
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = await self._transport.send(endpoint.method, url, headers, body)
        if answer.date and (date_ns := parse_http_date_ns(answer.date)) is not None:
            self.skew.observe(sent_ns, self._clock.now_ns(), date_ns)
        return answer

    @staticmethod
    def _expired(label: str, answer: Answer) -> bool:
        error: KalshiError = error_of(label, answer.status, answer.body)
        return isinstance(error, RefusedError) and error.code == EXPIRED_TIMESTAMP

    def _adopt_offset(self) -> None:
        """Sign with the exchange's time from now on: our clock was refused."""
        if self.skew.skew_ns is not None:
            self._signing_offset_ns = self.skew.skew_ns


def _fill(template: str, names: dict[str, str] | None) -> str:
    if not names:
        return template
    return template.format_map({key: quote(value, safe="") for key, value in names.items()})


def query_of(pairs: Iterable[tuple[str, str | int | bool | None]]) -> Query:
    """Return the pairs that have a value, as strings, in the exchange's writing."""
    return [
        (name, str(value).lower() if isinstance(value, bool) else str(value))
        for name, value in pairs
        if value is not None and value != ""
    ]
