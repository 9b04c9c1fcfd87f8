"""One simulator of the Basic tier at sixty times the speed sees an hour end: a quarter of an hour
before the target it starts, and payment comes after a quarter of a minute.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from tests.conformance.cases import case
from tests.conformance.market import order, until
from tests.conformance.sdk import FLAVOURS, Sdk
from tests.conformance.simulator import KINDS, Simulator
from tests.conformance.test_websocket import open_socket
from tests.shared_data import shared_file

SETTLED_WITHIN_S = 60
NO_MARKET = "KXINXU-26OCT02H1100-T1"


@dataclass(frozen=True)
class Hurried:
    """Two simulators of the same seed: one keeps two weeks, one a minute of its time."""

    kept: Simulator
    forgetful: Simulator


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hurried]:
    shared_file("kalshi/openapi.yaml")
    root = tmp_path_factory.mktemp("conformance")
    options = ("--seed", "7", "--tier", "basic", "--speed", "60", "--no-crowd")
    with ExitStack() as stack:
        started = []
        for name, more in (("kept", ()), ("forgetful", ("--history-kept", "60"))):
            started.append(Simulator(root / name, tuple(FLAVOURS), *options, *more))
            stack.callback(started[-1].stop)
        yield Hurried(*started)


@asynccontextmanager
async def clients_of(simulator: Simulator) -> AsyncIterator[list[Sdk]]:
    """Open a client of every flavour and kind of key."""
    async with AsyncExitStack() as stack:
        clients = []
        for flavour in FLAVOURS:
            for kind in KINDS:
                clients.append(Sdk(flavour, simulator.base, simulator.keys[flavour, kind]))
                stack.push_async_callback(clients[-1].close)
        yield clients


async def trade_in_the_middle(clients: list[Sdk]) -> str:
    """Let each second client sell two contracts to the one before it; return the market."""
    page = await clients[0].raw("GET", "/markets?series_ticker=KXINXU&status=open&limit=1000")
    markets = page.json()["markets"]
    ticker = str(markets[len(markets) // 2]["ticker"])
    for buyer, seller in zip(clients[::2], clients[1::2], strict=True):
        await seller.ask("CreateOrderV2", order(ticker, "ask", 40, "2.00"))
        await buyer.ask("CreateOrderV2", order(ticker, "bid", 40, "2.00"))
    return ticker


@case("C60", "GetSettlements", "GetPositions", "GetBalance", "GetMarket")
async def test_an_event_closes_is_determined_and_paid(hurried: Hurried) -> list[Sdk]:
    """Lifecycle frames, settlements, positions and balances of an event that ends."""
    async with clients_of(hurried.kept) as clients, clients_of(hurried.forgetful) as others:
        ticker = await trade_in_the_middle(clients)
        assert await trade_in_the_middle(others) == ticker, "the seed is the same"
        async with open_socket(hurried.kept.websocket, clients[0].auth) as socket:
            await socket.subscribe("market_lifecycle_v2")
            steps = await lifecycle_of(socket, ticker)
        assert list(steps) == ["determined", "settled"]
        result = steps["determined"]["result"]
        for index, client in enumerate(clients):
            await check_settled(client, ticker, "no" if index % 2 else "yes", result)
        return clients


@case(
    "C61",
    "GetHistoricalCutoff",
    "GetHistoricalMarkets",
    "GetHistoricalMarket",
    "GetMarketCandlesticksHistorical",
    "GetTradesHistorical",
    "GetHistoricalOrders",
    "GetFillsHistorical",
    "GetHistoricalPositions",
)
async def test_what_is_past_the_cutoff_is_in_the_historical_reads(hurried: Hurried) -> list[Sdk]:
    """The same trades after a minute that is kept: each in its historical read, and only there.

    Where C60 did not trade first there is nothing to find, and this fails.
    """
    async with clients_of(hurried.forgetful) as clients:
        page = await until(
            lambda: clients[0].ask("GetHistoricalMarkets", series_ticker="KXINXU", limit=1000),
            lambda page: page["markets"],
            tries=20 * SETTLED_WITHIN_S,
        )
        traded = [market for market in page["markets"] if float(market["volume_fp"])]
        [ticker] = [market["ticker"] for market in traded]
        for client in clients:
            await check_historical(client, ticker)
        return clients


async def check_historical(client: Sdk, ticker: str) -> None:
    """Check every historical read of one account, and that the live ones have let go."""
    await client.ask("GetHistoricalMarkets", tickers=ticker)
    market = (await client.ask("GetHistoricalMarket", ticker=ticker))["market"]
    assert market["status"] == "finalized"
    assert (await client.refused("GetMarket", ticker=ticker))[0] == 404
    closed_s = int(datetime.fromisoformat(market["close_time"]).timestamp())
    candles = await client.ask(
        "GetMarketCandlesticksHistorical",
        ticker=ticker,
        start_ts=closed_s - 86_400,
        end_ts=closed_s + 86_400,
        period_interval=1440,
    )
    volume = sum(float(candle["volume"]) for candle in candles["candlesticks"])
    assert volume == float(market["volume_fp"])
    cutoff = await client.ask("GetHistoricalCutoff")
    assert market["settlement_ts"] < cutoff["market_settled_ts"]
    for old, new, key, count in (
        ("GetTradesHistorical", "GetTrades", "trades", 2),
        ("GetHistoricalOrders", "GetOrders", "orders", 1),
        ("GetFillsHistorical", "GetFills", "fills", 1),
        ("GetHistoricalPositions", "GetPositions", "market_positions", 1),
    ):
        found = (await client.ask(old, ticker=ticker))[key]
        assert (old, len(found)) == (old, count)
        assert (await client.ask(new, ticker=ticker))[key] == []


async def lifecycle_of(socket: Any, ticker: str) -> dict[str, dict[str, Any]]:
    """Return the messages of one market until it is settled, by step."""
    steps: dict[str, dict[str, Any]] = {}
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLED_WITHIN_S
    while "settled" not in steps:
        assert loop.time() < deadline, f"not settled after {SETTLED_WITHIN_S} s: {steps}"
        try:
            frame = await socket.next()
        except TimeoutError:
            continue
        if frame["msg"].get("market_ticker") == ticker:
            steps[frame["msg"]["event_type"]] = frame["msg"]
    return steps


async def check_settled(client: Sdk, ticker: str, holds: str, result: str) -> None:
    """Check every read of one account after the payment: two contracts at 40 or 60 cents."""
    [settled] = (await client.ask("GetSettlements", ticker=ticker))["settlements"]
    won = holds == result
    assert settled["market_result"] == result
    assert settled[f"{holds}_count_fp"] == "2.00"
    assert (settled["revenue"], settled["value"]) == (200 if won else 0, 100 * (result == "yes"))
    held = await client.ask("GetPositions", settlement_status="settled", ticker=ticker)
    [position] = held["market_positions"]
    assert (position["position_fp"], position["market_exposure_dollars"]) == ("0.00", "0.000000")
    paid = 0.80 if holds == "yes" else 1.20
    gain = (2.0 if won else 0.0) - paid
    assert float(position["realized_pnl_dollars"]) == gain
    balance = await client.ask("GetBalance")
    fee = float(position["fees_paid_dollars"])
    assert abs(float(balance["balance_dollars"]) - (10_000 + gain - fee)) < 0.0001
    assert balance["portfolio_value"] == 0
    market = (await client.ask("GetMarket", ticker=ticker))["market"]
    assert (market["status"], market["result"]) == ("finalized", result)
    assert market["settlement_value_dollars"] == ("1.0000" if result == "yes" else "0.0000")
    status, body = await client.refused("CreateOrderV2", order(ticker, "bid", 40, "1.00"))
    assert (status, body["error"]["code"]) == (400, "MARKET_INACTIVE")


@pytest.mark.parametrize("kind", KINDS)
@case("C50")
async def test_a_batch_fits_whole_or_is_refused(hurried: Hurried, kind: str) -> None:
    """Basic tier, 100 tokens: eleven creates get 429 whole, a string; ten are billed."""
    client = Sdk("sync", hurried.kept.base, hurried.kept.keys["sync", kind])
    unknown = [order(NO_MARKET, "bid", 50, "1.00") for _ in range(11)]
    status, body = await client.refused("BatchCreateOrdersV2", {"orders": unknown})
    assert (status, body) == (429, {"error": "too many requests"})
    answer = await client.ask("BatchCreateOrdersV2", {"orders": unknown[:10]})
    assert len(answer["orders"]) == 10
    await client.close()
