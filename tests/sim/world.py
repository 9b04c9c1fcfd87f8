"""One simulated run: the real broker and risk services, the real exchange engine, and a seed.

The seed decides what goes wrong and when. Faults change every few seconds with calm between, then
everything heals, and what the exchange truly holds is compared with what the log and the broker
say (checks.py). `Violation` is raised at the instant at which something that must never be, is.
"""

import asyncio
import itertools
import random
from collections import Counter, defaultdict
from contextlib import suppress

import msgspec

from lab.exchange.ladders import LadderConfig
from libs.common.kill_switch import decode_kill_switch
from libs.common.memory_bus import MemoryHub
from libs.common.messages import (
    BrokerEpoch,
    LadderSnapshot,
    OrderIntent,
    OrderUpdate,
    Verdict,
    decode,
    encode,
)
from libs.common.topology import KILL_SWITCH_KEY, ORDERS_EPOCH, stream_of_subject, subject_of
from services.risk.policy import RiskPolicy
from services.risk.sizing.policy import (
    PilotPolicy,
    PortfolioPolicy,
    SizeLadderPolicy,
    SizingPolicy,
)
from tests.sim.actors import EVENT, SERIES, TARGET_NS, TICKERS, Outside, S, crowd
from tests.sim.loop import CURRENT, Process, ProcessKilled, VirtualLoop
from tests.sim.services import BrokerLife, RiskLife
from tests.sim.truth import Truth, Violation
from tests.sim.venue import Venue, Wire

BEFORE_TARGET_S = 20.0
"""The run begins so long before the target: enough for some twenty verdicts."""
HEALED_S_MAX = 60.0
SWITCH_GRACE_S = 0.1
EPOCH_AGE_S = 6.0
AGES_EVERY = 4
WRITES = ("place", "amend")
TRACKS = 2
"""So many troubles may last at once."""
KEPT = ("ORDERS", "FILLS", "VERDICTS")


def ring(future):
    """Wake who waits for a future, once."""
    if not future.done():
        future.set_result(None)


class World:
    """Everything of one run. `run` raises what it finds wrong."""

    def __init__(self, seed, *, points=()):
        self.seed = seed
        self.dice = random.Random(f"wire {seed}")
        self.loop = VirtualLoop()
        self.start_ns = TARGET_NS - round(BEFORE_TARGET_S * S)
        self.sizing = SizingPolicy(
            size_ladder=SizeLadderPolicy(stage="D"),
            pilot=PilotPolicy(count_max_e2=500, rungs_max=4, position_max_e2=1_000),
            portfolio=PortfolioPolicy(loss_day_max_e6=5_000_000),
        )
        self.risk_policy = RiskPolicy(sizing=self.sizing)
        self.settlement_level_e4 = 68_050_000
        self.hub = MemoryHub(self.true_ns)
        self.truth = Truth(self)
        self.wire = Wire()
        plan = random.Random(f"plan {seed}")
        ladder = LadderConfig(
            series=SERIES,
            target_ns=TARGET_NS,
            centre_e4=68_000_000,
            step_e4=100_000,
            rungs=len(TICKERS),
        )
        self.belt = plan.random() < 0.7
        self.venue = Venue(self, ladder, belt=self.belt)
        self.outside = Outside(self, random.Random(f"outside {seed}"))
        self.acknowledged = {}
        self.frame_faults = {}
        self.silent_until_s = 0.0
        self.seen, self.hit, self.faults = Counter(), Counter(), Counter()
        self.deaths = {}
        """Points at which a process is yet to die: (point, process name) -> how often passed."""
        self.points = points
        self.stop_point = ""
        """A point at which the process that passes it is stopped, not killed."""
        self.violations = []
        self.messages = {stream: [] for stream in KEPT}
        self.intents = {"place": [], "amend": [], "cancel": []}
        self.approvals = {}
        self.epoch = 0
        self.epoch_age_s = float("inf") if seed % AGES_EVERY else EPOCH_AGE_S
        """So long the server keeps an epoch's message: ninety days, as short as a run needs."""
        self.epoch_said_s = 0.0
        self.approved_while_stale = []
        self.stale_for_risk = {}
        self.engaged_at_s = 0.0
        self._news = defaultdict(list)
        self._actors = []
        self._dead_tasks = []
        self.lives = []
        self.healed_s = 0.0
        self.recovered_s = 0.0

    # Time

    def true_ns(self):
        """Return the exchange's time."""
        return self.start_ns + round(self.loop.time() * S)

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)

    # The server

    def store(self, subject, data, message_id, fence):
        """Store a message as the NATS server does, and wake who waits for it."""
        stream = stream_of_subject(subject)
        if self.epoch_aged:
            self.hub.log("ORDERS").last_of_subject.pop(ORDERS_EPOCH, None)
        known = self.hub.log(stream).last_sequence
        sequence = self.hub.append(subject, data, message_id, fence)
        if sequence > known and stream in KEPT:
            self._note(stream, decode(data))
        waiting, self._news[stream] = self._news[stream], []
        for future in waiting:
            ring(future)
        return sequence

    @property
    def epoch_aged(self):
        """Tell whether the newest epoch's message is gone for its age. The log keeps the rest."""
        return self.loop.time() - self.epoch_said_s > self.epoch_age_s

    def _note(self, stream, message):
        self.messages[stream].append(message)
        if isinstance(message, OrderIntent):
            self.intents[message.action].append(message)
        elif isinstance(message, BrokerEpoch):
            self.epoch, self.epoch_said_s = message.epoch, self.loop.time()
        elif isinstance(message, Verdict):
            self.approvals[message.id] = message
            self._check_stale(message)

    def _check_stale(self, verdict):
        """Note a GO with a quote in a market that risk had been told is stale, a while ago."""
        stale, told_s = self.stale_for_risk.get(verdict.event_ticker, ((), 0.0))
        names = {TICKERS[rung] for rung in stale}
        quoted = [quote.ticker for quote in verdict.quotes if quote.ticker in names]
        if quoted and verdict.ts_pub_ns > self.start_ns + round(told_s * S):
            self.approved_while_stale.append((verdict.id, quoted))

    def say(self, message):
        """Publish on behalf of somebody whose connection is not simulated."""
        self.store(subject_of(message), encode(message), message.id, None)

    def put(self, bucket, key, data, revision):
        """Write a key as the server does; note when the kill switch is engaged."""
        written = self.hub.put(bucket, key, data, revision)
        if bucket == "control" and decode_kill_switch(data).engaged:
            self.engaged_at_s = self.loop.time()
        return written

    def news(self, stream):
        """Return a future that is done when a stream has something new."""
        future = self.loop.create_future()
        self._news[stream].append(future)
        return future

    def stored_as(self, subject, message_id):
        """Return the sequence of a stored message, None if it is not there."""
        found = self.hub.log(stream_of_subject(subject)).ids.get(message_id)
        return found[0] if found else None

    def log(self, stream):
        """Return the messages of a stream."""
        return self.messages[stream]

    # Deaths

    def at(self, point):
        """Pass a point in the calling process, which may die of it."""
        process = CURRENT.get()
        if process is None:
            return
        if not process.alive:
            raise ProcessKilled(point)
        if self._dies_at(point, process):
            self.kill(process, point)
            raise ProcessKilled(point)

    def kill_at(self, point, process):
        """Pass a point outside of the process, which may die of it meanwhile."""
        if not process.alive:
            return
        if point == self.stop_point:
            self.stop_point, process.stopped = "", True
        if self._dies_at(point, process):
            self.kill(process, point)

    def _dies_at(self, point, process):
        self.seen[point] += 1
        left = self.deaths.get(point)
        if left is None:
            return False
        self.deaths[point] = left - 1
        if left > 0:
            return False
        del self.deaths[point]
        return True

    def kill(self, process, point):
        """End a process as SIGKILL does; what it had sent arrives all the same."""
        self.hit[point] += 1
        self.count_fault(f"SIGKILL of {process.name.rstrip('0123456789-')}")
        process.alive = False
        process.held.clear()
        # Collected as garbage in the middle of the run, a dead task would run its `finally`.
        self._dead_tasks.append(asyncio.all_tasks(self.loop))
        for life in self.lives:
            if life.process is process:
                life.died()

    def count_fault(self, fault):
        if fault:
            self.faults[fault] += 1

    # What is watched while it runs

    def given(self, process, stream, stored):
        """Note what a service was handed."""
        if stream == "LADDERS" and process.name.startswith("risk"):
            message = decode(stored.data)
            if isinstance(message, LadderSnapshot):
                self.stale_for_risk[message.event_ticker] = (message.stale, self.loop.time())

    def sent(self, process, kind, path, body):
        """Check a write at the moment at which it leaves."""
        if kind in WRITES and (wrong := self._wrong_with(process, kind, path, body)):
            self.violations.append(Violation(wrong))

    def _wrong_with(self, process, kind, path, body):
        asked = msgspec.json.decode(body)
        price_e4, count_e2 = (
            round(float(asked["price"]) * 10_000),
            round(float(asked["count"]) * 100),
        )
        order_id = path.rsplit("/", 2)[-2] if kind == "amend" else ""
        intents = [
            one
            for one in self.intents[kind]
            if (one.client_order_id == asked.get("client_order_id") or one.order_id == order_id)
            and (one.ticker, one.side) == (asked["ticker"], asked["side"])
            and (one.price_e4, one.count_e2) == (price_e4, count_e2)
        ]
        if not intents:
            return f"I4 a {kind} left {process.name} without a stored intent: {asked}"
        if intents[-1].epoch != self.epoch:
            return f"I4 {process.name} writes under epoch {intents[-1].epoch}, not {self.epoch}"
        wrong = self._wrong_switch(kind) or self._wrong_approval(process, kind, intents[-1])
        if kind == "place":
            wrong = wrong or self._wrong_place(asked)
        return wrong

    def _wrong_switch(self, kind):
        found = self.hub.value("control", KILL_SWITCH_KEY)
        since_s = self.loop.time() - self.engaged_at_s
        if found is None or (decode_kill_switch(found.data).engaged and since_s > SWITCH_GRACE_S):
            return f"I4 a {kind} {since_s:.3f} s after the kill switch was engaged"
        return ""

    def _wrong_approval(self, process, kind, intent):
        approvals = list(self.approvals.values())
        if kind == "place":
            approvals = [one for one in approvals if one.id == intent.verdict_id]
        quotes = [
            (one, quote)
            for one in approvals
            for quote in one.quotes
            if (quote.ticker, quote.side) == (intent.ticker, intent.side)
            and quote.price_e4 == intent.price_e4
        ]
        if not quotes:
            return f"I4 a {kind} without an approval: {intent}"
        if kind == "place" and intent.count_e2 > quotes[-1][1].count_e2:
            return f"I4 {intent.count_e2} sent, {quotes[-1][1].count_e2} approved"
        now_ns = self.true_ns() + process.offset_ns
        if all(now_ns >= one.expires_at_ns for one, _ in quotes):
            return f"I4 a {kind} on an approval that expired: {intent}"
        return ""

    def _wrong_place(self, asked):
        """I5, I9: no quote is placed anew over fills that the log does not tell of, or too long."""
        told = {}
        for message in self.messages["ORDERS"]:
            if isinstance(message, OrderUpdate):
                told[message.client_order_id] = message
        for order in self.truth.orders.values():
            if (order.ticker, order.side) != (asked["ticker"], asked["side"]):
                continue
            update = told.get(order.client_order_id)
            filled_e2 = update.filled_count_e2 if update else 0
            if order.filled_e2 != filled_e2:
                return f"I5 placed over a hidden fill of {order.client_order_id}: {asked}"
        if asked.get("expiration_time", 2**40) * S > TARGET_NS - 2 * S:
            return f"I9 an order is to rest until {asked.get('expiration_time')}"
        return ""

    def pick_frame_fault(self):
        """Return what happens to the next frame of a socket."""
        for fault, rate in self.frame_faults.items():
            if self.dice.random() < rate:
                self.count_fault(f"frame {fault}")
                return fault
        return ""

    # The run

    def run(self):
        """Run to the end and check; raise the first thing that is wrong."""
        asyncio.set_event_loop(None)
        asyncio.events._set_running_loop(None)
        try:
            self.loop.run_until_complete(self._main())
        finally:
            self._bury()

    async def _main(self):
        from tests.sim.checks import check_all, unsettled
        from tests.sim.faults import trouble

        for make in (lambda: BrokerLife(self, "broker-1"), lambda: RiskLife(self, "risk-1")):
            self.lives.append(make())
        for life in self.lives:
            life.start()
        self._act(self.outside.run(), "outside")
        self._act(crowd(self, random.Random(f"crowd {self.seed}")), "crowd")
        self._act(self._exchange_time(), "exchange time")
        self._act(self._deadline(), "deadline")
        await self._release()
        tracks = [random.Random(f"trouble {self.seed} {track}") for track in range(TRACKS)]
        await asyncio.gather(*(trouble(self, dice) for dice in tracks))
        self.heal()
        while why := unsettled(self):
            self._raise_errors()
            if self.loop.time() > self.healed_s + HEALED_S_MAX:
                raise Violation(f"I8 not caught up {HEALED_S_MAX:.0f} s after healing: {why}")
            await asyncio.sleep(0.5)
        self.recovered_s = self.loop.time() - self.healed_s
        self._raise_errors()
        check_all(self)

    def _act(self, coroutine, name):
        self._actors.append(self.loop.create_task(coroutine, name=name))

    async def _exchange_time(self):
        while True:
            await asyncio.sleep(0.25)
            self.venue.advance()

    async def _deadline(self):
        """I9: look at the exchange at T-2 s and ever after."""
        await asyncio.sleep((TARGET_NS - 2 * S - self.true_ns()) / S)
        while True:
            self.venue.engine.advance(self.true_ns())
            if self.belt and (left := self.truth.resting()):
                raise Violation(f"I9 rests past T-2 s: {left[0].order_id}")
            await asyncio.sleep(0.2)

    async def _release(self):
        """Let an operator release the kill switch once the broker serves."""
        while not (broker := self.leader()):
            self._raise_errors()
            assert self.loop.time() < HEALED_S_MAX, "the broker never served"
            await asyncio.sleep(0.05)
        await broker.operate("release")

    def leader(self):
        """Return the life of the broker that acts now, None if none does."""
        for life in self.lives:
            if isinstance(life, BrokerLife) and life.acts and life.app.core.epoch == self.epoch:
                return life
        return None

    def heal(self):
        """End every trouble; from now on all must come into order by itself."""
        self.healed_s = self.loop.time()
        self.deaths.clear()
        self.stop_point = ""
        self.wire.rate = self.wire.stale_rate = 0.0
        self.wire.is_down = False
        self.frame_faults.clear()
        self.silent_until_s = 0.0
        self.outside.stale, self.outside.quiet, self.outside.skew_ns = (), False, 0
        self.venue.engine.set_pause(
            exchange_active=True, trading_active=True, now_ns=self.true_ns()
        )
        for life in self.lives:
            life.heal()

    def _raise_errors(self):
        for error in (*self.violations, *self.loop.errors):
            raise error
        for actor in self._actors:
            if actor.done():
                actor.result()
        for life in self.lives:
            if life.failures:
                raise Violation(f"the {life.process.name} failed: {life.failures[0]}")

    def _bury(self):
        """Close every task that is left; what it says on its way out is nobody's news."""
        for life in self.lives:
            life.process.alive = False
        for task in asyncio.all_tasks(self.loop).union(*self._dead_tasks):
            task._log_destroy_pending = False
            with suppress(BaseException):
                task.get_coro().close()
        self.loop._ready.clear()
        self.loop._timers.clear()


__all__ = ["EVENT", "ORDERS_EPOCH", "Process", "World", "itertools"]
