"""Session and stream at the simulator: every channel, and books that survive every fault."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from lab.exchange.faults import (
    Disconnect,
    DuplicateFrame,
    Fault,
    FrameWhere,
    Garbage,
    Silence,
    TerminalError,
    When,
)
from lab.exchange.faults import Gap as LostFrames
from libs.common.clock import Clock, SystemClock
from libs.domain.book import OrderBook
from libs.kalshi.wire import frames as wire
from libs.kalshi.ws import BOOKS, KalshiStream
from libs.kalshi.ws_events import BadFrame, Delta, Gap, Snapshot, StreamEvent, UnknownFrame
from libs.kalshi.ws_session import SessionLimits, StreamSession
from tests.lab.exchange.harness import EVENT, MARKET, START_NS, TARGET_NS, S
from tests.libs.kalshi.desk import Desk, desk_at, order

OTHER = f"{EVENT}-T7879.9999"
LIMITS = SessionLimits(probe_after_s=1.0, silence_s=5.0, backoff_first_s=0.001, backoff_max_s=0.002)
ALL = ("ticker", "trade", "fill", "user_orders", "market_positions", "order_group_updates")
BOOK_FRAMES = FrameWhere(channels=(BOOKS,))
STEPS_MAX = 200


class Listener:
    """Keep the events and the books that they make, as feeds does."""

    def __init__(self, desk: Desk, channels: tuple[str, ...], clock: Clock) -> None:
        self.desk = desk
        self.events: list[StreamEvent] = []
        self.books: dict[str, OrderBook] = {}
        self.stream = KalshiStream()
        self.stream.want(BOOKS, [MARKET, OTHER], now_ns=0)
        for channel in channels:
            self.stream.want(channel, now_ns=0)
        self._changed = asyncio.Event()
        self.session = StreamSession(
            desk.ws_url, self.stream, desk.headers, self._hear, clock, LIMITS
        )

    async def _hear(self, events: list[StreamEvent], received_ns: int) -> None:
        for event in events:
            match event:
                case Snapshot():
                    self.books[event.ticker] = OrderBook(event.bids, event.asks)
                case Delta():
                    book = self.books[event.ticker]
                    book.apply_delta(event.side, event.price_e4, event.change_e2)
                case Gap():
                    for ticker in event.tickers:
                        self.books.pop(ticker, None)
        self.events += events
        self._changed.set()

    async def until(self, true: Callable[[], bool], step_ns: int = 0) -> None:
        """Wait until it is so; meanwhile the exchange's clock goes on in such steps."""
        clock = self.desk.exchange.clock
        for _ in range(STEPS_MAX):
            if true():
                return
            self._changed.clear()
            try:
                async with asyncio.timeout(0.05):
                    await self._changed.wait()
            except TimeoutError:
                await clock.advance_to(clock.now_ns() + step_ns)
        raise AssertionError(f"never came true; events: {self.events[-5:]}")

    def seen(self, *kinds: type) -> bool:
        return set(kinds) <= {type(event) for event in self.events}

    def _shows(self, ticker: str, expected: OrderBook) -> bool:
        return self.books.get(ticker) == expected

    async def books_are_right(self, step_ns: int = 0) -> None:
        """Compare with what REST shows, once the stream has caught up."""
        for ticker in (MARKET, OTHER):
            shown = await self.desk.client.orderbook(ticker)
            expected = OrderBook(shown.bids, shown.asks)
            await self.until(partial(self._shows, ticker, expected), step_ns)
            assert not self.stream.is_stale(ticker)


@asynccontextmanager
async def listening(
    desk: Desk, *channels: str, clock: Clock | None = None
) -> AsyncIterator[Listener]:
    """Listen; by its own clock unless told otherwise, so that a leap of the exchange's is none."""
    listener = Listener(desk, channels, clock or SystemClock())
    task = asyncio.create_task(listener.session.run())
    try:
        await listener.until(lambda: {MARKET, OTHER} <= listener.books.keys())
        yield listener
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("signer", ["rsa", "ed25519"])
async def test_every_channel_says_what_happened(tmp_path: Path, signer: str) -> None:
    async with desk_at(tmp_path, signer) as desk, listening(desk, *ALL) as heard:
        group = await desk.client.create_order_group(500)
        bought = await desk.trade()
        rested = await desk.rest("rests", "ask", 6000, count_e2=250, order_group_id=group)
        await desk.client.cancel_order(rested)
        kinds = (wire.Ticker, wire.Trade, wire.FillUpdate, wire.OrderUpdate, wire.PositionUpdate)
        await heard.until(lambda: heard.seen(Delta, wire.OrderGroupUpdate, *kinds))
        await heard.books_are_right()
        fills = [event for event in heard.events if isinstance(event, wire.FillUpdate)]
        assert [(one.order_id, one.client_order_id, one.side) for one in fills] == [
            (bought.order_id, "bought", "bid")
        ]
        assert [(one.count_e2, one.price_e4, one.post_position_e2) for one in fills] == [
            (500, 4500, 500)
        ]
        updates = [event for event in heard.events if isinstance(event, wire.OrderUpdate)]
        assert {one.client_order_id for one in updates} == {"bought", "rests"}
        last = [one for one in updates if one.client_order_id == "rests"][-1]
        assert (last.order_id, last.status, last.remaining_e2) == (rested, "canceled", 0)
        (trade,) = [event for event in heard.events if isinstance(event, wire.Trade)]
        assert (trade.ticker, trade.price_e4, trade.taker_side) == (MARKET, 4500, "bid")
        positions = [event for event in heard.events if isinstance(event, wire.PositionUpdate)]
        assert (positions[-1].ticker, positions[-1].position_e2) == (MARKET, 500)
        own = [event for event in heard.events if isinstance(event, Delta)]
        assert "rests" in {one.client_order_id for one in own}
        assert all(one.clock is not None and one.at_ns == START_NS for one in own)
        assert not heard.seen(BadFrame)
        assert not heard.seen(UnknownFrame)
        assert not heard.seen(Gap)


async def test_the_lifecycle_channel_tells_of_the_end(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk, listening(desk, "market_lifecycle_v2") as heard:
        desk.exchange.levels["I:SPX"] = 78_700_000
        await desk.exchange.clock.advance_to(TARGET_NS + 10 * S)
        told = lambda: {  # noqa: E731
            (event.event_type, event.result)
            for event in heard.events
            if isinstance(event, wire.Lifecycle) and event.ticker == MARKET
        }
        await heard.until(lambda: len(told()) >= 2)
        assert ("determined", "yes") in told()
        assert "settled" in {kind for kind, _ in told()}


FAULTS: dict[str, Fault] = {
    "gap": LostFrames(frames=3, where=BOOK_FRAMES, when=When(nth=(6,))),
    "gap of many": LostFrames(frames=50, where=BOOK_FRAMES, when=When(nth=(4,))),
    "duplicate": DuplicateFrame(where=BOOK_FRAMES, when=When(every=3)),
    "not_json": Garbage(what="not_json", when=When(every=5)),
    "truncated": Garbage(what="truncated", when=When(every=5)),
    "binary": Garbage(what="binary", when=When(every=5)),
    "wrong_types": Garbage(what="wrong_types", when=When(every=5)),
    "unknown_type": Garbage(what="unknown_type", when=When(every=5)),
    "error 10": TerminalError(code=10, where=BOOK_FRAMES, when=When(nth=(6,))),
    "error 25": TerminalError(code=25, where=BOOK_FRAMES, when=When(nth=(6,))),
    "errors in a row": TerminalError(code=25, where=BOOK_FRAMES, when=When(nth=(3, 4, 5, 6, 7))),
    "cut": Disconnect(when=When(nth=(7,))),
    "closed": Disconnect(code=1012, when=When(nth=(7,))),
    "storm": Disconnect(when=When(every=4, count=5)),
    "late": Silence(s=30, then="late", where=BOOK_FRAMES, when=When(nth=(5,), count=1)),
    "lost": Silence(s=30, then="lost", where=BOOK_FRAMES, when=When(nth=(5,), count=1)),
    "dead line": Silence(s=600, when=When(nth=(8,), count=1)),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_books_find_back_to_the_truth(tmp_path: Path, name: str) -> None:
    async with (
        desk_at(tmp_path, faults=(FAULTS[name],)) as desk,
        listening(desk, clock=desk.clock) as heard,
    ):
        for index in range(40):
            if index % 2:
                desk.exchange.other_places("bid", 3000 + 100 * (index % 7), 100 + index)
            else:
                desk.exchange.other_places("ask", 5000 + 100 * (index % 5), 100 + index)
            await asyncio.sleep(0)
        await desk.client.create_order(order("last", count_e2=700))
        await heard.books_are_right(step_ns=S)
