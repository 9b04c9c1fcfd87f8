"""Make one signed call and read its answer; everything in rest.py goes through here."""

import random
from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from libs.common.clock import Clock
from libs.kalshi.endpoints import REDUCING, Endpoint
from libs.kalshi.errors import (
    CursorLoopError,
    KalshiError,
    NoAnswerError,
    NotSentError,
    RateLimitedError,
    RefusedError,
    ServerFaultError,
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


class Repeats(Struct, frozen=True, kw_only=True):
    """How often a read is tried, and how long it waits in between: doubling, half of it random."""

    tries_max: int = 3
    wait_first_s: float = 0.1
    wait_max_s: float = 1.0

    def __post_init__(self) -> None:
        if self.tries_max < 1 or not 0 < self.wait_first_s <= self.wait_max_s:
            raise ValueError(
                "repeats: expected tries_max of 1 or more and 0 < wait_first_s <= wait_max_s"
            )

    def wait_s(self, failures: int, chance: float) -> float:
        """Return the wait after so many failures; `chance` is from 0 to 1."""
        longest_s = min(self.wait_first_s * 2.0 ** min(failures - 1, 20), self.wait_max_s)
        return longest_s * (0.5 + chance / 2)


ONCE = Repeats(tries_max=1)


class Caller:
    """Sign, send, decode. Reads may be repeated, as `repeats` says; writes never are.

    A refused timestamp (401) proves that nothing was done, and our clock is corrected by the
    exchange's. A read, and a write that only takes risk away, is then signed and sent once more;
    any other write is left to the caller, whose reasons for it may have ended meanwhile.

    `base_url` ends in /trade-api/v2. Without a signer only public calls can be made.
    """

    def __init__(
        self,
        base_url: str,
        transport: Transport,
        clock: Clock,
        signer: Signer | None,
        repeats: Repeats = ONCE,
        jitter: random.Random | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
            raise ValueError(f"base_url: expected http(s)://host/trade-api/v2, got {base_url!r}")
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._prefix = parts.path.rstrip("/")
        self._transport = transport
        self._clock = clock
        self._signer = signer
        self._repeats = repeats
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads repeats, no secret
        self._signing_offset_ns = 0
        self.skew = SkewEstimate()

    @property
    def signing_ms(self) -> int:
        """Return the time to sign with: our clock's until the exchange refused it, then its."""
        return (self._clock.now_ns() - self._signing_offset_ns) // NS_PER_MS

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
        label, answer = await self._answer(endpoint, names, query, body)
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
        await self._answer(endpoint, names, query, body)

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
        or a first page that comes twice would go round for ever.
        """
        label = f"{endpoint.method} {endpoint.template}"
        items: list[Any] = []
        seen: set[str] = set()
        cursor = ""
        for _ in range(pages_max):
            page = await self.call(
                endpoint, decoder, query=[*query, ("cursor", cursor)] if cursor else query
            )
            if items and page.items and page.items[0] == items[0]:
                raise CursorLoopError(label, f"the first page came again, after {len(items)} items")
            items.extend(page.items)
            cursor = page.cursor
            if not cursor:
                return items
            if cursor in seen:
                raise CursorLoopError(label, f"a cursor came twice, after {len(items)} items")
            seen.add(cursor)
        raise CursorLoopError(label, f"more than {pages_max} pages; narrow the query")

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
            if endpoint.is_read or endpoint in REDUCING:
                answer = await self._send(endpoint, path, url, body)
        return label, answer

    async def _answer(
        self,
        endpoint: Endpoint,
        names: dict[str, str] | None,
        query: Query | None,
        body: bytes | None,
    ) -> tuple[str, Answer]:
        """Return the label and a 2xx answer, or raise what another one stands for."""
        tries_left = self._repeats.tries_max if endpoint.is_read else 1
        while True:
            tries_left -= 1
            try:
                label, answer = await self.exchange(endpoint, names=names, query=query, body=body)
                if not 200 <= answer.status < 300:
                    raise error_of(label, answer.status, answer.body)
                return label, answer
            except (NotSentError, RateLimitedError, NoAnswerError, ServerFaultError):
                if tries_left == 0:
                    raise
            failures = self._repeats.tries_max - tries_left
            await self._clock.sleep(self._repeats.wait_s(failures, self._jitter.random()))

    async def _send(self, endpoint: Endpoint, path: str, url: str, body: bytes | None) -> Answer:
        headers: dict[str, str] = {}
        sent_ns = self._clock.now_ns()
        if self._signer is not None:
            headers = self._signer.sign(self.signing_ms, endpoint.method, path)
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
