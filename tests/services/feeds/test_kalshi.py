"""The whole service against the simulated exchange: discovery, books, doubt and recovery."""

import asyncio
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from msgspec.structs import astuple, force_setattr, replace

from lab.exchange.faults import Answer, FrameWhere, RequestWhere, Silence, When
from lab.exchange.ladders import LadderConfig, build_ladder
from libs.common.bus import Fence
from libs.common.effects import Effect, Received
from libs.common.memory_bus import MemoryHub
from libs.common.messages import (
    ClockSample,
    ExchangeStatus,
    FeedStatus,
    FeeRules,
    LadderDefined,
    LadderSnapshot,
    Message,
    decode,
)
from libs.common.runner import Runner
from libs.common.topology import SIGN_WEBSOCKET, Service
from libs.domain.fee_table import EventFeeOverride, FeeChange, FeeType
from libs.kalshi.rest import KalshiClient
from libs.kalshi.transport import AiohttpTransport
from libs.kalshi.ws import BOOKS
from services.feeds.app import FeedsApp
from services.feeds.config import FeedsConfig
from services.feeds.kalshi import KalshiFeed, UnreadableEvent, as_of_ns, read_event
from services.pricer.core import PricerCore
from services.pricer.policy import PricerPolicy
from tests.lab.exchange.harness import (
    EVENT,
    MARKET,
    START_NS,
    TARGET_NS,
    WS_PATH,
    Exchange,
    S,
    running_exchange,
    sign_headers,
)
from tests.services.feeds.feeding import CONFIG, delta, heard
from tests.services.pricer.builders import calibration

M = TypeVar("M", bound=Message)
RUNG = 2  # the middle one of five: MARKET


class WatchedHub(MemoryHub):
    """A hub that tells when something was stored."""

    stored = asyncio.Event()

    def append(self, subject: str, data: bytes, message_id: str, fence: Fence | None) -> int:
        sequence = super().append(subject, data, message_id, fence)
        self.stored.set()
        return sequence


class Rig:
    """Feeds under its runner, an exchange, a broker that signs, on one clock set by hand."""

    def __init__(self, exchange: Exchange, directory: Path) -> None:
        self.exchange = exchange
        self.clock = exchange.clock
        self.hub = WatchedHub(self.clock.now_ns)
        self.hub.stored = asyncio.Event()
        secret = directory / "secret"
        secret.write_text("a-token-for-tests")
        base = f"127.0.0.1:{exchange.server.port}"
        config = FeedsConfig(
            service="feeds",
            nats_url="nats://127.0.0.1:1",
            nats_password_file=str(secret),
            admin_token_file=str(secret),
            index_url="ws://127.0.0.1:1/indices",
            index_key_file=str(secret),
            exchange_rest_url=f"http://{base}/trade-api/v2",
            exchange_ws_url=f"ws://{base}{WS_PATH}",
            raw_directory=str(directory / "raw"),
            provenance="synthetic",
            series=("KXINXU",),
        )
        self.app = FeedsApp(config)
        bus = self.hub.bus(Service.FEEDS)
        self.runner = Runner(self.app, bus, self.clock, config)
        self.task = asyncio.create_task(self.runner.run())

    async def sign(self) -> None:
        """Let the broker answer from now on."""

        async def answer(_: bytes) -> bytes:
            return msgspec.json.encode(sign_headers("GET", WS_PATH, self.clock.now_ns()))

        await self.hub.bus(Service.BROKER).serve(SIGN_WEBSOCKET, answer)

    @property
    def feed(self) -> KalshiFeed:
        feed = self.app._kalshi
        assert feed is not None, "not started yet"
        return feed

    def said(self, stream: str, kind: type[M]) -> list[M]:
        found = [decode(stored.data) for stored in self.hub.log(stream).after(0)]
        return [message for message in found if isinstance(message, kind)]

    async def until(
        self, stream: str, kind: type[M], wanted: Callable[[M], bool] = lambda _: True, after=0
    ) -> M:
        """Return the first wanted message, time passing meanwhile."""
        async with asyncio.timeout(20):
            while True:
                assert not self.task.done(), self.task.exception()
                for message in self.said(stream, kind)[after:]:
                    if wanted(message):
                        return message
                self.hub.stored.clear()
                await self.clock.advance_to(self.clock.now_ns() + S // 4)
                try:
                    async with asyncio.timeout(0.02):
                        await self.hub.stored.wait()
                except TimeoutError:
                    continue

    async def snapshot(self, wanted: Callable[[LadderSnapshot], bool]) -> LadderSnapshot:
        """Return a wanted snapshot that is newer than this call."""
        known = len(self.said("LADDERS", LadderSnapshot))
        return await self.until("LADDERS", LadderSnapshot, wanted, known)

    async def whole(self) -> LadderSnapshot:
        return await self.snapshot(lambda one: not one.stale)

    async def books_status(self, wanted: Callable[[FeedStatus], bool]) -> FeedStatus:
        known = len(self.said("STATUS", FeedStatus))
        return await self.until(
            "STATUS", FeedStatus, lambda s: s.feed == "kalshi.ladders" and wanted(s), known
        )


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_exchange(tmp_path) as exchange:
        rig = Rig(exchange, tmp_path)
        yield rig
        rig.runner.stop()
        await asyncio.gather(rig.task, return_exceptions=True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"series": ("KXNOVEL",)}, "KXNOVEL"),
        ({"index_symbols": ("I:NOVEL",)}, "I:NOVEL"),
        ({"series": ()}, "at least one"),
    ],
)
def test_a_source_that_nobody_knows_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        replace(CONFIG, **changes)


async def test_a_listed_event_is_defined_and_its_books_follow_the_exchange(rig: Rig) -> None:
    await rig.sign()
    definition = await rig.until("LADDERS", LadderDefined)
    assert (definition.event_ticker, definition.series_ticker) == (EVENT, "KXINXU")
    assert (definition.family, definition.symbol, definition.kind) == ("INXU", "I:SPX", "nested")
    assert definition.target_ns == TARGET_NS
    assert definition.tickers[RUNG] == MARKET
    assert definition.strike_types == ("greater",) * 5
    assert definition.floors_e4[RUNG] == 78_699_999
    empty = await rig.whole()
    assert empty.ladder_id == definition.ladder_id
    assert empty.bid_count_e2 == empty.ask_count_e2 == (0,) * 5
    rig.exchange.other_places("bid", 4000, 1500)
    rig.exchange.other_places("ask", 4500, 700)
    full = await rig.snapshot(lambda one: one.ask_count_e2[RUNG] > 0)
    assert (full.bid_price_e4[RUNG], full.bid_count_e2[RUNG]) == (4000, 1500)
    assert (full.ask_price_e4[RUNG], full.ask_count_e2[RUNG]) == (4500, 700)
    assert full.recv_ns <= full.ts_pub_ns
    status = await rig.books_status(lambda s: s.ok)
    assert status.failures == 0


async def test_without_signed_headers_the_books_are_unknown_until_the_broker_answers(
    rig: Rig,
) -> None:
    status = await rig.books_status(lambda s: "no signed headers" in s.detail)
    assert not status.ok
    for _ in range(20):  # many failed attempts later it is still not well
        await rig.clock.advance_to(rig.clock.now_ns() + S)
    told = [s for s in rig.said("STATUS", FeedStatus) if s.feed == "kalshi.ladders"]
    assert not any(s.ok for s in told)
    await rig.sign()
    assert (await rig.whole()).stale == ()


async def test_a_lost_connection_is_told_at_once_and_mended_by_new_snapshots(rig: Rig) -> None:
    await rig.sign()
    await rig.whole()
    rig.exchange.other_places("bid", 4000, 1500)
    await rig.snapshot(lambda one: one.bid_count_e2[RUNG] == 1500)
    known = len(rig.said("LADDERS", LadderSnapshot))
    for connection in list(rig.exchange.server._connections):
        await connection.close()
    rig.exchange.other_places("bid", 4100, 500)  # nobody tells us
    first = await rig.until("LADDERS", LadderSnapshot, after=known)
    assert first.stale == (0, 1, 2, 3, 4)
    assert first.bid_count_e2 == (0,) * 5
    mended = await rig.whole()
    assert (mended.bid_price_e4[RUNG], mended.bid_count_e2[RUNG]) == (4100, 500)
    assert (await rig.books_status(lambda s: s.ok)).failures == 1


async def test_a_book_that_cannot_be_right_is_taken_anew(rig: Rig) -> None:
    await rig.sign()
    await rig.whole()
    rig.exchange.other_places("bid", 4000, 1500)
    await rig.snapshot(lambda one: one.bid_count_e2[RUNG] == 1500)
    known = len(rig.said("LADDERS", LadderSnapshot))
    bad = delta(MARKET, change=-100_000)
    rig.runner.context.dispatch(heard(bad, now_ns=rig.clock.now_ns()))
    doubted = await rig.until("LADDERS", LadderSnapshot, lambda one: one.stale != (), known)
    assert doubted.stale == (RUNG,)
    mended = await rig.whole()
    assert (mended.bid_price_e4[RUNG], mended.bid_count_e2[RUNG]) == (4000, 1500)
    rig.exchange.other_places("bid", 4100, 100)  # and it is followed again
    await rig.snapshot(lambda one: one.bid_price_e4[RUNG] == 4100)


async def test_a_market_that_stops_and_comes_back_is_told_of(rig: Rig) -> None:
    await rig.sign()
    await rig.snapshot(lambda one: one.inactive == () and not one.stale)
    engine, clock = rig.exchange.engine, rig.clock
    engine.set_market_active(MARKET, active=False, now_ns=clock.now_ns())
    stopped = await rig.snapshot(lambda one: one.inactive != ())
    assert stopped.inactive == (RUNG,)
    later_ns = clock.now_ns() + 90 * S
    await rig.snapshot(lambda one: one.ts_pub_ns > later_ns)  # three lists later
    told = [one.inactive for one in rig.said("LADDERS", LadderSnapshot)]
    assert set(told[told.index((RUNG,)) :]) == {(RUNG,)}
    assert len(rig.said("LADDERS", LadderDefined)) == 1  # it stays a rung of its ladder
    engine.set_market_active(MARKET, active=True, now_ns=clock.now_ns())
    await rig.snapshot(lambda one: one.inactive == ())


async def test_a_market_that_stopped_while_nobody_listened_is_found_by_the_list(rig: Rig) -> None:
    await rig.sign()
    await rig.snapshot(lambda one: one.inactive == ())
    for connection in list(rig.exchange.server._connections):
        await connection.close()
    for ticker in list(rig.exchange.engine.state.markets):
        rig.exchange.engine.set_market_active(ticker, active=False, now_ns=rig.clock.now_ns())
    unknown = await rig.snapshot(lambda one: one.inactive != ())
    assert unknown.inactive is None
    found = await rig.snapshot(lambda one: one.inactive is not None and not one.stale)
    assert found.inactive == (0, 1, 2, 3, 4)


async def test_without_a_list_nobody_knows_which_markets_trade(tmp_path: Path) -> None:
    lists = RequestWhere(operations=("GetEvents",))
    failing = Answer(status=500, where=lists, when=When(from_s=20))
    async with running_exchange(tmp_path, faults=(failing,)) as exchange:
        rig = Rig(exchange, tmp_path)
        await rig.sign()
        await rig.snapshot(lambda one: one.inactive == ())
        last = await rig.snapshot(lambda one: one.inactive is None)
        assert last.stale == ()
        rig.runner.stop()
        await asyncio.gather(rig.task, return_exceptions=True)


async def test_fee_facts_hold_what_is_scheduled_and_what_events_pay_otherwise(
    tmp_path: Path,
) -> None:
    """The series' fee rises in an hour; the event's own fee begins in two minutes."""
    began_ns = START_NS
    rise = FeeChange("KXINXU", began_ns + 3_600 * S, FeeType.QUADRATIC, 12_500)
    own = EventFeeOverride(EVENT, began_ns + 120 * S, multiplier_e4=5_000)
    other = EventFeeOverride("KXINXU-26OCT02H1200", began_ns + S, multiplier_e4=0)
    async with running_exchange(
        tmp_path, fee_changes=(rise,), fee_overrides=(own, other)
    ) as exchange:
        rig = Rig(exchange, tmp_path)
        await rig.sign()
        rules = await rig.until("STATUS", FeeRules)
        assert (rules.series_ticker, rules.fee_type, rules.fee_multiplier) == (
            "KXINXU",
            "quadratic",
            1.0,
        )
        assert [astuple(one) for one in rules.changes] == [
            ("", rise.from_ns, "quadratic", 1.25),
            (EVENT, own.from_ns, None, 0.5),
        ]
        await rig.snapshot(lambda one: one.inactive == ())
        known = len(rig.said("STATUS", FeeRules))
        await rig.clock.advance_to(own.from_ns - S)
        again = await rig.until("STATUS", FeeRules, lambda one: one.ts_pub_ns > own.from_ns, known)
        assert again.facts_hash == rules.facts_hash  # it was told of before it began
        rig.runner.stop()
        await asyncio.gather(rig.task, return_exceptions=True)


async def test_without_a_part_of_the_facts_none_are_told(tmp_path: Path) -> None:
    parts = RequestWhere(operations=("GetEventFeeChanges",))
    failing = Answer(status=500, where=parts, when=When(until_s=60))
    async with running_exchange(tmp_path, faults=(failing,)) as exchange:
        rig = Rig(exchange, tmp_path)
        await rig.sign()
        first = await rig.until("STATUS", FeeRules)
        assert first.ts_pub_ns >= START_NS + 60 * S
        rig.runner.stop()
        await asyncio.gather(rig.task, return_exceptions=True)


async def test_an_event_that_is_listed_late_is_found(rig: Rig) -> None:
    await rig.sign()
    await rig.whole()
    later = LadderConfig(
        series="KXINXU",
        target_ns=TARGET_NS + 3600 * S,
        centre_e4=78_700_000,
        step_e4=100_000,
        rungs=3,
    )
    rig.exchange.engine.add_ladder(build_ladder(later), rig.clock.now_ns())
    found = await rig.until(
        "LADDERS", LadderSnapshot, lambda one: one.event_ticker != EVENT and not one.stale
    )
    assert found.event_ticker == "KXINXU-26OCT02H1200"
    assert len(found.bid_price_e4) == 3


class _Odd(StrEnum):
    SIDEWAYS = "sideways"


async def test_an_event_with_an_unknown_strike_type_is_counted_and_never_priced(
    rig: Rig,
) -> None:
    """From the exchange's REST answer through feeds to the pricer; the event beside it is fine."""
    odd = LadderConfig(
        series="KXINXU",
        target_ns=TARGET_NS + 3600 * S,
        centre_e4=78_700_000,
        step_e4=100_000,
        rungs=3,
    )
    ladder = build_ladder(odd)
    rung = ladder.markets[1].rung
    force_setattr(rung, "strike_type", _Odd.SIDEWAYS)
    rig.exchange.engine.add_ladder(ladder, rig.clock.now_ns())
    await rig.sign()
    await rig.whole()
    assert rig.app._context is not None, "it runs"
    counted = rig.app._context.metrics.registry.get_sample_value(
        "alpha_frames_bad_total", {"feed": "kalshi.ladders", "reason": "event"}
    )
    assert counted == 1
    said = [decode(stored.data) for stored in rig.hub.log("LADDERS").after(0)]
    assert {one.event_ticker for one in rig.said("LADDERS", LadderDefined)} == {EVENT}
    pricer = PricerCore(PricerPolicy(), {"INXU": calibration()})
    effects: list[Effect] = []
    for number, message in enumerate(said, 1):
        got = Received(now_ns=message.ts_pub_ns, message=message, stream="LADDERS", sequence=number)
        effects += pricer.handle(got)
    assert ladder.event.ticker not in repr(effects)
    assert "events 1," in pricer.summary()


async def test_resync_of_markets_that_are_gone_asks_for_nothing(rig: Rig) -> None:
    await rig.sign()
    await rig.whole()
    await rig.feed.drop((MARKET,))
    await rig.feed.resync((MARKET, "never-heard-of"))
    await rig.feed.resync(())
    assert not rig.task.done()


async def test_books_whose_subscription_falls_silent_are_not_vouched_for(tmp_path: Path) -> None:
    """The connection lives on and lists its subscriptions: that says nothing of books."""
    mute = Silence(s=600, where=FrameWhere(channels=(BOOKS,)), when=When(from_s=60, count=1))
    async with running_exchange(tmp_path, faults=(mute,)) as exchange:
        began_ns = exchange.clock.now_ns()
        rig = Rig(exchange, tmp_path)
        await rig.sign()
        await rig.whole()
        await rig.snapshot(lambda one: len(one.stale) == 5)
        rig.runner.stop()
        await asyncio.gather(rig.task, return_exceptions=True)
    whole = [one for one in rig.said("LADDERS", LadderSnapshot) if not one.stale]
    assert began_ns < max(one.recv_ns for one in whole) <= began_ns + 60 * S


async def test_the_exchange_s_word_and_its_clock_come(rig: Rig) -> None:
    assert (await rig.until("STATUS", ExchangeStatus)).trading_active
    sample = await rig.until("TICKS", ClockSample)
    assert sample.reference == "exchange"
    assert abs(sample.skew_ns) <= sample.uncertainty_ns <= S
    rig.exchange.engine.set_pause(
        exchange_active=True, trading_active=False, now_ns=rig.clock.now_ns()
    )
    await rig.until("STATUS", ExchangeStatus, lambda s: not s.trading_active)


@pytest.mark.parametrize(
    ("sent_s", "skew_s", "expected_s"),
    [
        (99.9, 0.0, 100),  # on its way for a moment: within the doubt about the clocks
        (95.0, 0.0, 95.5),  # five seconds old, of which half a second is doubt
        (395.0, -300.0, 95.5),  # the same from a machine five minutes behind
        (100.0, 300.0, 100),  # from our future: no newer than it was heard
        (None, 0.0, 100),
        (95.0, None, 100),
    ],
)
def test_books_are_as_old_as_the_exchange_s_stamp(
    sent_s: float | None, skew_s: float | None, expected_s: float
) -> None:
    ns = [None if one is None else round(one * S) for one in (sent_s, skew_s)]
    assert as_of_ns(100 * S, ns[0], ns[1], S // 2) == expected_s * S


async def test_an_event_that_cannot_be_traded_safely_is_refused(tmp_path: Path) -> None:
    async with running_exchange(tmp_path) as exchange:
        url = f"http://127.0.0.1:{exchange.server.port}/trade-api/v2"
        client = KalshiClient(url, AiohttpTransport(), exchange.clock)
        (event,) = await client.events("KXINXU", status="open")
        await client.close()
    assert read_event(event).event_ticker == EVENT
    assert event.markets is not None
    first, *rest = event.markets
    for status in ("inactive", "initialized", "never heard of"):
        odd = replace(event, markets=(replace(first, status=status), *rest))
        assert read_event(odd) == read_event(event)
    gone = replace(event, markets=(replace(first, status="determined"), *rest))
    assert [rung.ticker for rung in read_event(gone).rungs] == [one.ticker for one in rest]
    for changed in (
        replace(event, markets=None),
        replace(event, markets=()),
        replace(event, event_ticker="KXINXU-26XXX02H1100"),
        replace(event, series_ticker="KXNOBODY"),
        replace(event, exchange_index=2),
        replace(event, markets=tuple(replace(m, status="closed") for m in event.markets)),
    ):
        with pytest.raises(UnreadableEvent):
            read_event(changed)
    for damage in (
        {"strike_type": None},
        {"strike_type": "functional"},
        {"strike_type": "between"},
        {"floor_e4": None},
        {"floor_e4": rest[0].floor_e4},
        {"floor_e4": -(10**14)},
        {"ticker": rest[0].ticker},
        {"ticker": ""},
        {"ticker": "T" * 200},
        {"close_ns": -1},
        {"exchange_index": 1},
        {"price_ranges": ()},
        {"price_ranges": (replace(first.price_ranges[0], step_e4=50),)},
    ):
        with pytest.raises(UnreadableEvent):
            read_event(replace(event, markets=(replace(first, **damage), *rest)))
    named = f"{first.ticker}: expected a strike type of greater, .*, got 'sideways'"
    with pytest.raises(UnreadableEvent, match=named):
        read_event(replace(event, markets=(replace(first, strike_type="sideways"), *rest)))
    for grid in ((), (replace(first.price_ranges[0], step_e4=0),)):
        same = tuple(replace(market, price_ranges=grid) for market in event.markets)
        with pytest.raises(UnreadableEvent, match="tick grid"):
            read_event(replace(event, markets=same))
    far = tuple(replace(market, close_ns=2**62) for market in event.markets)
    with pytest.raises(UnreadableEvent, match="2100"):
        read_event(replace(event, markets=far))
