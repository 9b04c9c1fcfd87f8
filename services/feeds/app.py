"""feeds as a process: two sources, one core, a raw copy of everything."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from libs.common.clock import NS_PER_S
from libs.common.config import read_secret
from libs.common.effects import Effect
from libs.common.messages import ClockSample, Message
from libs.common.metrics import Metrics
from libs.common.runner import AppBase, Context
from libs.common.topology import Service
from libs.kalshi.caller import Repeats
from libs.kalshi.rest import KalshiClient
from libs.kalshi.transport import AiohttpTransport
from services.feeds.config import FeedsConfig
from services.feeds.core import FeedsCore
from services.feeds.events import (
    INDEX,
    LADDERS,
    CountRefused,
    DropBooks,
    ListLadders,
    ReadFees,
    ResyncBooks,
    Started,
    WatchBooks,
)
from services.feeds.kalshi import KalshiFeed
from services.feeds.massive import MassiveFeed
from services.feeds.raw import RawLog


class FeedsApp(AppBase):
    """Take in index levels and ladders, publish them stamped and conflated."""

    service = Service.FEEDS

    def __init__(self, config: FeedsConfig) -> None:
        self.config = config
        self.core = FeedsCore(config)
        self._index_key = read_secret(config.index_key_file, "index_key_file")
        self._context: Context | None = None
        self._kalshi: KalshiFeed | None = None

    async def recover(self, context: Context) -> None:
        """Nothing to read back: what the sources say now is all there is to know."""
        self._context = context

    async def run(self, context: Context) -> None:
        config = self.config
        directory = Path(config.raw_directory)
        client = KalshiClient(
            config.exchange_rest_url, AiohttpTransport(), context.clock, repeats=Repeats()
        )
        logs = {
            feed: RawLog(directory, feed, context.clock, context.log, config.raw_bytes_max)
            for feed in (INDEX, LADDERS)
        }
        massive = MassiveFeed(
            config,
            self._index_key,
            context.clock,
            context.dispatch,
            logs[INDEX],
            context.log,
            context.metrics,
        )
        self._kalshi = kalshi = KalshiFeed(
            config,
            client,
            context.bus,
            context.clock,
            context.dispatch,
            logs[LADDERS],
            context.log,
            context.metrics,
        )
        context.dispatch(Started(now_ns=context.now_ns()))
        context.spawn(massive.run(), "index feed")
        for raw in logs.values():
            context.spawn(raw.run(), "raw copy")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(kalshi.run_session())
                group.create_task(kalshi.run_alive())
                group.create_task(kalshi.run_discovery())
                group.create_task(kalshi.run_status())
                group.create_task(kalshi.run_fee_facts())
        finally:
            await client.close()

    def perform(self, effect: Effect, after: Sequence[asyncio.Future[int]]) -> None:
        context, kalshi = self._context, self._kalshi
        assert context is not None, "effects come after recovery"
        assert kalshi is not None, "effects come after the adapters have started"
        match effect:
            case WatchBooks():
                context.spawn(kalshi.watch(effect.tickers), "watch books")
            case DropBooks():
                context.spawn(kalshi.drop(effect.tickers), "drop books")
            case ResyncBooks():
                context.spawn(kalshi.resync(effect.tickers), "resync books")
            case ListLadders():
                kalshi.list_soon()
            case ReadFees():
                kalshi.read_fees_soon()
            case CountRefused():
                context.metrics.bad_frames_total.labels(effect.feed, effect.reason).inc()
                if effect.reason == "gap":
                    context.metrics.book_gaps_total.labels(effect.feed).inc()
                context.log.warning(
                    "refused", feed=effect.feed, reason=effect.reason, detail=effect.detail
                )
            case _:
                super().perform(effect, after)

    def observe(self, message: Message, metrics: Metrics) -> None:
        if isinstance(message, ClockSample):
            metrics.clock_skew_s.labels(message.reference).set(message.skew_ns / NS_PER_S)

    def detail(self) -> str:
        if self._context is None:
            return ""
        return self.core.summary(self._context.now_ns())
