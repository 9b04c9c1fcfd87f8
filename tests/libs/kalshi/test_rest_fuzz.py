"""Any status with any body gives a value or a KalshiError, from every call of the client."""

import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.clock import SystemClock
from libs.kalshi.errors import KalshiError, NotDoneError, OutcomeUnknownError
from libs.kalshi.rest import KalshiClient
from libs.kalshi.signing import signed_bytes
from libs.kalshi.transport import Answer
from libs.kalshi.wire.orders import Amendment, NewOrder

ORDER = NewOrder(
    ticker="T", client_order_id="c", side="bid", price_e4=100, count_e2=100, expires_ns=None
)
AMENDMENT = Amendment(ticker="T", side="bid", price_e4=100, total_e2=100)
READS: list[Callable[[KalshiClient], Awaitable[Any]]] = [
    lambda client: client.exchange_status(),
    lambda client: client.schedule(),
    lambda client: client.series("S"),
    lambda client: client.series_fee_changes("S"),
    lambda client: client.event_fee_changes("E"),
    lambda client: client.events("S"),
    lambda client: client.event("E"),
    lambda client: client.markets(event_ticker="E"),
    lambda client: client.market("T"),
    lambda client: client.orderbook("T"),
    lambda client: client.orderbooks(["T"]),
    lambda client: client.account_limits(),
    lambda client: client.endpoint_costs(),
    lambda client: client.balance(),
    lambda client: client.positions(),
    lambda client: client.fills(),
    lambda client: client.settlements(),
    lambda client: client.orders(),
    lambda client: client.order("o"),
    lambda client: client.queue_positions(event_ticker="E"),
    lambda client: client.historical_cutoff(),
    lambda client: client.user_data_ns(),
    lambda client: client.order_groups(),
]
WRITES: list[Callable[[KalshiClient], Awaitable[Any]]] = [
    lambda client: client.create_order(ORDER),
    lambda client: client.create_orders([ORDER]),
    lambda client: client.amend_order("o", AMENDMENT),
    lambda client: client.decrease_order("o", 100),
    lambda client: client.cancel_order("o"),
    lambda client: client.cancel_orders(["o"]),
    lambda client: client.create_order_group(100),
]


class Says:
    """A transport that gives one answer to everything and counts."""

    def __init__(self, status: int, body: bytes) -> None:
        self.answer = Answer(status, body, "Thu, 11 Jun 2026 06:29:30 GMT")
        self.count = 0

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        self.count += 1
        return self.answer

    async def close(self) -> None:
        pass


class PlainSigner:
    key_id = "key"

    def sign(self, timestamp_ms: int, method: str, path: str) -> dict[str, str]:
        return {"S": signed_bytes(timestamp_ms, method, path).decode()}


def client_of(transport: Says) -> KalshiClient:
    return KalshiClient("http://h/trade-api/v2", transport, SystemClock(), PlainSigner())


WORDS = st.sampled_from(
    ["error", "code", "orders", "order", "order_id", "cursor", "markets", "market", "event",
     "events", "fills", "fill_count", "remaining_count", "ts_ms", "reduced_by", "balance_dollars",
     "orderbook_fp", "yes_dollars", "no_dollars", "exchange_active", "trading_active"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "1.00", "0.47", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode())
STATUSES = st.sampled_from([200, 201, 204, 301, 400, 401, 404, 408, 409, 429, 500, 503, 504])


@settings(max_examples=400)
@given(st.sampled_from(READS), STATUSES, JSON | st.binary(max_size=60))
async def test_reads_give_a_value_or_a_typed_error(
    call: Callable[[KalshiClient], Awaitable[Any]], status: int, body: bytes
) -> None:
    with contextlib.suppress(KalshiError):
        await call(client_of(Says(status, body)))


@settings(max_examples=400)
@given(st.sampled_from(WRITES), STATUSES, JSON | st.binary(max_size=60))
async def test_writes_go_once_and_only_a_4xx_proves_anything(
    call: Callable[[KalshiClient], Awaitable[Any]], status: int, body: bytes
) -> None:
    transport = Says(status, body)
    try:
        await call(client_of(transport))
        assert 200 <= status < 300
    except NotDoneError:
        assert 400 <= status < 500
    except OutcomeUnknownError:
        assert status != 429
    assert transport.count == 1


async def test_an_endless_listing_is_bounded() -> None:
    class Endless(Says):
        async def send(
            self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
        ) -> Answer:
            self.count += 1
            return Answer(200, b'{"fills":[],"cursor":"%d"}' % self.count)

    transport = Endless(200, b"")
    with pytest.raises(KalshiError, match="more than 1000 pages"):
        await client_of(transport).fills()
    assert transport.count == 1000
