"""Who else is there: feeds and pricer as far as risk needs them, other participants, an operator.

What they say is drawn from the seed; it goes through the real risk service to the real broker.
"""

import itertools

from libs.common.messages import (
    ClockSample,
    ExchangeStatus,
    FairLadder,
    Heartbeat,
    LadderDefined,
    LadderSnapshot,
    PriceRange,
    Proposal,
    Quote,
    derived_id,
)
from libs.common.topology import SERVICES

S = 1_000_000_000
TARGET_NS = 1_793_372_400 * S  # 2026-10-30 11:00 in New York
SERIES = "KXINXU"
EVENT = "KXINXU-26OCT30H1100"
TICKERS = tuple(f"{EVENT}-T{level}.9999" for level in (6789, 6799, 6809))
LADDER_ID = "ladder-1"
PRICES = {"bid": (3_700, 4_000, 4_300), "ask": (5_700, 6_000, 6_300)}
BEAT_S = 60.0
BOOKS_S = 0.9
RUNGS = len(TICKERS)


class Outside:
    """Feeds and pricer in one: they publish what risk needs, some of it wrong now and then."""

    def __init__(self, world, dice):
        self.world = world
        self.dice = dice
        self.numbers = itertools.count(1)
        self.stale = ()
        """Rungs whose book has a gap: nothing may be priced from them."""
        self.quiet = False
        self.skew_ns = 0

    def _envelope(self, kind, source):
        now_ns = self.world.true_ns()
        name = derived_id("sim", kind, next(self.numbers), now_ns)
        return {
            "id": name,
            "ts_event_ns": now_ns,
            "ts_pub_ns": now_ns,
            "cause_id": "",
            "correlation_id": name,
            "source": source,
        }

    def _event(self, kind, source):
        own = {"event_ticker": EVENT, "series_ticker": SERIES, "target_ns": TARGET_NS}
        return self._envelope(kind, source) | own

    async def run(self):
        """Publish until cancelled."""
        self.world.say(self._definition())
        beats_s = 0.0
        while True:
            loop = self.world.loop
            if loop.time() >= beats_s:
                beats_s = loop.time() + BEAT_S
                self._beat()
            if not self.quiet:
                self._statuses()
                self.world.say(self._snapshot())
                self.world.say(self._fair())
                await self.world.sleep(0.02)
                self.world.say(self._proposal())
            await self.world.sleep(BOOKS_S * (0.6 + 0.5 * self.dice.random()))

    def _beat(self):
        for service in SERVICES:
            own = {"service": service.value, "instance": f"{service}-sim", "state": "READY"}
            fields = self._envelope("beat", service.value) | own
            self.world.say(Heartbeat(**fields, since_ns=0, loop_lag_ns=0))

    def _statuses(self):
        state = self.world.venue.engine.state
        self.world.say(
            ClockSample(
                **self._envelope("clock", "feeds"),
                reference="exchange",
                skew_ns=self.skew_ns,
                uncertainty_ns=0,
            )
        )
        self.world.say(
            ExchangeStatus(
                **self._envelope("status", "feeds"),
                exchange_active=state.exchange_active,
                trading_active=state.trading_active,
            )
        )

    def _definition(self):
        return LadderDefined(
            **self._event("definition", "feeds"),
            ladder_id=LADDER_ID,
            family="INXU",
            symbol="I:SPX",
            kind="nested",
            close_ns=TARGET_NS,
            tickers=TICKERS,
            strike_types=("greater",) * RUNGS,
            floors_e4=(67_899_999, 67_999_999, 68_099_999),
            caps_e4=(None,) * RUNGS,
            price_ranges=(PriceRange(0, 10_000, 100),),
        )

    def _snapshot(self):
        return LadderSnapshot(
            **self._event("snapshot", "feeds"),
            ladder_id=LADDER_ID,
            recv_ns=self.world.true_ns(),
            provenance="synthetic",
            bid_price_e4=(0,) * RUNGS,
            bid_count_e2=(0,) * RUNGS,
            bid_depth_e2=(0,) * RUNGS,
            ask_price_e4=(10_000,) * RUNGS,
            ask_count_e2=(0,) * RUNGS,
            ask_depth_e2=(0,) * RUNGS,
            stale=self.stale,
            inactive=(),
        )

    def _fair(self):
        return FairLadder(
            **self._event("fair", "pricer"),
            ladder_id=LADDER_ID,
            model="index_hourly.1",
            calibration_id="INXU-1",
            level_e4=68_000_000,
            level_ns=self.world.true_ns(),
            mean=6800.0,
            sigma=8.0,
            probabilities=(0.5,) * RUNGS,
        )

    def _proposal(self):
        now_ns, dice = self.world.true_ns(), self.dice
        quotes = [
            Quote(
                ticker=ticker,
                side=side,
                price_e4=dice.choice(PRICES[side]),
                count_e2=dice.choice((100, 300, 500)),
                probability=0.5,
                ev_per_contract_e6=dice.choice((60_000, 90_000, 120_000)),
                fill_probability=0.3,
            )
            for ticker in TICKERS
            for side in ("bid", "ask")
            if dice.random() < 0.6
        ]
        return Proposal(
            **self._event("proposal", "pricer"),
            family="INXU",
            expires_at_ns=now_ns + dice.choice((3, 8)) * S,
            quotes=tuple(quotes),
            reasons=(),
            ladder_id=LADDER_ID,
            level_ns=now_ns,
            books_ns=now_ns,
            calibration_id="INXU-1",
            calibration_fitted_ns=1,
            provenance="synthetic",
        )


async def crowd(world, dice):
    """Trade with what rests, often right after it came to rest or was cancelled elsewhere."""
    while True:
        await world.sleep(dice.choice((0.05, 0.3, 0.6, 1.5)))
        resting = world.truth.resting()
        if not resting or world.true_ns() >= TARGET_NS:
            continue
        order = dice.choice(sorted(resting, key=lambda one: one.order_id))
        side = "ask" if order.side == "bid" else "bid"
        count_e2 = dice.choice((100, 200, 500))
        if world.venue.trade(order.ticker, side, order.price_e4, count_e2):
            world.venue.advance()
