"""Reads are repeated with bounds and jitter when that was asked for; writes never are."""

import asyncio
import random
from collections.abc import Mapping
from itertools import pairwise

import pytest

from libs.common.clock import ManualClock
from libs.kalshi.caller import Repeats
from libs.kalshi.errors import (
    KalshiError,
    NoAnswerError,
    NotSentError,
    RateLimitedError,
    RefusedError,
    ServerFaultError,
    UnreadableError,
)
from libs.kalshi.rest import KalshiClient
from libs.kalshi.transport import Answer
from tests.libs.kalshi.client_calls import READS, WRITES, PlainSigner

S = 1_000_000_000
START_NS = 1_791_000_000 * S
TRADING = Answer(200, b'{"balance_dollars":"1.00","updated_ts":1}')
PASSING: list[Answer | KalshiError] = [
    Answer(429, b'{"error":"too many requests"}'),
    Answer(500, b""),
    Answer(503, b'{"exchange_active":false,"trading_active":false}'),
    Answer(504, b"<html>"),
    NoAnswerError("GET", "no whole answer in time"),
    NotSentError("GET", "no connection"),
]
LASTING = [
    (Answer(400, b'{"error":{"code":"bad_request"}}'), RefusedError),
    (Answer(401, b'{"error":{"code":"authentication_error"}}'), RefusedError),
    (Answer(200, b"<html>"), UnreadableError),
]


class Scripted:
    """A transport that says one thing after the other, the last for ever, and notes when."""

    def __init__(self, clock: ManualClock, *says: Answer | KalshiError) -> None:
        self.clock = clock
        self.says = list(says)
        self.sent_ns: list[int] = []

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        self.sent_ns.append(self.clock.now_ns())
        now = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(now, KalshiError):
            raise now
        return now

    async def close(self) -> None:
        pass


async def outcome(
    name: str, *says: Answer | KalshiError, repeats: Repeats | None = None
) -> tuple[object, list[int]]:
    """Make a call on a clock that runs on for a minute; return what came of it and the times."""
    clock = ManualClock(START_NS)
    transport = Scripted(clock, *says)
    client = KalshiClient(
        "http://h/trade-api/v2", transport, clock, PlainSigner(), repeats or Repeats(tries_max=3)
    )
    calls = READS | WRITES
    task = asyncio.ensure_future(calls[name](client))
    await clock.advance_to(START_NS + 60 * S)
    results: list[object] = await asyncio.gather(task, return_exceptions=True)
    return results[0], transport.sent_ns


@pytest.mark.parametrize("failure", PASSING)
async def test_a_read_gets_over_what_passes(failure: Answer | KalshiError) -> None:
    result, sent_ns = await outcome("balance", failure, failure, TRADING)
    assert not isinstance(result, Exception)
    first, second = (later - sooner for sooner, later in pairwise(sent_ns))
    assert 0.05 * S <= first <= 0.1 * S
    assert 0.1 * S <= second <= 0.2 * S


async def test_a_read_that_never_succeeds_ends_with_the_last_failure() -> None:
    result, sent_ns = await outcome("balance", PASSING[0], PASSING[1], PASSING[2])
    assert isinstance(result, ServerFaultError)
    assert result.status == 503
    assert len(sent_ns) == 3


@pytest.mark.parametrize(("answer", "error"), LASTING)
async def test_what_would_not_pass_is_not_repeated(
    answer: Answer, error: type[KalshiError]
) -> None:
    result, sent_ns = await outcome("balance", answer)
    assert type(result) is error
    assert len(sent_ns) == 1


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("failure", PASSING)
async def test_a_write_is_never_repeated(name: str, failure: Answer | KalshiError) -> None:
    result, sent_ns = await outcome(name, failure)
    assert isinstance(result, KalshiError)
    assert len(sent_ns) == 1


async def test_nothing_is_repeated_unless_asked_for() -> None:
    result, sent_ns = await outcome("balance", PASSING[0], repeats=Repeats(tries_max=1))
    assert isinstance(result, RateLimitedError)
    assert len(sent_ns) == 1


async def test_each_page_of_a_listing_has_its_own_tries() -> None:
    failed = PASSING[0]
    pages = [Answer(200, b'{"fills":[],"cursor":"%d"}' % number) for number in range(3)]
    last = Answer(200, b'{"fills":[]}')
    says = [answer for page in [*pages, last] for answer in (failed, failed, page)]
    result, sent_ns = await outcome("fills", *says)
    assert result == []
    assert len(sent_ns) == 12


def test_waits_double_to_a_bound_and_are_never_below_half() -> None:
    repeats = Repeats(tries_max=100, wait_first_s=0.1, wait_max_s=1.0)
    chance = random.Random(1)
    for failures, longest_s in ((1, 0.1), (2, 0.2), (3, 0.4), (4, 0.8), (5, 1.0), (99, 1.0)):
        wait_s = repeats.wait_s(failures, chance.random())
        assert longest_s / 2 <= wait_s <= longest_s
    with pytest.raises(ValueError, match="tries_max"):
        Repeats(tries_max=0)
