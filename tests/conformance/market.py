"""Find something to trade on the live simulator, and say what to do there."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from tests.conformance.sdk import Sdk

NESTED, PARTITION = "KXINXU", "KXINX"
PRICE = 40


async def open_markets(sdk: Sdk, series: str = NESTED) -> list[dict[str, Any]]:
    """Return the open markets of a series; case C04 judges that answer, nobody does here."""
    page = await sdk.raw("GET", f"/markets?series_ticker={series}&status=open&limit=1000")
    markets: list[dict[str, Any]] = page.json()["markets"]
    assert markets, f"{series}: no market is open"
    return markets


async def wide_market(sdk: Sdk) -> dict[str, Any]:
    """Return the market with the widest two-sided quote: between them is room to rest in."""
    two_sided = [
        market
        for market in await open_markets(sdk)
        if float(market["yes_bid_size_fp"]) >= 5 and float(market["yes_ask_size_fp"]) >= 5
    ]
    assert two_sided, "the participants quote no market on both sides"
    return max(
        two_sided,
        key=lambda market: float(market["yes_ask_dollars"]) - float(market["yes_bid_dollars"]),
    )


async def quiet_market(sdk: Sdk) -> str:
    """Return the first market whose book is empty: nobody but us comes there.

    It is far from the index, where no participant of the crowd buys or sells.
    """
    for market in await open_markets(sdk):
        if market["yes_bid_size_fp"] == market["yes_ask_size_fp"] == "0.00":
            return str(market["ticker"])
    raise AssertionError("expected a market that nobody quotes")


def order(ticker: str, side: str, price_cents: int, count: str, **changes: Any) -> dict[str, Any]:
    """Return a create request; it rests until cancelled unless changes say otherwise."""
    return {
        "ticker": ticker,
        "side": side,
        "price": f"{price_cents / 100:.4f}",
        "count": count,
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "taker_at_cross",
        "client_order_id": str(uuid4()),
        "exchange_index": 0,
        **changes,
    }


async def place(sdk: Sdk, *words: Any, **changes: Any) -> dict[str, Any]:
    """Create an order and return the answer."""
    answer: dict[str, Any] = await sdk.ask("CreateOrderV2", order(*words, **changes))
    return answer


async def take(sdk: Sdk, other: Sdk, ticker: str, count: str = "1.00") -> dict[str, Any]:
    """Buy YES in a quiet market, from another who offered just that; return the answer."""
    await place(other, ticker, "ask", PRICE, count, post_only=True)
    return await place(sdk, ticker, "bid", PRICE, count, time_in_force="immediate_or_cancel")


async def until(
    ask: Callable[[], Awaitable[Any]], good: Callable[[Any], bool], tries: int = 200
) -> Any:
    """Ask up to that often, twenty times a second, until the answer is good, and return it."""
    for _ in range(tries):
        answer = await ask()
        if good(answer):
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"never became what was expected; last: {answer}")
