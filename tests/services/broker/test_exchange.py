"""What each kind of answer, or of silence, lets the broker conclude."""

import json

import pytest

from libs.common.clock import ManualClock
from libs.common.logs import make_logger
from libs.common.metrics import Metrics
from libs.kalshi.errors import KalshiError, NoAnswerError, NotSentError
from libs.kalshi.rest import KalshiClient
from libs.kalshi.signing import KEY_HEADER
from libs.kalshi.transport import Answer
from services.broker import events as e
from services.broker.exchange import Exchange

NOW_NS = 1_793_372_400 * 10**9
PLACE = e.SubmitOrder(
    client_order_id="c1",
    event_ticker="KXINXU-26OCT30H1100",
    ticker="KXINXU-26OCT30H1100-T6799.9999",
    side="bid",
    price_e4=4_500,
    count_e2=500,
    order_group_id="",
    expiration_ns=NOW_NS + 60 * 10**9,
    not_after_ns=NOW_NS + 60 * 10**9,
)


class NoKey:
    key_id = "k"

    def sign(self, timestamp_ms, method, path):
        return {KEY_HEADER: self.key_id}


class Canned:
    """A transport that gives one answer and remembers what was sent."""

    def __init__(self, answer):
        self.answer = answer
        self.sent = []

    async def send(self, method, url, headers, body):
        self.sent.append((method, url, body and json.loads(body)))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def close(self):
        pass


def exchange(answer):
    clock = ManualClock(NOW_NS)
    transport = Canned(answer)
    client = KalshiClient("http://127.0.0.1/trade-api/v2", transport, clock, NoKey())
    made = Exchange(
        client,
        clock,
        Metrics(),
        make_logger("broker", clock, "error"),
        cancel_reserve_tokens=20,
        token_wait_s=1.0,
    )
    return made, transport


def refused(status, code):
    return Answer(status, json.dumps({"error": {"code": code, "message": code}}).encode())


CREATED = json.dumps(
    {"order_id": "X1", "fill_count": "0.00", "remaining_count": "5.00", "ts_ms": 1793372400123}
).encode()
NOTHING_KNOWN = [
    NoAnswerError("call", "timeout"),
    Answer(500, b"{}"),
    refused(500, "internal"),
    Answer(503, b'{"exchange_active": true, "trading_active": false}'),
    Answer(504, b""),
    Answer(502, b"<html>"),
    Answer(201, b"garbage"),
    Answer(400, b"<html>a gateway's own</html>"),
    Answer(408, b"{}"),
]
PROOFS = [
    (refused(400, "invalid_order"), "refused", "invalid_order"),
    (refused(409, "order_already_exists"), "refused", "order_already_exists"),
    (refused(404, "not_found"), "refused", "not_found"),
    (Answer(401, b'{"error": {"code": "authentication_error"}}'), "refused", None),
    (Answer(429, b'{"error": "too many requests"}'), "rate_limited", ""),
    (NotSentError("call", "no connection"), "not_sent", "no connection"),
]


@pytest.mark.parametrize("answer", NOTHING_KNOWN)
async def test_what_is_no_proof_is_unknown_and_never_repeated(answer):
    made, transport = exchange(answer)
    attempt = await made.place(PLACE, lambda: "", lambda: None)
    assert attempt.outcome == "unknown"
    assert len(transport.sent) == 1


@pytest.mark.parametrize(("answer", "outcome", "code"), PROOFS)
async def test_what_is_proof(answer, outcome, code):
    made, transport = exchange(answer)
    attempt = await made.place(PLACE, lambda: "", lambda: None)
    assert attempt.outcome == outcome
    assert code is None or attempt.code == code
    assert len(transport.sent) == 1


async def test_an_order_carries_all_the_exchange_side_belts():
    made, transport = exchange(Answer(201, CREATED))
    started = []
    attempt = await made.place(PLACE, lambda: "", lambda: started.append(len(transport.sent)))
    assert (attempt.outcome, attempt.order_id, attempt.remaining_e2) == ("accepted", "X1", 500)
    assert started == [0], "the core hears of it before it is sent"
    method, url, body = transport.sent[0]
    assert (method, url) == ("POST", "http://127.0.0.1/trade-api/v2/portfolio/events/orders")
    assert body == {
        "ticker": PLACE.ticker,
        "client_order_id": "c1",
        "side": "bid",
        "count": "5.00",
        "price": "0.4500",
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "taker_at_cross",
        "post_only": True,
        "cancel_order_on_pause": True,
        "exchange_index": 0,
        "expiration_time": 1793372460,
    }


async def test_the_gate_is_the_last_word():
    made, transport = exchange(Answer(201, CREATED))
    attempt = await made.place(PLACE, lambda: "kill switch", lambda: None)
    assert (attempt.outcome, attempt.code) == ("not_sent", "kill switch")
    assert transport.sent == []


async def test_places_leave_tokens_for_cancels():
    """Basic tier: 100 tokens, a create costs 10, a cancel 2, and 20 are kept (§2.6)."""
    made, transport = exchange(Answer(201, CREATED))
    made._wait_ns = 0
    outcomes = [(await made.place(PLACE, lambda: "", lambda: None)).outcome for _ in range(9)]
    assert outcomes == ["accepted"] * 8 + ["not_sent"]
    transport.answer = Answer(204, b"")
    assert (await made.cancel_everything(lambda: "")).outcome == "accepted"
    targets = [e.CancelTarget(f"c{n}", f"X{n}") for n in range(9)]
    transport.answer = Answer(
        200,
        json.dumps(
            {
                "orders": [
                    {"order_id": f"X{n}", "reduced_by": "5.00", "ts_ms": 1793372400123}
                    for n in range(9)
                ]
            }
        ).encode(),
    )
    attempts = await made.cancel(targets, lambda: "")
    assert {(one.outcome, one.reduced_e2) for one in attempts} == {("accepted", 500)}


async def test_each_item_of_a_batch_cancel_has_its_own_outcome():
    items = [
        {"order_id": "X1", "reduced_by": "5.00", "ts_ms": 1793372400123},
        {"order_id": "X2", "reduced_by": "0.00", "error": {"code": "not_found"}},
        {"order_id": "X3", "reduced_by": "0.00", "error": {"code": "internal_error"}},
    ]
    made, _ = exchange(Answer(200, json.dumps({"orders": items}).encode()))
    targets = [e.CancelTarget(f"c{n}", f"X{n}") for n in (1, 2, 3)]
    outcomes = [(one.outcome, one.code) for one in await made.cancel(targets, lambda: "")]
    assert outcomes == [
        ("accepted", ""),
        ("refused", "not_found"),
        ("unknown", "internal_error"),
    ]


async def test_refusals_of_our_key_are_counted_in_a_row():
    made, transport = exchange(refused(401, "unauthorized"))
    for count in (1, 2):
        await made.place(PLACE, lambda: "", lambda: None)
        assert made.auth_errors == count
    with pytest.raises(KalshiError):
        await made.balance()
    assert (made.auth_errors, made.accepted_ns) == (3, 0)
    transport.answer = refused(409, "order_already_exists")  # says nothing of the key
    await made.place(PLACE, lambda: "", lambda: None)
    assert made.auth_errors == 3
    transport.answer = Answer(201, CREATED)
    await made.place(PLACE, lambda: "", lambda: None)
    assert (made.auth_errors, made.accepted_ns) == (0, NOW_NS)
