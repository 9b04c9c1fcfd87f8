"""The matching engine, rule by rule (kalshi-api.md sections 2 and 5)."""

from typing import Any

import pytest

from lab.exchange.engine import Engine
from lab.exchange.model import (
    Amendment,
    BookChanged,
    Event,
    NewOrder,
    OrderChanged,
    Placed,
    Reason,
    Reduced,
    Rejected,
    Side,
)
from tests.lab.exchange.harness import EVENT, MARKET, START_NS, TARGET_NS, S, small_engine

NOW = START_NS + S


def order(side: Side, price_e4: int, count_e2: int, **changes: Any) -> NewOrder:
    return NewOrder(ticker=MARKET, side=side, price_e4=price_e4, count_e2=count_e2, **changes)


def place(
    engine: Engine, account: str, side: Side, price_e4: int, count_e2: int, **changes: Any
) -> Placed:
    placed = engine.place(account, order(side, price_e4, count_e2, **changes), NOW)
    assert isinstance(placed, Placed), placed
    return placed


def refusal(
    engine: Engine, account: str, side: Side, price_e4: int, count_e2: int, **changes: Any
) -> tuple[int, str, str | None]:
    refused = engine.place(account, order(side, price_e4, count_e2, **changes), NOW)
    assert isinstance(refused, Rejected), refused
    return refused.status, refused.code, refused.details


def test_better_price_first_then_older_order() -> None:
    engine = small_engine()
    for account, price in (("a", 4_000), ("b", 4_100), ("c", 4_100), ("a", 4_100)):
        place(engine, account, "bid", price, 100)
    taken = engine.place("c", order("ask", 4_000, 250, self_trade="maker"), NOW)
    assert isinstance(taken, Placed)
    assert (taken.filled_e2, taken.remaining_e2, taken.average_price_e4) == (250, 0, 4_080.0)
    # b first at 0.41, c's own order was in the way and went, then a at 0.41, then a at 0.40
    assert [engine.position(name, MARKET).count_e2 for name in "abc"] == [150, 100, -250]
    assert engine.book(MARKET).bids == ((4_000, 50),)
    assert engine.book(MARKET).asks == ()


def test_trades_happen_at_the_resting_price() -> None:
    engine = small_engine()
    place(engine, "a", "ask", 4_500, 100)
    taken = place(engine, "b", "bid", 9_900, 100)
    assert taken.average_price_e4 == 4_500.0


@pytest.mark.parametrize(
    ("time_in_force", "filled_e2", "resting_e2"),
    [("good_till_canceled", 300, 200), ("immediate_or_cancel", 300, 0)],
)
def test_what_does_not_fill(time_in_force: Any, filled_e2: int, resting_e2: int) -> None:
    engine = small_engine()
    place(engine, "a", "ask", 4_500, 300)
    taken = place(engine, "b", "bid", 4_500, 500, time_in_force=time_in_force)
    assert (taken.filled_e2, taken.remaining_e2) == (filled_e2, resting_e2)
    assert sum(count for _, count in engine.book(MARKET).bids) == resting_e2


def test_fill_or_kill_is_all_or_nothing() -> None:
    engine = small_engine()
    place(engine, "a", "ask", 4_500, 300)
    place(engine, "c", "ask", 4_600, 300)
    short = refusal(engine, "b", "bid", 4_500, 301, time_in_force="fill_or_kill")
    assert short[:2] == (409, "fill_or_kill_insufficient_resting_volume")
    assert engine.book(MARKET).asks == ((4_500, 300), (4_600, 300))
    whole = place(engine, "b", "bid", 4_600, 600, time_in_force="fill_or_kill")
    assert whole.filled_e2 == 600


def test_fill_or_kill_does_not_count_own_orders() -> None:
    engine = small_engine()
    place(engine, "b", "ask", 4_500, 300)
    place(engine, "a", "ask", 4_600, 300)
    kill = {"time_in_force": "fill_or_kill"}
    assert refusal(engine, "b", "bid", 4_600, 300, **kill)[0] == 409
    filled = place(engine, "b", "bid", 4_600, 300, self_trade="maker", **kill)
    assert filled.filled_e2 == 300


def test_self_trade_taker_at_cross_keeps_what_already_filled() -> None:
    engine = small_engine()
    place(engine, "a", "ask", 4_400, 100)
    mine = place(engine, "b", "ask", 4_500, 100)
    place(engine, "a", "ask", 4_600, 100)
    taken = place(engine, "b", "bid", 4_600, 300)
    assert (taken.filled_e2, taken.remaining_e2) == (100, 0)
    assert engine.state.orders[mine.order_id].status == "resting"
    assert engine.state.orders[taken.order_id].status == "canceled"
    assert engine.book(MARKET).bids == ()


def test_self_trade_maker_cancels_the_resting_order_and_goes_on() -> None:
    engine = small_engine()
    mine = place(engine, "b", "ask", 4_500, 100)
    place(engine, "a", "ask", 4_600, 100)
    taken = place(engine, "b", "bid", 4_600, 300, self_trade="maker")
    assert (taken.filled_e2, taken.remaining_e2) == (100, 200)
    assert engine.state.orders[mine.order_id].status == "canceled"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"price_e4": 4_550}, (400, "invalid_price", None)),
        ({"price_e4": 0}, (400, "invalid_price", None)),
        ({"price_e4": 10_000}, (400, "invalid_price", None)),
        ({"count_e2": 0}, (400, "invalid_order_size", None)),
        ({"count_e2": -5}, (400, "invalid_order_size", None)),
        ({"post_only": True}, (400, "invalid_order", "post only cross")),
        (
            {"expiration_ns": NOW},
            (400, "invalid_order", "Expiration timestamp must be in the future"),
        ),
        ({"count_e2": 222_300}, (400, "insufficient_balance", None)),
    ],
)
def test_refusals(changes: dict[str, Any], expected: tuple[int, str, str | None]) -> None:
    engine = small_engine()
    place(engine, "a", "ask", 4_500, 100)
    fields = {"price_e4": 4_500, "count_e2": 100, **changes}
    assert refusal(engine, "b", "bid", **fields) == expected
    assert engine.book(MARKET).asks == ((4_500, 100),)
    assert engine.account("b").available_e6 == 1_000_000_000


def test_a_client_order_id_is_used_up_for_ever_but_only_by_an_accepted_order() -> None:
    engine = small_engine()
    assert refusal(engine, "a", "bid", 4_550, 100, client_order_id="x")[1] == "invalid_price"
    placed = place(engine, "a", "bid", 4_500, 100, client_order_id="x")
    assert refusal(engine, "a", "bid", 4_500, 100, client_order_id="x")[0] == 409
    engine.cancel("a", placed.order_id, NOW)
    assert refusal(engine, "a", "bid", 4_500, 100, client_order_id="x")[0] == 409
    place(engine, "b", "bid", 4_500, 100, client_order_id="x")


def test_reduce_only_never_opens() -> None:
    engine = small_engine()
    ioc = {"time_in_force": "immediate_or_cancel", "reduce_only": True}
    assert refusal(engine, "a", "bid", 4_500, 100, reduce_only=True)[1] == "invalid_order"
    place(engine, "b", "bid", 4_500, 1_000)
    nothing = place(engine, "a", "ask", 4_500, 100, **ioc)
    assert (nothing.filled_e2, nothing.remaining_e2) == (0, 0)
    place(engine, "c", "ask", 4_600, 200)
    place(engine, "a", "bid", 4_600, 200)
    closed = place(engine, "a", "ask", 4_500, 900, **ioc)
    assert closed.filled_e2 == 200
    assert engine.position("a", MARKET).count_e2 == 0


def test_collateral_is_locked_in_full_on_both_sides_and_freed() -> None:
    engine = small_engine()
    bid = place(engine, "a", "bid", 4_000, 1_000)
    assert engine.account("a").locked_e6 == 4_000_000
    place(engine, "a", "ask", 7_000, 1_000)
    assert engine.account("a").locked_e6 == 7_000_000
    engine.cancel("a", bid.order_id, NOW)
    assert engine.account("a").locked_e6 == 3_000_000
    engine.cancel_all("a", NOW)
    assert engine.account("a").available_e6 == 1_000_000_000


def test_what_closes_a_position_locks_nothing() -> None:
    engine = small_engine()
    place(engine, "b", "ask", 4_000, 1_000)
    place(engine, "a", "bid", 4_000, 1_000)
    place(engine, "a", "ask", 7_000, 1_500)
    assert engine.account("a").locked_e6 == 3_000 * 500
    place(engine, "a", "ask", 6_000, 400)
    # the cheaper ask trades first, so it closes 4 and the other 6 of the 10 contracts held
    assert engine.account("a").locked_e6 == 3_000 * 900


def test_an_order_that_would_uncover_resting_orders_is_refused() -> None:
    engine = small_engine()
    place(engine, "b", "ask", 9_900, 100_000)
    place(engine, "a", "bid", 9_900, 100_000)
    place(engine, "a", "ask", 9_950 // 100 * 100, 100_000)
    place(engine, "b", "bid", 100, 100_000)
    ioc = {"time_in_force": "immediate_or_cancel"}
    # selling at 0.01 leaves 10 dollars: the resting asks at 0.99 would then open with 1 % each
    assert refusal(engine, "a", "ask", 100, 100_000, **ioc)[1] == "insufficient_balance"


def test_cash_of_opening_and_closing() -> None:
    engine = small_engine()
    place(engine, "b", "ask", 4_000, 1_000)
    place(engine, "a", "bid", 4_000, 1_000)  # taker: fee 0.07 x 10 x 0.24 = 0.168
    assert engine.account("a").cash_e6 == 1_000_000_000 - 4_000_000 - 168_000
    assert engine.account("b").cash_e6 == 1_000_000_000 - 6_000_000
    place(engine, "c", "bid", 5_000, 1_000)
    place(engine, "a", "ask", 5_000, 1_000)  # closes: gets 5 dollars less 0.175
    assert engine.account("a").cash_e6 == 1_000_000_000 + 1_000_000 - 168_000 - 175_000
    position = engine.position("a", MARKET)
    assert (position.count_e2, position.cost_e6, position.realized_e6) == (0, 0, 1_000_000)
    assert engine.market(MARKET).open_interest_e2 == 1_000


def test_fee_of_the_worked_example() -> None:
    engine = small_engine()
    place(engine, "b", "ask", 5_200, 100)
    place(engine, "a", "bid", 5_200, 100)
    assert engine.account("a").cash_e6 == 1_000_000_000 - 537_500
    assert engine.position("a", MARKET).fees_e6 == 17_500
    assert engine.position("b", MARKET).fees_e6 == 0


def test_fractional_counts() -> None:
    engine = small_engine()
    place(engine, "b", "ask", 5_000, 1)
    taken = place(engine, "a", "bid", 5_000, 3)
    assert (taken.filled_e2, taken.remaining_e2) == (1, 2)


def test_cancel_answers_and_the_404_of_a_dead_order() -> None:
    engine = small_engine()
    placed = place(engine, "a", "bid", 4_000, 100)
    other = engine.cancel("b", placed.order_id, NOW)
    assert isinstance(other, Rejected)
    cancelled = engine.cancel("a", placed.order_id, NOW)
    assert isinstance(cancelled, Reduced)
    assert cancelled.reduced_e2 == 100
    again = engine.cancel("a", placed.order_id, NOW)
    assert isinstance(again, Rejected)
    assert (again.status, again.code) == (404, "not_found")


def test_decrease_keeps_the_queue_place_and_clamps() -> None:
    engine = small_engine()
    first = place(engine, "a", "bid", 4_000, 500)
    place(engine, "b", "bid", 4_000, 100)
    reduced = engine.decrease("a", first.order_id, NOW, by_e2=400)
    assert isinstance(reduced, Reduced)
    assert (reduced.reduced_e2, reduced.remaining_e2) == (400, 100)
    place(engine, "c", "ask", 4_000, 50)
    assert engine.position("a", MARKET).count_e2 == 50
    grown = engine.decrease("a", first.order_id, NOW, to_e2=900)
    assert isinstance(grown, Reduced)
    assert (grown.reduced_e2, grown.remaining_e2) == (0, 50)
    emptied = engine.decrease("a", first.order_id, NOW, by_e2=10_000)
    assert isinstance(emptied, Reduced)
    assert (emptied.reduced_e2, emptied.remaining_e2) == (50, 0)
    assert engine.state.orders[first.order_id].status == "canceled"


@pytest.mark.parametrize(
    ("price_e4", "count_e2", "keeps"),
    [(4_000, 100, True), (4_000, 50, True), (4_000, 101, False), (4_100, 100, False)],
)
def test_amend_and_the_queue(price_e4: int, count_e2: int, keeps: bool) -> None:
    engine = small_engine()
    first = place(engine, "a", "bid", 4_000, 100)
    place(engine, "b", "bid", price_e4, 100)
    change = Amendment(ticker=MARKET, side="bid", price_e4=price_e4, count_e2=count_e2)
    amended = engine.amend("a", first.order_id, change, NOW)
    assert isinstance(amended, Placed)
    assert (amended.order_id, amended.remaining_e2) == (first.order_id, count_e2)
    place(engine, "c", "ask", price_e4, 10)
    assert engine.position("a", MARKET).count_e2 == (10 if keeps else 0)


def test_amend_counts_what_has_filled_and_may_trade() -> None:
    engine = small_engine()
    first = place(engine, "a", "bid", 4_000, 100)
    place(engine, "b", "ask", 4_000, 40)
    place(engine, "b", "ask", 4_500, 30)
    change = Amendment(ticker=MARKET, side="bid", price_e4=4_500, count_e2=140)
    amended = engine.amend("a", first.order_id, change, NOW)
    assert isinstance(amended, Placed)
    assert (amended.filled_e2, amended.remaining_e2) == (30, 70)
    assert amended.average_price_e4 == 4_500.0
    assert engine.book(MARKET).bids == ((4_500, 70),)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ticker": f"{EVENT}-T7879.9999"}, "order_ticker_mismatch"),
        ({"side": "ask"}, "order_side_mismatch"),
        ({"client_order_id": "other"}, "order_id_and_client_order_id_mismatch"),
        ({"price_e4": 4_050}, "invalid_price"),
        ({"count_e2": 0}, "invalid_order_size"),
        ({"price_e4": 4_500}, "invalid_order"),
        ({"count_e2": 10**8}, "insufficient_balance"),
        ({"new_client_order_id": "used"}, "order_already_exists"),
        ({"expiration_ns": NOW}, "invalid_order"),
    ],
)
def test_refused_amendments_change_nothing(changes: dict[str, Any], code: str) -> None:
    engine = small_engine()
    place(engine, "b", "ask", 4_500, 100)
    first = place(engine, "a", "bid", 4_000, 100, client_order_id="used", post_only=True)
    fields: dict[str, Any] = {
        "ticker": MARKET,
        "side": "bid",
        "price_e4": 4_000,
        "count_e2": 100,
        **changes,
    }
    refused = engine.amend("a", first.order_id, Amendment(**fields), NOW)
    assert isinstance(refused, Rejected)
    assert refused.code == code
    assert engine.book(MARKET).bids == ((4_000, 100),)


def test_expiry_happens_at_its_own_time_and_amending_moves_it() -> None:
    events: list[Event] = []
    engine = small_engine()
    engine.listen(events.append)
    place(engine, "a", "bid", 4_000, 100, expiration_ns=NOW + 5 * S)
    moved = place(engine, "a", "bid", 4_100, 100, expiration_ns=NOW + 5 * S)
    change = Amendment(
        ticker=MARKET, side="bid", price_e4=4_100, count_e2=100, expiration_ns=NOW + 60 * S
    )
    engine.amend("a", moved.order_id, change, NOW)
    engine.advance(NOW + 30 * S)
    ended = [e for e in events if isinstance(e, OrderChanged) and e.reason is Reason.EXPIRY]
    assert [event.at_ns for event in ended] == [NOW + 5 * S]
    assert engine.book(MARKET).bids == ((4_100, 100),)
    cleared = Amendment(ticker=MARKET, side="bid", price_e4=4_100, count_e2=100, expiration_ns=0)
    engine.amend("a", moved.order_id, cleared, NOW + 30 * S)
    engine.advance(NOW + 600 * S)
    assert engine.book(MARKET).bids == ((4_100, 100),)


def test_close_cancels_what_rests_and_refuses_everything_after() -> None:
    events: list[Event] = []
    engine = small_engine()
    engine.listen(events.append)
    resting = place(engine, "a", "bid", 4_000, 100)
    engine.advance(TARGET_NS)
    ended = [e for e in events if isinstance(e, OrderChanged) and e.reason is Reason.CLOSE]
    assert [event.at_ns for event in ended] == [TARGET_NS]
    late = engine.place("a", order("bid", 4_000, 100), TARGET_NS)
    cancel = engine.cancel("a", resting.order_id, TARGET_NS)
    for refused in (late, cancel):
        assert isinstance(refused, Rejected)
        assert refused.code == "MARKET_INACTIVE"
    assert engine.account("a").available_e6 == 1_000_000_000


def test_before_opening_nothing_trades() -> None:
    engine = Engine()
    engine.open_account("a", 10**9)
    opened = small_engine()
    ladder_open_ns = opened.market(MARKET).spec.open_ns
    from lab.exchange.ladders import build_ladder
    from tests.lab.exchange.harness import LADDER

    engine.add_ladder(build_ladder(LADDER), ladder_open_ns - S)
    early = engine.place("a", order("bid", 4_000, 100), ladder_open_ns - S)
    assert isinstance(early, Rejected)
    assert early.code == "MARKET_INACTIVE"
    assert isinstance(engine.place("a", order("bid", 4_000, 100), ladder_open_ns), Placed)


@pytest.mark.parametrize(("level_e4", "winner"), [(78_700_000, "a"), (78_699_999, "b")])
def test_settlement_pays_by_strike_type(level_e4: int, winner: str) -> None:
    engine = small_engine(settlement_timer_ns=2 * S)
    place(engine, "a", "bid", 4_000, 1_000)
    place(engine, "b", "ask", 4_000, 1_000)
    before = {name: engine.account(name).cash_e6 for name in "ab"}
    engine.advance(TARGET_NS)
    engine.settle(EVENT, level_e4, TARGET_NS + S)
    assert engine.account(winner).cash_e6 == before[winner]
    engine.advance(TARGET_NS + 3 * S)
    for name in "ab":
        paid_e6 = 10_000_000 if name == winner else 0
        assert engine.account(name).cash_e6 == before[name] + paid_e6
    [settled] = engine.state.histories[winner].settlements
    assert settled.revenue_e6 == 10_000_000


def test_pause_cancels_only_the_orders_that_ask_for_it() -> None:
    engine = small_engine()
    place(engine, "a", "bid", 4_000, 100)
    place(engine, "a", "bid", 4_100, 100, cancel_on_pause=True)
    engine.set_pause(exchange_active=True, trading_active=False, now_ns=NOW)
    assert engine.book(MARKET).bids == ((4_000, 100),)
    assert refusal(engine, "a", "bid", 4_000, 100)[0] == 503
    cancelled = engine.cancel_all("a", NOW)
    assert isinstance(cancelled, list)
    assert len(cancelled) == 1


def test_a_market_that_comes_back_has_lost_its_orders() -> None:
    engine = small_engine()
    kept = place(engine, "a", "bid", 4_000, 100)
    engine.set_market_active(MARKET, active=False, now_ns=NOW)
    assert engine.book(MARKET).bids == ((4_000, 100),)
    assert refusal(engine, "b", "bid", 4_000, 100)[1] == "MARKET_INACTIVE"
    engine.set_market_active(MARKET, active=True, now_ns=NOW)
    assert engine.state.orders[kept.order_id].status == "canceled"
    assert engine.account("a").available_e6 == 1_000_000_000
    place(engine, "b", "bid", 4_000, 100)


def test_order_group_stops_after_its_limit_within_fifteen_seconds() -> None:
    engine = small_engine()
    group = engine.groups.create("a", 200)
    for price in (4_000, 3_900, 3_800):
        place(engine, "a", "bid", price, 150, group_id=group.group_id)
    place(engine, "b", "ask", 4_000, 150)
    assert not group.triggered
    assert len(engine.resting("a")) == 2
    engine.place("b", order("ask", 3_900, 40), NOW + 20 * S)  # the first 1.50 is forgotten
    assert not group.triggered
    engine.place("b", order("ask", 3_900, 110), NOW + 21 * S)
    engine.place("b", order("ask", 3_800, 60), NOW + 22 * S)
    assert group.triggered
    assert engine.resting("a") == []
    late = order("bid", 3_000, 100, group_id=group.group_id)
    refused = engine.place("a", late, NOW + 22 * S)
    assert isinstance(refused, Rejected)
    engine.groups.reset(group)
    assert isinstance(engine.place("a", late, NOW + 22 * S), Placed)


def test_the_clock_of_a_market_counts_actions_not_deltas() -> None:
    events: list[Event] = []
    engine = small_engine()
    engine.listen(events.append)
    assert engine.book(MARKET).clock == 0
    place(engine, "a", "ask", 5_000, 100)
    place(engine, "b", "ask", 5_100, 100)
    place(engine, "c", "bid", 5_200, 300)
    clocks = [event.clock for event in events if isinstance(event, BookChanged)]
    assert clocks == [1, 2, 3, 3, 3]


def test_equal_seed_and_calls_give_equal_events() -> None:
    def run(seed: int) -> list[str]:
        events: list[str] = []
        engine = small_engine(seed)
        engine.listen(lambda event: events.append(repr(event)))
        place(engine, "a", "ask", 5_000, 100)
        place(engine, "b", "bid", 5_000, 50)
        engine.advance(TARGET_NS)
        return events

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_an_account_without_history_leaves_nothing_behind() -> None:
    engine = small_engine()
    engine.open_account("maker", 10**12, keep_history=False)
    before = len(engine.state.orders)
    for _ in range(10):
        placed = place(engine, "maker", "bid", 4_000, 100)
        engine.cancel("maker", placed.order_id, NOW)
    assert len(engine.state.orders) == before
    assert engine.account("maker").client_ids == set()
