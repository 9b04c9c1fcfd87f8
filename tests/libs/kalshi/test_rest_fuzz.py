"""Any status with any body gives a value or a KalshiError, from every call of the client."""

import contextlib
import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.clock import SystemClock
from libs.kalshi.errors import KalshiError, NotDoneError, OutcomeUnknownError, RefusedError
from libs.kalshi.rest import KalshiClient
from libs.kalshi.transport import Answer
from tests.libs.kalshi.client_calls import READS, REDUCING, WRITES, PlainSigner


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
EXPIRED = b'{"error":{"code":"header_timestamp_expired","message":"header timestamp expired"}}'
STATUSES = st.sampled_from([200, 201, 204, 301, 400, 401, 404, 408, 409, 429, 500, 503, 504])


@settings(max_examples=400)
@given(st.sampled_from(list(READS)), STATUSES, JSON | st.binary(max_size=60))
async def test_reads_give_a_value_or_a_typed_error(name: str, status: int, body: bytes) -> None:
    with contextlib.suppress(KalshiError):
        await READS[name](client_of(Says(status, body)))


@settings(max_examples=400)
@given(st.sampled_from(list(WRITES)), STATUSES, JSON | st.binary(max_size=60))
async def test_writes_go_once_and_only_a_4xx_proves_anything(
    name: str, status: int, body: bytes
) -> None:
    transport = Says(status, body)
    try:
        await WRITES[name](client_of(transport))
        assert 200 <= status < 300
    except NotDoneError:
        assert 400 <= status < 500
    except OutcomeUnknownError:
        assert status != 429
    assert transport.count == 1


@pytest.mark.parametrize("name", WRITES)
async def test_a_refused_timestamp_is_repeated_only_where_it_takes_risk_away(name: str) -> None:
    """Between two sendings a kill switch may fall: what adds risk goes back to who asked."""
    transport = Says(401, EXPIRED)
    with pytest.raises(RefusedError, match="header_timestamp_expired"):
        await WRITES[name](client_of(transport))
    assert transport.count == (2 if name in REDUCING else 1)


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("body", [b"", b"<html>", EXPIRED[:-1], b'{"error":{"code":"not_found"}}'])
async def test_no_other_401_is_repeated(name: str, body: bytes) -> None:
    transport = Says(401, body)
    with pytest.raises(KalshiError):
        await WRITES[name](client_of(transport))
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
