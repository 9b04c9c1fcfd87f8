"""Orders V2, fills, positions and the balance."""

import asyncio
import time
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any
from uuid import uuid4

from tests.conformance.cases import case
from tests.conformance.market import PRICE, order, place, quiet_market, take, until
from tests.conformance.sdk import Sdk


async def get_order(sdk: Sdk, order_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = (await sdk.ask("GetOrder", order_id=order_id))["order"]
    return answer


async def status_of(sdk: Sdk, order_id: str) -> str:
    return str((await get_order(sdk, order_id))["status"])


async def balance(sdk: Sdk) -> Decimal:
    return Decimal((await sdk.ask("GetBalance"))["balance_dollars"])


@case(
    "C11",
    "CreateOrderV2",
    "GetOrder",
    "GetOrders",
    "GetOrderQueuePosition",
    "GetOrderQueuePositions",
    "GetPortfolioRestingOrderTotalValue",
    "CancelOrderV2",
)
async def test_an_order_rests_and_is_cancelled(sdk: Sdk) -> None:
    """A resting order is in every read that should show it, locks its cost, and goes once."""
    ticker, price = await quiet_market(sdk), PRICE
    before = await balance(sdk)
    placed = await place(sdk, ticker, "bid", price, "3.00", post_only=True)
    assert (placed["fill_count"], placed["remaining_count"]) == ("0.00", "3.00")
    assert "average_fill_price" not in placed
    order_id = placed["order_id"]
    shown = await get_order(sdk, order_id)
    assert (shown["book_side"], shown["outcome_side"]) == ("bid", "yes")
    assert (shown["status"], shown["initial_count_fp"]) == ("resting", "3.00")
    assert (shown["yes_price_dollars"], shown["no_price_dollars"]) == ("0.4000", "0.6000")
    listed = await sdk.ask("GetOrders", ticker=ticker, status="resting", limit=10)
    assert order_id in [each["order_id"] for each in listed["orders"]]
    one = await sdk.ask("GetOrderQueuePosition", order_id=order_id)
    many = await sdk.ask("GetOrderQueuePositions", market_tickers=ticker)
    queued = {each["order_id"]: each["queue_position_fp"] for each in many["queue_positions"]}
    assert queued[order_id] == one["queue_position_fp"] == "0.00", "nobody else is at that price"
    assert (await balance(sdk)) <= before - Decimal(3 * price) / 100
    value = await sdk.ask("GetPortfolioRestingOrderTotalValue")
    assert value["total_resting_order_value"] >= 3 * price
    gone = await sdk.ask("CancelOrderV2", order_id=order_id, exchange_index=0)
    assert (gone["order_id"], gone["reduced_by"]) == (order_id, "3.00")
    await until(lambda: status_of(sdk, order_id), lambda status: status == "canceled")
    assert (await balance(sdk)) == before


@case("C12", "CreateOrderV2", "GetFills", "GetPositions", "GetBalance", "GetOrder")
async def test_taking_pays_the_fee_to_the_micro_dollar(sdk: Sdk, other: Sdk) -> None:
    """A taker fill: fee of 0.07 C P (1-P) ceiled to 0.000001, debit floored to 0.0001."""
    ticker = await quiet_market(sdk)
    before = await balance(sdk)
    taken = await take(sdk, other, ticker)
    assert (taken["fill_count"], taken["remaining_count"]) == ("1.00", "0.00")
    fills = await sdk.ask("GetFills", order_id=taken["order_id"])
    [fill] = fills["fills"]
    price = Decimal(PRICE) / 100
    assert Decimal(fill["yes_price_dollars"]) == price
    model = Decimal("0.07") * price * (1 - price)
    fee = model.quantize(Decimal("0.000001"), ROUND_CEILING)
    paid = -(-price - fee).quantize(Decimal("0.0001"), ROUND_FLOOR)
    assert before - await balance(sdk) == paid
    # What the rounding of the balance takes is part of the fee (kalshi-api.md section 5).
    assert fee <= Decimal(fill["fee_cost"]) <= fee + Decimal("0.0001")
    assert Decimal(fill["fee_cost"]) == paid - price
    assert (fill["is_taker"], fill["book_side"], fill["trade_id"]) == (True, "bid", fill["fill_id"])
    assert "client_order_id" not in fill
    assert Decimal(taken["average_fill_price"]) == price
    shown = await get_order(sdk, taken["order_id"])
    assert (shown["status"], shown["taker_fees_dollars"]) == ("executed", fill["fee_cost"])
    held = await sdk.ask("GetPositions", ticker=ticker)
    [position] = held["market_positions"]
    assert Decimal(position["position_fp"]) >= 1
    assert ticker.startswith(held["event_positions"][0]["event_ticker"])


@case("C13", "CreateOrderV2", "GetFills")
async def test_making_is_free_on_the_index(sdk: Sdk, other: Sdk) -> None:
    """A maker's fill costs no fee on an index series; the taker's fill is the same trade."""
    ticker = await quiet_market(sdk)
    made = await place(sdk, ticker, "bid", PRICE, "2.00", post_only=True)
    await place(other, ticker, "ask", PRICE, "2.00", time_in_force="immediate_or_cancel")
    [fill] = (await sdk.ask("GetFills", order_id=made["order_id"]))["fills"]
    assert (fill["is_taker"], fill["fee_cost"]) == (False, "0.000000")
    assert (fill["outcome_side"], fill["count_fp"]) == ("yes", "2.00")
    theirs = (await other.ask("GetFills", ticker=ticker, limit=1))["fills"]
    assert [(each["trade_id"], each["outcome_side"]) for each in theirs] == [
        (fill["trade_id"], "no")
    ]


@case("C14", "CreateOrderV2")
async def test_fill_or_kill_is_whole_or_nothing(sdk: Sdk) -> None:
    """Fill-or-kill beyond what the book holds is refused whole with 409."""
    ticker = await quiet_market(sdk)
    killed = order(ticker, "bid", PRICE, "1.00", time_in_force="fill_or_kill")
    status, body = await sdk.refused("CreateOrderV2", killed)
    assert (status, body["error"]["code"]) == (409, "fill_or_kill_insufficient_resting_volume")


@case("C15", "AmendOrderV2", "DecreaseOrderV2", "GetOrderQueuePosition", "CancelOrderV2")
async def test_amending_and_the_place_in_the_queue(sdk: Sdk, other: Sdk) -> None:
    """Less keeps the place; a new price or more loses it; decrease by and to, clamped."""
    ticker, price = await quiet_market(sdk), PRICE
    first = (await place(sdk, ticker, "bid", price, "5.00", post_only=True))["order_id"]
    behind = (await place(other, ticker, "bid", price, "1.00", post_only=True))["order_id"]

    async def ahead() -> str:
        answer = await sdk.ask("GetOrderQueuePosition", order_id=first)
        return str(answer["queue_position_fp"])

    async def amend(count: str, cents_now: int) -> dict[str, Any]:
        change = {"ticker": ticker, "side": "bid", "count": count, "exchange_index": 0}
        change["price"] = f"{cents_now / 100:.4f}"
        answer: dict[str, Any] = await sdk.ask("AmendOrderV2", change, order_id=first)
        return answer

    assert (await amend("4.00", price))["remaining_count"] == "4.00"
    assert await ahead() == "0.00"
    reduced = await sdk.ask("DecreaseOrderV2", {"reduce_by": "1.00"}, order_id=first)
    assert reduced["remaining_count"] == "3.00"
    reduced = await sdk.ask("DecreaseOrderV2", {"reduce_to": "2.00"}, order_id=first)
    assert reduced["remaining_count"] == "2.00"
    assert await ahead() == "0.00"
    await amend("6.00", price)
    assert await ahead() == "1.00", "an increase goes behind the other's one contract"
    await amend("6.00", price - 1)
    await amend("6.00", price)
    assert await ahead() == "1.00", "a new price goes to the end"
    reduced = await sdk.ask("DecreaseOrderV2", {"reduce_by": "99.00"}, order_id=first)
    assert reduced["remaining_count"] == "0.00", "more than remains is clamped"
    await other.ask("CancelOrderV2", order_id=behind)
    own = await place(sdk, ticker, "bid", price, "1.00", post_only=True)
    await sdk.ask("CancelOrderV2", order_id=own["order_id"])


@case("C16", "BatchCreateOrdersV2", "BatchCancelOrdersV2")
async def test_batches(sdk: Sdk) -> None:
    """One bad item spoils nothing: each has its own answer, null where nothing happened."""
    ticker, price = await quiet_market(sdk), PRICE
    good = order(ticker, "bid", price, "1.00", post_only=True)
    unknown = order("KXINXU-26OCT02H1100-T1", "bid", price, "1.00")
    created = await sdk.ask("BatchCreateOrdersV2", {"orders": [good, unknown]})
    one, two = created["orders"]
    assert (one["client_order_id"], one["remaining_count"]) == (good["client_order_id"], "1.00")
    assert one.get("error") is None
    assert two["error"]["code"]
    assert two["fill_count"] is None
    wanted = [{"order_id": one["order_id"], "exchange_index": 0}, {"order_id": str(uuid4())}]
    cancelled = await sdk.ask("BatchCancelOrdersV2", {"orders": wanted})
    gone, nothing = cancelled["orders"]
    assert (gone["order_id"], gone["reduced_by"]) == (one["order_id"], "1.00")
    assert nothing["error"]["code"] == "not_found"


@case("C17", "CancelAllOrders", "GetOrders")
async def test_cancel_all(sdk: Sdk) -> None:
    """Cancel-all answers 204 without a body, and then nothing rests."""
    ticker = await quiet_market(sdk)
    for _ in range(2):
        await place(sdk, ticker, "bid", PRICE, "1.00", post_only=True)
    assert await sdk.ask("CancelAllOrders", subaccount=0) is None
    await until(lambda: sdk.ask("GetOrders", status="resting"), lambda page: page["orders"] == [])


@case("C18", "CreateOrderV2", "AmendOrderV2", "GetOrder")
async def test_expiry(sdk: Sdk) -> None:
    """An order goes at its expiration time; zero in an amend takes the time away."""
    ticker, price = await quiet_market(sdk), PRICE
    soon = int(time.time()) + 2
    placed = [
        await place(sdk, ticker, "bid", price, "1.00", post_only=True, expiration_time=soon)
        for _ in range(2)
    ]
    short, kept = (each["order_id"] for each in placed)
    assert (await get_order(sdk, short))["expiration_time"].endswith("Z")
    change = order(ticker, "bid", price, "1.00", expiration_time=0)
    fields = ("ticker", "side", "price", "count", "expiration_time", "exchange_index")
    await sdk.ask("AmendOrderV2", {name: change[name] for name in fields}, order_id=kept)
    await until(lambda: status_of(sdk, short), lambda status: status == "canceled")
    assert await status_of(sdk, kept) == "resting"
    await sdk.ask("CancelOrderV2", order_id=kept)


@case("C19", "CreateOrderV2", "GetPositions")
async def test_reduce_only(sdk: Sdk, other: Sdk) -> None:
    """Reduce-only sells what is held and no more, and only as immediate-or-cancel."""
    ticker = await quiet_market(sdk)
    await take(sdk, other, ticker, "5.00")
    [position] = (await sdk.ask("GetPositions", ticker=ticker))["market_positions"]
    held = Decimal(position["position_fp"])
    assert held > 0
    too_many = f"{held + 50:.2f}"
    resting = order(ticker, "ask", 99, too_many, reduce_only=True)
    status, body = await sdk.refused("CreateOrderV2", resting)
    assert (status, body["error"]["code"]) == (400, "invalid_order")
    bid = await place(other, ticker, "bid", PRICE, too_many, post_only=True)
    immediate = {"reduce_only": True, "time_in_force": "immediate_or_cancel"}
    sold = await place(sdk, ticker, "ask", PRICE, too_many, **immediate)
    assert Decimal(sold["fill_count"]) == held
    await other.ask("CancelOrderV2", order_id=bid["order_id"])


@case("C20", "CreateOrderV2", "GetOrder")
async def test_self_trade(sdk: Sdk) -> None:
    """Crossing oneself with taker_at_cross: 201, nothing filled, nothing rests, ours stays."""
    ticker, price = await quiet_market(sdk), PRICE
    resting = (await place(sdk, ticker, "bid", price, "1.00", post_only=True))["order_id"]
    crossed = await place(sdk, ticker, "ask", price, "1.00")
    assert (crossed["fill_count"], crossed["remaining_count"]) == ("0.00", "0.00")
    assert await status_of(sdk, resting) == "resting"
    await sdk.ask("CancelOrderV2", order_id=resting)


@case("C21", "GetFills", "GetOrders", "GetPositions")
async def test_account_pages(sdk: Sdk, other: Sdk) -> None:
    """Fills, orders and positions by pages of one: each once, then an empty cursor."""
    ticker = await quiet_market(sdk)
    for _ in range(2):
        await take(sdk, other, ticker)
    since = int(time.time()) - 600
    for operation, key, name, filters in (
        ("GetFills", "fills", "fill_id", {"min_ts": since, "ticker": ticker}),
        ("GetOrders", "orders", "order_id", {"ticker": ticker}),
        ("GetPositions", "market_positions", "ticker", {"count_filter": "position"}),
    ):
        whole = [each[name] for each in (await sdk.ask(operation, limit=1000, **filters))[key]]
        seen, cursor = [], None
        for _ in range(len(whole) + 1):
            page = await sdk.ask(operation, limit=1, cursor=cursor, **filters)
            seen += [each[name] for each in page[key]]
            cursor = page["cursor"]
            if not cursor:
                break
        assert (seen, cursor) == (whole, "")
        await asyncio.sleep(0)


@case(
    "C22",
    "CreateOrderGroup",
    "GetOrderGroups",
    "GetOrderGroup",
    "UpdateOrderGroupLimit",
    "TriggerOrderGroup",
    "ResetOrderGroup",
    "DeleteOrderGroup",
)
async def test_order_groups(sdk: Sdk) -> None:
    """A group holds orders, is triggered, takes none until it is reset, and goes with them."""
    ticker, price = await quiet_market(sdk), PRICE
    made = await sdk.ask("CreateOrderGroup", {"contracts_limit": 10, "exchange_index": 0})
    group = made["order_group_id"]
    grouped = {"post_only": True, "order_group_id": group}
    first = (await place(sdk, ticker, "bid", price, "1.00", **grouped))["order_id"]
    shown = await sdk.ask("GetOrderGroup", order_group_id=group)
    assert (shown["orders"], shown["contracts_limit_fp"]) == ([first], "10.00")
    await sdk.ask("UpdateOrderGroupLimit", {"contracts_limit_fp": "7.00"}, order_group_id=group)
    groups = {each["id"]: each for each in (await sdk.ask("GetOrderGroups"))["order_groups"]}
    assert groups[group]["contracts_limit_fp"] == "7.00"
    assert await sdk.ask("TriggerOrderGroup", order_group_id=group) == {}
    assert await status_of(sdk, first) == "canceled"
    status, _ = await sdk.refused("CreateOrderV2", order(ticker, "bid", price, "1.00", **grouped))
    assert status in (400, 409)
    assert await sdk.ask("ResetOrderGroup", order_group_id=group) == {}
    second = (await place(sdk, ticker, "bid", price, "1.00", **grouped))["order_id"]
    assert await sdk.ask("DeleteOrderGroup", order_group_id=group) == {}
    assert await status_of(sdk, second) == "canceled"
    status, body = await sdk.refused("GetOrderGroup", order_group_id=group)
    assert (status, body["error"]["code"]) == (404, "not_found")


@case("C23", "GetSubaccountNetting", "UpdateSubaccountNetting")
async def test_netting(sdk: Sdk) -> None:
    """Collateral return is off for a new member, and can be switched on and off."""
    for enabled in (True, False):
        await sdk.ask("UpdateSubaccountNetting", {"subaccount_number": 0, "enabled": enabled})
        [shown] = (await sdk.ask("GetSubaccountNetting"))["netting_configs"]
        assert (shown["subaccount_number"], shown["enabled"]) == (0, enabled)
