"""When the exchange does not take what it usually takes (kalshi-api.md sections 2.2, 2.3, 2.8)."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lab.exchange.engine import Engine
from lab.exchange.hours import weekly_pause
from lab.exchange.ladders import build_ladder
from lab.exchange.model import (
    Amendment,
    Event,
    NewOrder,
    OrderChanged,
    Placed,
    Reason,
    Rejected,
    Rules,
)
from libs.domain.eastern import NS_PER_HOUR
from tests.lab.exchange.harness import (
    EVENT,
    LADDER,
    MARKET,
    ORDERS,
    START_NS,
    TARGET_NS,
    Exchange,
    S,
    order_body,
    running_exchange,
    small_engine,
)
from tests.lab.exchange.schemas import check_answer, check_object

NOW = START_NS + S
BID = NewOrder(ticker=MARKET, side="bid", price_e4=4_000, count_e2=200)


def utc(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * S  # type: ignore[arg-type,misc]


def placed(engine: Engine, order: NewOrder = BID, at_ns: int = NOW) -> str:
    answer = engine.place("a", order, at_ns)
    assert isinstance(answer, Placed), answer
    return answer.order_id


def code(answer: object) -> str:
    assert isinstance(answer, Rejected), answer
    return answer.code


def test_a_trading_pause_takes_cancels_and_decreases_only() -> None:
    engine = small_engine()
    first, second = placed(engine), placed(engine)
    engine.set_pause(exchange_active=True, trading_active=False, now_ns=NOW)
    assert code(engine.place("a", BID, NOW)) == "trading_paused"
    change = Amendment(ticker=MARKET, side="bid", price_e4=3_900, count_e2=100)
    assert code(engine.amend("a", first, change, NOW)) == "trading_paused"
    assert not isinstance(engine.decrease("a", first, NOW, by_e2=100), Rejected)
    assert not isinstance(engine.cancel("a", second, NOW), Rejected)
    assert engine.book(MARKET).bids == ((4_000, 100),)
    engine.set_pause(exchange_active=True, trading_active=True, now_ns=NOW)
    assert engine.book(MARKET).bids == ((4_000, 100),)
    placed(engine)


async def test_an_exchange_pause_takes_nothing_and_says_503(exchange: Exchange) -> None:
    mine = (await exchange.call("POST", ORDERS, order_body())).json()["order_id"]
    now_ns = exchange.clock.now_ns()
    exchange.engine.set_pause(exchange_active=False, trading_active=True, now_ns=now_ns)
    one = f"{ORDERS}/{mine}"
    calls: list[tuple[str, str, Any]] = [
        ("POST", ORDERS, order_body()),
        ("POST", f"{ORDERS}/batched", {"orders": [order_body()]}),
        ("DELETE", ORDERS, None),
        ("DELETE", one, None),
        ("DELETE", f"{ORDERS}/batched", {"orders": [{"order_id": mine}]}),
        ("POST", f"{one}/amend", order_body(price="0.3900")),
        ("POST", f"{one}/decrease", {"reduce_by": "1.00"}),
        ("POST", "/portfolio/order_groups/create", {"contracts_limit": 5}),
        ("PUT", "/portfolio/subaccounts/netting", {"subaccount_number": 0, "enabled": True}),
    ]
    for method, path, body in calls:
        answer = await exchange.call(method, path, body)
        assert answer.status_code == 503, (method, path, answer.text)
        check_object("ErrorResponse", answer.json()["error"])
    status = await exchange.call("GET", "/exchange/status", key_id=None)
    assert status.status_code == 503
    check_answer("GET", "/exchange/status", 503, status.json())
    assert (status.json()["exchange_active"], status.json()["trading_active"]) == (False, False)
    read = await exchange.call("GET", f"/portfolio/orders/{mine}")
    assert read.json()["order"]["remaining_count_fp"] == "10.00"
    exchange.engine.set_pause(exchange_active=True, trading_active=True, now_ns=now_ns)
    assert (await exchange.call("DELETE", one)).status_code == 200


@pytest.mark.parametrize(
    ("now", "begins"),
    [
        ((2026, 10, 1, 6, 59), (2026, 10, 1, 7)),  # Thursday, daylight time: 03:00 is 07:00Z
        ((2026, 10, 1, 8, 59), (2026, 10, 1, 7)),
        ((2026, 10, 1, 9), (2026, 10, 8, 7)),
        ((2026, 11, 2, 0), (2026, 11, 5, 8)),  # standard time again
    ],
)
def test_the_weekly_pause_is_on_thursday_from_three_to_five_in_new_york(
    now: tuple[int, ...], begins: tuple[int, ...]
) -> None:
    start_ns = utc(*begins)
    assert weekly_pause(utc(*now)) == (start_ns, start_ns + 2 * NS_PER_HOUR)


def test_the_weekly_pause_comes_every_week() -> None:
    engine = Engine(rules=Rules(weekly_pause=True))
    engine.keep_hours(utc(2026, 10, 1, 8))  # begun in its middle
    seen = []
    for day, hour in ((1, 8), (1, 9), (8, 6), (8, 7), (8, 8), (8, 9), (15, 7)):
        engine.advance(utc(2026, 10, day, hour))
        seen.append(engine.state.trading_active)
    assert seen == [False, True, True, False, False, True, False]
    assert engine.state.resume_ns == utc(2026, 10, 15, 9)


async def test_the_schedule_shows_the_pause_that_is_kept(tmp_path: Path) -> None:
    async with running_exchange(tmp_path, weekly_pause=True) as exchange:
        schedule = (await exchange.call("GET", "/exchange/schedule")).json()["schedule"]
        [hours] = schedule["standard_hours"]
        assert [session["close_time"] for session in hours["thursday"]] == ["03:00", "00:00"]
        assert [session["open_time"] for session in hours["thursday"]] == ["00:00", "05:00"]
        exchange.engine.advance(utc(2026, 10, 8, 7))
        status = (await exchange.call("GET", "/exchange/status")).json()
        check_answer("GET", "/exchange/status", 200, status)
        assert (status["exchange_active"], status["trading_active"]) == (True, False)
        assert status["exchange_estimated_resume_time"] == "2026-10-08T09:00:00Z"


def test_after_close_everything_is_refused_and_then_the_rest_is_cancelled() -> None:
    events: list[Event] = []
    engine = small_engine(close_cancel_ns=2 * S)
    engine.listen(events.append)
    order_id = placed(engine)
    late_ns = TARGET_NS + S
    change = Amendment(ticker=MARKET, side="bid", price_e4=3_900, count_e2=100)
    for refused in (
        engine.place("a", BID, late_ns),
        engine.cancel("a", order_id, late_ns),
        engine.amend("a", order_id, change, late_ns),
        engine.decrease("a", order_id, late_ns, by_e2=100),
    ):
        assert code(refused) == "MARKET_INACTIVE"
    assert engine.cancel_all("a", late_ns) == []
    assert engine.state.orders[order_id].status == "resting"
    engine.advance(TARGET_NS + 2 * S)
    ended = [e for e in events if isinstance(e, OrderChanged) and e.reason is Reason.CLOSE]
    assert [event.at_ns for event in ended] == [TARGET_NS + 2 * S]
    engine.settle(EVENT, 78_700_000, TARGET_NS + 2 * S)


def test_a_result_ends_what_still_rests() -> None:
    engine = small_engine(close_cancel_ns=60 * S)
    order_id = placed(engine)
    engine.settle(EVENT, 78_700_000, TARGET_NS + S)
    assert engine.state.orders[order_id].status == "canceled"
    assert engine.account("a").cash_e6 == 1_000_000_000


async def test_a_new_market_is_unknown_at_first(tmp_path: Path) -> None:
    async with running_exchange(tmp_path, listing_delay_s=3.0) as exchange:
        for wait_s, status in ((0, 404), (2, 404), (1, 200)):
            await exchange.clock.advance_to(exchange.clock.now_ns() + wait_s * S)
            assert (await exchange.call("GET", f"/markets/{MARKET}")).status_code == status
            order = await exchange.call("POST", ORDERS, order_body())
            assert order.status_code == (201 if status == 200 else 404)


def test_cancel_all_may_take_what_is_placed_after_it() -> None:
    engine = small_engine(cancel_all_lingers_ns=60 * S)
    first = placed(engine)
    engine.cancel_all("a", NOW)
    late = placed(engine, at_ns=NOW + 59 * S)
    assert [engine.state.orders[one].status for one in (first, late)] == ["canceled"] * 2
    assert engine.state.orders[placed(engine, at_ns=NOW + 60 * S)].status == "resting"


def test_what_reduce_only_cuts_off_was_cancelled() -> None:
    engine = small_engine()
    seen: list[tuple[str, Reason]] = []

    def note(event: Event) -> None:
        if isinstance(event, OrderChanged) and event.order.status != "resting":
            seen.append((event.order.status, event.reason))

    engine.listen(note)
    ioc = {"time_in_force": "immediate_or_cancel", "reduce_only": True}
    sell = NewOrder(ticker=MARKET, side="ask", price_e4=4_000, count_e2=500, **ioc)  # type: ignore[arg-type]
    engine.place("a", sell, NOW)
    assert seen == [("canceled", Reason.REDUCE_ONLY)]


async def test_an_amendment_tells_its_counts_only_when_they_changed(exchange: Exchange) -> None:
    mine = (await exchange.call("POST", ORDERS, order_body())).json()["order_id"]
    for changes, remaining in (({"price": "0.3900"}, None), ({"count": "9.00"}, "9.00")):
        amended = await exchange.call("POST", f"{ORDERS}/{mine}/amend", order_body(**changes))
        check_answer("POST", f"{ORDERS}/{{order_id}}/amend", 200, amended.json())
        assert amended.json()["remaining_count"] == remaining
        assert amended.json()["average_fill_price"] is None


def test_a_group_stops_when_its_limit_is_hit_exactly() -> None:
    engine = small_engine()
    group = engine.groups.create("a", 200)
    resting = NewOrder(
        ticker=MARKET, side="bid", price_e4=4_000, count_e2=300, group_id=group.group_id
    )
    placed(engine, resting)
    sell = NewOrder(ticker=MARKET, side="ask", price_e4=4_000, count_e2=200)
    assert isinstance(engine.place("b", sell, NOW), Placed)
    assert group.triggered
    assert engine.resting("a") == []


def test_a_ladder_listed_again_is_a_mistake() -> None:
    engine = small_engine()
    with pytest.raises(AssertionError, match="listed already"):
        engine.add_ladder(build_ladder(LADDER), NOW)
