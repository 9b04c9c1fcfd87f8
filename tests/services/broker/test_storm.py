"""reliability.md 13 at the shell: the exchange's answers are lost, late, refused; books hold."""

import asyncio
import random
from collections import Counter

import pytest

from libs.common.messages import OrderUpdate
from libs.kalshi.errors import NoAnswerError, NotSentError
from libs.kalshi.transport import AiohttpTransport, Answer
from services.broker.app import BrokerApp
from tests.services.broker.rig import EVENT, A, B, quote
from tests.services.broker.stack import KEY_ID, stack, until

OPEN = {"intent", "submitted", "resting", "partially_filled", "unknown"}
FAULTS = ["none"] * 10 + ["before", "after", "after", "500 after", "503", "429", "no connection"]


class Faulty:
    """A transport that loses answers, requests, and its temper."""

    def __init__(self, dice):
        self._inner = AiohttpTransport()
        self._dice = dice
        self.calm = False
        self.counts = Counter()

    async def send(self, method, url, headers, body):
        fault = "none" if self.calm else self._dice.choice(FAULTS)
        self.counts[fault] += 1
        if fault == "no connection":
            raise NotSentError(method, "a test")
        if fault == "before":
            raise NoAnswerError(method, "a test: never arrived")
        if fault == "429":
            return Answer(429, b'{"error": "too many requests"}')
        if fault == "503":
            return Answer(503, b'{"exchange_active": true, "trading_active": true}')
        answer = await self._inner.send(method, url, headers, body)
        if fault == "after":
            raise NoAnswerError(method, "a test: done, but not told")
        return Answer(500, b"{}") if fault == "500 after" else answer

    async def close(self):
        await self._inner.close()


SLOW_SEEDS = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 10)]


@pytest.mark.parametrize("seed", [1, *SLOW_SEEDS])
async def test_books_agree_after_a_storm(tmp_path, seed):
    dice = random.Random(seed)
    transports = []

    class App(BrokerApp):
        def make_transport(self):
            transports.append(Faulty(dice))
            return transports[-1]

    async with stack(tmp_path / "run", before_target_s=240.0, rate=8.0) as running:
        running.make_app = App
        running.changes = {"read_retry_s": 0.05}
        await running.start_broker()
        for turn in range(25):
            await one_turn(running, dice)
            if turn in (8, 16):
                await running.crash_broker()
                await running.start_broker(release=False)
        transports[-1].calm = True
        running.give()
        await until(lambda: not OPEN & set(running.states().values()), "an end for each order", 20)
        assert running.resting() == {}
        check_books(running)
        seen = sum((one.counts for one in transports), Counter())
        assert {"before", "after", "503", "429"} <= set(seen), seen


class Slow:
    """A transport that notes when each order was sent, and takes its time."""

    def __init__(self):
        self._inner = AiohttpTransport()
        self.placed_s = []
        self.fifth = asyncio.Event()

    async def send(self, method, url, headers, body):
        if method == "POST" and url.endswith("/orders"):
            self.placed_s.append(asyncio.get_running_loop().time())
            if len(self.placed_s) == 5:
                self.fifth.set()
            await asyncio.sleep(0.02)
        return await self._inner.send(method, url, headers, body)

    async def close(self):
        await self._inner.close()


async def test_the_kill_switch_falls_in_a_batch_of_twenty(tmp_path):
    """reliability.md 9: no new call after 100 ms, all gone and confirmed."""
    transports = []

    class App(BrokerApp):
        def make_transport(self):
            transports.append(Slow())
            return transports[-1]

    async with stack(tmp_path / "run") as running:
        running.make_app = App
        await running.start_broker()
        rungs = [f"{EVENT}-T67{tens}9.9999" for tens in range(4, 9)] + [A, B]
        rungs += [f"{EVENT}-T68{tens}9.9999" for tens in range(1, 4)]
        running.give(
            *[quote(rung, "bid", 3_000, 100) for rung in rungs],
            *[quote(rung, "ask", 7_000, 100) for rung in rungs],
        )
        async with asyncio.timeout(10):
            await transports[0].fifth.wait()
        await running.app.switch.engage("test", "test")
        engaged_s = asyncio.get_running_loop().time()
        await until(lambda: not OPEN & set(running.states().values()), "an end for each order")
        assert running.resting() == {}
        assert await running.app.exchange.resting_orders() == ()
        running.give(*[quote(rung, "bid", 3_000, 100) for rung in rungs])
        await running.app._watch.read_account()
        assert max(transports[0].placed_s) < engaged_s + 0.1
        check_books(running)


async def one_turn(running, dice):
    """Give a verdict, let somebody trade now and then, wait a moment of the run's time."""
    quotes = [
        quote(ticker, side, price_e4 + dice.choice([-300, 0, 300]), dice.choice([100, 300]))
        for ticker in (A, B)
        for side, price_e4 in (("bid", 4_000), ("ask", 6_000))
        if dice.random() < 0.7
    ]
    running.give(*quotes)
    await running.clock.sleep(dice.choice([0.3, 1.0, 2.0]))
    resting = running.resting()
    if resting and dice.random() < 0.5:
        (ticker, side), (price_e4, count_e2) = dice.choice(sorted(resting.items()))
        running.trade(ticker, "ask" if side == "bid" else "bid", price_e4, min(count_e2, 100))


def check_books(running):
    """Exchange, ORDERS and FILLS tell the same story."""
    engine = running.server.engine
    history = engine.state.histories[KEY_ID]
    truth = {order.client_order_id: order for order in history.orders}
    intents = {one.client_order_id for one in running.intents("place")}
    assert set(truth) <= intents, "an order without intent"
    last = {}
    for update in running.log("ORDERS", OrderUpdate):
        last[update.client_order_id] = update
    for client_order_id, update in last.items():
        order = truth.get(client_order_id)
        assert update.filled_count_e2 == (order.filled_e2 if order else 0)
        assert order is not None or update.state == "rejected"
    ours = Counter((fill.trade_id, fill.count_e2, fill.fee_e6) for fill in running.fills())
    theirs = Counter((fill.trade_id, fill.count_e2, fill.fee_e6) for fill in history.fills)
    assert ours == theirs
    assert not any(fill.is_taker for fill in running.fills())
    for ticker, held_e2 in running.app.core.state.positions.items():
        assert engine.account(KEY_ID).count_e2(ticker) == held_e2
