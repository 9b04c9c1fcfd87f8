"""Every call of the client at the simulator, with both kinds of key: values, not only shapes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from libs.kalshi.errors import RefusedError
from libs.kalshi.rest_orders import ItemRefused
from libs.kalshi.wire.market import ExchangeStatus, OrderBook, PriceRange
from libs.kalshi.wire.orders import Amendment, BatchCancelItem, Created
from libs.kalshi.wire.portfolio import QueuePosition, ShardBalance
from tests.lab.exchange.harness import EVENT, MARKET, START_NS, TARGET_NS, S
from tests.libs.kalshi.client_calls import CALLS
from tests.libs.kalshi.desk import Desk, desk_at, order

OTHER_MARKET = f"{EVENT}-T7879.9999"
Check = Callable[[Desk], Awaitable[None]]
CHECKS: dict[str, Check] = {}


@pytest.fixture(params=["rsa", "ed25519"])
async def desk(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with desk_at(tmp_path, request.param) as running:
        yield running


def checks(*names: str) -> Callable[[Check], Check]:
    """Register what must hold of some calls once the desk has traded."""

    def register(check: Check) -> Check:
        CHECKS.update(dict.fromkeys(names, check))
        return check

    return register


@checks("exchange_status", "schedule", "user_data_ns")
async def exchange(desk: Desk) -> None:
    status = await desk.client.exchange_status()
    assert isinstance(status, ExchangeStatus)
    assert (status.exchange_active, status.trading_active) == (True, True)
    (shard, *_) = status.shards
    assert (shard.exchange_index, shard.trading_active) == (0, True)
    assert (await desk.client.schedule()).standard_hours
    assert START_NS - S <= await desk.client.user_data_ns() <= START_NS


@checks("series", "series_fee_changes", "event_fee_changes")
async def series(desk: Desk) -> None:
    found = await desk.client.series("KXINXU")
    assert (found.ticker, found.fee_type, found.fee_multiplier) == ("KXINXU", "quadratic", 1)
    for change in await desk.client.series_fee_changes("KXINXU", historical=True):
        assert change.series_ticker == "KXINXU"
    assert await desk.client.event_fee_changes(EVENT) == []


@checks("events", "event", "markets", "market")
async def events(desk: Desk) -> None:
    (event,) = await desk.client.events("KXINXU", status="open")
    assert event == await desk.client.event(EVENT)
    assert event.event_ticker == EVENT
    assert (event.collateral_return_type, event.mutually_exclusive) == ("DIRECNET", False)
    assert event.markets is not None
    assert len(event.markets) == 5
    assert list(event.markets) == await desk.client.markets(event_ticker=EVENT)
    market = await desk.client.market(MARKET)
    assert market in event.markets
    assert market is not None
    assert (market.strike_type, market.floor_e4, market.cap_e4) == ("greater", 78_699_999, None)
    assert (market.status, market.result, market.close_ns) == ("active", "", TARGET_NS)
    assert market.price_ranges == (PriceRange(0, 10_000, 100),)
    assert (market.yes_bid_e4, market.yes_bid_size_e2) == (4500, 300)
    assert (market.yes_ask_e4, market.yes_ask_size_e2) == (4700, 500)
    assert await desk.client.market("KXINXU-26OCT02H1100-T1") is None


@checks("orderbook", "orderbooks")
async def books(desk: Desk) -> None:
    book = OrderBook(MARKET, ((4500, 300),), ((4700, 500),))
    assert await desk.client.orderbook(MARKET) == book
    empty = OrderBook(OTHER_MARKET, (), ())
    assert await desk.client.orderbooks([MARKET, OTHER_MARKET]) == [book, empty]


@checks("trades")
async def trades(desk: Desk) -> None:
    (trade,) = await desk.client.trades(MARKET, since_ns=START_NS, until_ns=START_NS + S)
    assert (trade.ticker, trade.price_e4, trade.count_e2) == (MARKET, 4500, 500)
    assert (trade.taker_side, trade.created_ns, trade.is_block_trade) == ("bid", START_NS, False)
    assert await desk.client.trades(MARKET, until_ns=START_NS - 60 * S) == []


@checks("candlesticks")
async def candlesticks(desk: Desk) -> None:
    await desk.exchange.clock.advance_to(START_NS + 60 * S)
    (found,) = await desk.client.candlesticks(
        (MARKET,), since_ns=START_NS, until_ns=START_NS + 60 * S
    )
    assert found.ticker == MARKET
    traded = [one for one in found.candlesticks if one.volume_e2]
    assert [(one.volume_e2, one.price.close_e4) for one in traded] == [(500, 4500)]
    assert traded[0].price.mean_e6 == 450_000
    assert traded[0].open_interest_e2 == 500


@checks("account_limits", "endpoint_costs")
async def limits(desk: Desk) -> None:
    found = await desk.client.account_limits()
    assert found.usage_tier == "prestige"
    assert (found.read.refill_rate, found.write.refill_rate) == (12_000, 9_600)
    costs = await desk.client.endpoint_costs()
    assert costs.default_cost == 10
    cheap = {(one.method, one.path): one.cost for one in costs.endpoint_costs}
    assert cheap["DELETE", "/trade-api/v2/portfolio/events/orders/:order_id"] == 2


@checks("balance", "positions", "fills", "settlements", "resting_value")
async def account(desk: Desk) -> None:
    # 5 contracts at 0.45 cost 2.25 and 0.07 x 5 x 0.45 x 0.55 = 0.086625; the change of cash is
    # cut down to 0.0001 (kalshi-api.md section 5): -2.3367. The 3 that rest lock 1.35.
    balance = await desk.client.balance()
    assert balance.balance_e6 == 10_000_000_000 - 2_336_700 - 1_350_000
    assert balance.by_shard == (ShardBalance(0, balance.balance_e6),)
    (position,) = await desk.client.positions(event_ticker=EVENT)
    assert (position.ticker, position.position_e2) == (MARKET, 500)
    (fill,) = await desk.client.fills(ticker=MARKET, since_ns=START_NS)
    assert (fill.side, fill.price_e4, fill.count_e2, fill.is_taker) == ("bid", 4500, 500, True)
    assert fill.fee_e6 in (86_625, 86_700)  # without and with the rounding of the cash
    assert fill.created_ns == START_NS
    assert await desk.client.fills(order_id="00000000-0000-4000-8000-000000000000") == []
    assert await desk.client.settlements(event_ticker=EVENT) == []
    value = await desk.client.resting_value()
    assert value.total_cents == 135  # 3 contracts at 0.45
    assert value.by_shard == (ShardBalance(0, 1_350_000),)


@checks("orders", "order", "queue_positions", "queue_position")
async def orders(desk: Desk) -> None:
    (found,) = await desk.client.orders(event_ticker=EVENT, status="resting")
    assert (found.client_order_id, found.side, found.price_e4) == ("bought", "bid", 4500)
    assert (found.initial_e2, found.filled_e2, found.remaining_e2) == (800, 500, 300)
    assert await desk.client.order(found.order_id) == found
    assert await desk.client.order("00000000-0000-4000-8000-000000000000") is None
    expected = QueuePosition(found.order_id, MARKET, 0)
    assert await desk.client.queue_positions(event_ticker=EVENT) == (expected,)
    assert await desk.client.queue_position(found.order_id) == 0
    desk.exchange.other_places("bid", 4_400, 250)
    behind = await desk.rest("behind", price_e4=4400)
    assert await desk.client.queue_position(behind) == 550  # better prices are ahead too


@checks("create_order", "decrease_order", "cancel_order")
async def one_order(desk: Desk) -> None:
    expiry_ns = TARGET_NS - 2 * S
    request = order("first", "ask", 6000, 250, expires_ns=expiry_ns)
    created = await desk.client.create_order(request)
    assert (created.filled_e2, created.remaining_e2) == (0, 250)
    assert (created.client_order_id, created.processed_ns) == ("first", START_NS)
    shown = await desk.client.order(created.order_id)
    assert shown is not None
    assert (shown.side, shown.price_e4, shown.expiration_ns) == ("ask", 6000, expiry_ns)
    assert shown.cancel_order_on_pause
    decreased = await desk.client.decrease_order(created.order_id, 100)
    assert (decreased.order_id, decreased.remaining_e2) == (created.order_id, 100)
    cancelled = await desk.client.cancel_order(created.order_id)
    assert (cancelled.order_id, cancelled.reduced_by_e2) == (created.order_id, 100)
    gone = await desk.client.order(created.order_id)
    assert gone is not None
    assert (gone.status, gone.remaining_e2) == ("canceled", 0)


@checks("amend_order")
async def amended(desk: Desk) -> None:
    order_id = await desk.rest("amended", "ask", 6000, count_e2=250)
    change = Amendment(
        ticker=MARKET,
        side="ask",
        price_e4=6100,
        total_e2=100,
        client_order_id="amended",
        updated_client_order_id="amended again",
        expires_ns=TARGET_NS,
    )
    answer = await desk.client.amend_order(order_id, change)
    assert answer.client_order_id == "amended again"
    assert answer.remaining_e2 in (None, 100)
    shown = await desk.client.order(answer.order_id)
    assert shown is not None
    assert (shown.client_order_id, shown.price_e4, shown.remaining_e2) == (
        "amended again",
        6100,
        100,
    )
    assert shown.expiration_ns == TARGET_NS


@checks("create_orders", "cancel_orders")
async def batches(desk: Desk) -> None:
    wanted = [order("a"), order("b", price_e4=2050), order("bought"), order("d", price_e4=2100)]
    first, off_tick, again, last = await desk.client.create_orders(wanted)
    assert isinstance(first, Created)
    assert isinstance(last, Created)
    for refused, code in ((off_tick, "invalid_price"), (again, "order_already_exists")):
        assert isinstance(refused, ItemRefused)
        assert (refused.refusal.code, refused.proven) == (code, True)
    await desk.client.cancel_order(first.order_id)
    done = await desk.client.cancel_orders([first.order_id, last.order_id])
    assert isinstance(done[0], ItemRefused)
    assert (done[0].id, done[0].refusal.code) == (first.order_id, "not_found")
    assert isinstance(done[1], BatchCancelItem)
    assert done[1].reduced_by_e2 == 100


@checks("cancel_all")
async def cancel_all(desk: Desk) -> None:
    await desk.rest("one more")
    await desk.client.cancel_all()
    assert await desk.client.orders(status="resting") == []
    assert (await desk.client.orderbook(MARKET)).bids == ()


@checks(
    "order_groups",
    "order_group",
    "create_order_group",
    "limit_order_group",
    "reset_order_group",
    "trigger_order_group",
    "delete_order_group",
)
async def groups(desk: Desk) -> None:
    client = desk.client
    assert await client.order_groups() == ()
    group = await client.create_order_group(500)
    order_id = await desk.rest("grouped", order_group_id=group)
    (listed,) = await client.order_groups()
    assert (listed.id, listed.contracts_limit_e2) == (group, 500)
    await client.limit_order_group(group, 150)
    shown = await client.order_group(group)
    assert (shown.orders, shown.contracts_limit_e2) == ((order_id,), 150)
    await client.trigger_order_group(group)
    assert [one.client_order_id for one in await client.orders(status="resting")] == ["bought"]
    with pytest.raises(RefusedError):
        await desk.rest("refused", order_group_id=group)
    await client.reset_order_group(group)
    await desk.rest("accepted", order_group_id=group)
    await client.delete_order_group(group)
    assert await client.order_groups() == ()
    with pytest.raises(RefusedError) as gone:
        await client.order_group(group)
    assert gone.value.status == 404


@checks(
    "historical_cutoff",
    "historical_markets",
    "historical_trades",
    "historical_fills",
    "historical_orders",
    "historical_positions",
)
async def nothing_is_old_yet(desk: Desk) -> None:
    client = desk.client
    cutoff = await client.historical_cutoff()
    assert cutoff.orders_updated_ns < START_NS
    assert cutoff.trades_created_ns < START_NS
    assert cutoff.market_settled_ns < START_NS
    assert await client.historical_markets(event_ticker=EVENT) == []
    assert await client.historical_trades(MARKET) == []
    assert await client.historical_fills() == []
    assert await client.historical_orders() == []
    assert await client.historical_positions() == []


CASES = [pytest.param(check, id=check.__name__) for check in dict.fromkeys(CHECKS.values())]


@pytest.mark.parametrize("check", CASES)
async def test_the_simulator_answers_as_our_client_expects(desk: Desk, check: Check) -> None:
    bought = await desk.trade()
    assert (bought.filled_e2, bought.remaining_e2) == (500, 300)
    assert bought.average_fill_price == "0.4500"
    await check(desk)
    skew_ns = desk.client.last_skew_ns
    assert skew_ns is not None
    assert abs(skew_ns) <= S


def test_every_call_is_tried_at_the_simulator() -> None:
    assert set(CHECKS) == {name.partition(",")[0] for name in CALLS}


async def test_a_restart_finds_old_and_new_on_both_sides_of_the_cutoff(tmp_path: Path) -> None:
    async with desk_at(tmp_path, history_kept_s=60.0) as desk:
        client, clock = desk.client, desk.exchange.clock
        await desk.trade()
        await client.cancel_all()
        await clock.advance_to(START_NS + 70 * S)
        await desk.rest("new")
        assert (await client.historical_cutoff()).trades_created_ns > START_NS
        assert [one.client_order_id for one in await client.orders()] == ["new"]
        (old,) = await client.historical_orders()
        assert (old.client_order_id, old.filled_e2, old.status) == ("bought", 500, "canceled")
        assert await client.fills() == []
        (fill,) = await client.historical_fills(since_ns=START_NS)
        assert (fill.order_id, fill.count_e2) == (old.order_id, 500)
        assert await client.trades(MARKET) == []
        assert [one.count_e2 for one in await client.historical_trades(MARKET)] == [500]
        desk.exchange.levels["I:SPX"] = 78_700_000
        await clock.advance_to(TARGET_NS + 10 * S)
        (paid,) = await client.settlements(event_ticker=EVENT)
        assert (paid.market_result, paid.revenue_cents, paid.yes_count_e2) == ("yes", 500, 500)
        await clock.advance_to(TARGET_NS + 80 * S)
        assert await client.positions(settlement_status="all") == []
        (held,) = await client.historical_positions(event_ticker=EVENT)
        assert held.ticker == MARKET
        markets = await client.historical_markets(event_ticker=EVENT)
        assert [one.result for one in markets if one.ticker == MARKET] == ["yes"]
