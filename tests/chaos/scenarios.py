"""The scenarios of reliability.md that need real processes; each is a bounded run on a bench.

A scenario injects its faults, heals, and returns how long the worst recovery took. Whatever must
never be raises an AssertionError that names the invariant.
"""

import asyncio
import signal
import time

import psutil

from libs.common.messages import OrderIntent, encode
from libs.common.topology import Service, subject_of
from proto import broker_pb2 as pb
from tests.chaos.bench import TICKERS
from tests.chaos.broker_process import PAUSE, POINTS
from tests.chaos.checks import DEADLINE_NS, check, check_replay
from tests.libs.common.bus.cutting_proxy import cutting_proxy
from tests.services.broker.rig import S, quote

LEASE_TTL_S = 10.0
CLOCK_ALERT_S = 5.0
"""reliability.md allows a minute."""
LATE_S = 4.0
"""An order that a stopped broker sent when it woke up rests no longer: `poll_s` is 3 s."""
PRICES = {"bid": (3_700, 4_000, 4_300), "ask": (5_700, 6_000, 6_300)}


def some_quotes(dice, rungs=4):
    """Return quotes on both sides of some rungs."""
    return [
        quote(ticker, side, dice.choice(PRICES[side]), dice.choice((100, 200, 300)))
        for ticker in dice.sample(TICKERS, rungs)
        for side in ("bid", "ask")
        if dice.random() < 0.8
    ]


async def serve(bench, number=0, **changes):
    """Start a broker and let it trade."""
    bench.start(number, **changes)
    await bench.ready(number)
    await bench.release(number)


async def finish(bench, number=0):
    """Let all come to rest, nothing wanted any more, then check everything."""
    await bench.lift()
    await bench.give()
    took_s = await bench.calm(number)
    await bench.until(lambda: not bench.resting(), "nothing at rest")
    for _ in range(100):  # the last fills and ends are told
        listed = await bench.ask("ListOrders", pb.ListOrdersRequest(include_ended=True), number)
        try:
            orders, fills = await check(bench)
            await check_replay(bench, listed)
            return took_s, orders, fills
        except AssertionError as error:
            last = error
            await asyncio.sleep(0.1)
    raise last


async def sigkill(bench, dice, kills):
    """1: SIGKILL at each of the seven points and at any time, under trade."""
    await serve(bench)
    worst_s, died_at = 0.0, ""
    for turn in range(kills):
        point = POINTS[turn % len(POINTS)] if turn % 8 != 7 else ""
        bench.brokers[0].kill()
        bench.brokers[0].wait()
        if died_at:
            bench.faults[f"SIGKILL {died_at}"] += 1
        process = bench.start(point=point, count=dice.choice((0, 0, 1, 3)))
        died_at = point or "at any time"
        worst_s = max(worst_s, await _ready_or_dead(bench, process))
        until_s = time.monotonic() + (dice.random() * 1.5 if not point else 6.0)
        while process.poll() is None and time.monotonic() < until_s:
            await bench.give(*some_quotes(dice))
            await asyncio.sleep(0.1)
            await bench.trade(dice)
            await asyncio.sleep(0.15 * dice.random())
        if point and process.poll() is None:
            died_at = f"later than {point}"
    bench.brokers[0].kill()
    bench.brokers[0].wait()
    bench.faults[f"SIGKILL {died_at}"] += 1
    await bench.trade(dice)
    bench.start()
    worst_s = max(worst_s, await bench.ready())
    took_s, *_ = await finish(bench)
    return max(worst_s, took_s)


async def _ready_or_dead(bench, process):
    """Return how long it took until all was resolved; a broker may reach its point before."""
    began_s = time.monotonic()
    try:
        await bench.ready()
        await bench.calm()
    except AssertionError:
        if process.poll() != -signal.SIGKILL:
            raise
        return 0.0
    return time.monotonic() - began_s


async def sigstop(bench, dice):
    """2: the leader is stopped for three lease TTLs in a batch, the standby leads, it wakes."""
    await serve(bench, 0)
    bench.start(1)
    await bench.give(*some_quotes(dice, 10))
    await asyncio.sleep(0.01)
    first = bench.brokers[0]
    first.send_signal(signal.SIGSTOP)
    bench.faults["SIGSTOP"] += 1
    began_s = time.monotonic()
    await bench.ready(1, LEASE_TTL_S + 5.0)
    took_s = time.monotonic() - began_s
    while time.monotonic() - began_s < 3 * LEASE_TTL_S:
        await bench.give(*some_quotes(dice, 3))
        await asyncio.sleep(0.5)
        await bench.trade(dice)
    first.send_signal(signal.SIGCONT)
    code = await bench.ended(0)
    assert code == 3, f"I4 the deposed broker ended with {code}"
    await finish(bench, 1)
    return took_s


async def woken_late(bench, dice, stopped_s=(13.0, 25.0)):
    """2: the leader is stopped between gate and socket; it wakes after the takeover and sends."""
    bench.start(0, point=PAUSE, count=dice.choice((0, 1, 4)))
    await bench.ready(0)
    await bench.release(0)
    bench.start(1)
    await bench.give(*some_quotes(dice, 10))
    first = psutil.Process(bench.brokers[0].pid)
    await bench.until(lambda: first.status() == psutil.STATUS_STOPPED, "the leader to stop")
    began_s = time.monotonic()
    bench.faults["SIGSTOP before the socket"] += 1
    await bench.ready(1, LEASE_TTL_S + 5.0)
    wake_s = began_s + dice.uniform(*stopped_s)
    while time.monotonic() < wake_s:
        await bench.give(*some_quotes(dice, 10))
        await asyncio.sleep(0.5)
    known = {one.client_order_id for one in bench.books().orders.values()}
    first.send_signal(signal.SIGCONT)
    code = await bench.ended(0)
    assert code == 3, f"I4 the deposed broker ended with {code}"
    mine = await _intended(bench, epoch=1)
    late = [one for one in bench.books().orders.values() if one.client_order_id in mine - known]
    assert len(late) <= 1, f"I4 {len(late)} orders of a deposed broker landed"
    bench.late = {one.client_order_id for one in late}
    bench.faults["request that landed late"] += len(late)
    await bench.until(lambda: not set(_open_ids(bench)) & bench.late, "the end of it", LATE_S)
    ended = [one for one in bench.books().orders.values() if one.client_order_id in bench.late]
    rested_s = max(((one.ended_ns - one.accepted_ns) / S for one in ended), default=0.0)
    assert rested_s <= LATE_S, f"I5 it rested for {rested_s:.1f} s"
    await finish(bench, 1)
    return rested_s


async def _intended(bench, epoch):
    """Return the client ids of the orders that were meant to be placed in an epoch."""
    return {
        one.client_order_id
        for one in await bench.log("ORDERS")
        if isinstance(one, OrderIntent) and one.action == "place" and one.epoch == epoch
    }


def _open_ids(bench):
    return [one.client_order_id for one in bench.resting()]


async def nats_killed(bench, dice, kills=5):
    """3: nats-server is killed five times under load; nobody has to lend a hand."""
    await serve(bench)
    worst_s = 0.0
    for _ in range(kills):
        for _ in range(4):
            await bench.give(*some_quotes(dice))
            await asyncio.sleep(0.1)
            await bench.trade(dice)
        giving = asyncio.create_task(bench.give(*some_quotes(dice)))
        bench.nats.kill()
        bench.faults["SIGKILL nats-server"] += 1
        await bench.trade(dice)
        await asyncio.sleep(dice.choice((0.1, 1.0)))
        began_s = time.monotonic()
        bench.nats.start()
        await giving
        if bench.brokers[0].poll() is not None or await bench.ended(0, 0.5) is not None:
            bench.start()
            bench.faults["broker ended"] += 1
        worst_s = max(worst_s, await bench.ready(0, 15.0), time.monotonic() - began_s)
        await bench.calm()
    assert worst_s <= 15.0, f"I8 READY after {worst_s:.1f} s"
    await finish(bench)
    return worst_s


async def _cut(bench, dice, way, what, seconds):
    """Let nothing through for a while in which verdicts and trades go on, then end what hangs."""
    way.deaf = way.mute = True
    bench.faults[what] += 1
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        await bench.give(*some_quotes(dice))
        await bench.trade(dice)
        await asyncio.sleep(0.5)
    way.cut()


async def cut_off(bench, dice, nats_s=60.0, exchange_s=10.0):
    """5: the broker is cut from NATS, then from the exchange; both heal."""
    async with (
        cutting_proxy(int(bench.nats.url.rpartition(":")[2])) as to_nats,
        cutting_proxy(bench.ports[0]) as to_exchange,
    ):
        ways = {"nats_url": to_nats.url, "exchange_port": to_exchange.port}
        await serve(bench, **ways)
        await bench.give(*some_quotes(dice))
        await bench.until(bench.resting, "an order at rest")
        await _cut(bench, dice, to_nats, "cut from NATS", nats_s)
        if await bench.ended(0, 1.0) is not None:
            bench.start(**ways)
        worst_s = await bench.ready()
        await _filled(bench, 10.0)
        await bench.give(*some_quotes(dice))
        await bench.until(bench.resting, "an order at rest")
        await _cut(bench, dice, to_exchange, "cut from the exchange", exchange_s)
        began_s = time.monotonic()
        await _filled(bench, 10.0)
        worst_s = max(worst_s, time.monotonic() - began_s, await bench.calm())
        await finish(bench)
    return worst_s


async def _filled(bench, seconds):
    """Wait until FILLS holds every fill of the exchange."""
    until_s = time.monotonic() + seconds
    while True:
        told = {one.trade_id for one in await bench.log("FILLS") if hasattr(one, "trade_id")}
        missing = {one["trade_id"] for one in bench.books().fills} - told
        if not missing:
            return
        assert time.monotonic() < until_s, f"I2 {len(missing)} fills missing after {seconds} s"
        await asyncio.sleep(0.1)


async def repeated(bench, dice, turns=12):
    """6: every message three times, old ones again five seconds late, redelivery by restarts."""
    await serve(bench)
    given = []
    for turn in range(turns):
        given.append(await bench.give(*some_quotes(dice), copies=3))
        bench.faults["message ×3"] += 1
        await asyncio.sleep(0.4)
        await bench.trade(dice)
        for old in given[:-10]:
            await bench.risk.publish(
                subject_of(old), encode(old), message_id=f"{old.id}-late-{turn}"
            )
            bench.faults["message late"] += 1
        if turn % 4 == 3:
            bench.kill()
            bench.start()
            await bench.ready()
    took_s, orders, _ = await finish(bench)
    quotes = sum(len(one.quotes) for one in given)
    assert orders <= quotes, f"I1 {orders} orders for {quotes} quotes"
    return took_s


async def wrong_clock(bench, dice):
    """8: the broker's clock steps by ±5 minutes and drifts; the exchange's Date is off."""
    await serve(bench)
    worst_s = 0.0
    for offset_s in (300.0, -300.0, 2.0, -2.0):
        await bench.give(*some_quotes(dice))
        await asyncio.sleep(0.3)
        told = _clock_alerts(bench)
        bench.clock_file.write_text(str(offset_s))
        bench.faults["clock step"] += 1
        await bench.until(lambda: _clock_alerts(bench) > told, "an alert", CLOCK_ALERT_S)  # noqa: B023
        for _ in range(4):
            await bench.give(*some_quotes(dice))
            await asyncio.sleep(0.5)
            await bench.trade(dice)
        bench.clock_file.write_text("0")
        if await bench.ended(0, 0.2) is not None:
            bench.start()
        worst_s = max(worst_s, await bench.ready(), await bench.calm(seconds=60.0))
    for step in range(60):  # 15 s, faster and faster: 18 s ahead at the end
        bench.clock_file.write_text(f"{step * 0.05 * (1 + step // 10):.2f}")
        await bench.give(*some_quotes(dice, 2))
        await asyncio.sleep(0.25)
    bench.faults["clock drift"] += 1
    bench.clock_file.write_text("0")
    await bench.fault({"fault": "clock_offset", "s": 120, "checked": False})
    for _ in range(30):
        await bench.give(*some_quotes(dice, 2))
        await asyncio.sleep(0.3)
    expirations = [line["expiration_ns"] for line in bench.order_lines().values()]
    assert all(one and one <= DEADLINE_NS for one in expirations), "I9 a wrong expiry"
    _check_signatures(bench.requests())
    took_s, *_ = await finish(bench)
    return max(worst_s, took_s)


def _clock_alerts(bench):
    """Return how often the broker alerted that its clock was set."""
    return (bench.directory / "broker-0.log").read_bytes().count(b'"kind": "clock_set')


def _check_signatures(requests):
    """No order is signed at a wrong time; a cancel that is goes out again at the exchange's."""
    for at, refused in enumerate(requests):
        if refused.status != 401:
            continue
        assert refused.call.startswith("DELETE"), f"I4 signed at a wrong time: {refused}"
        again = [one for one in requests[at + 1 :] if one.received_ns < refused.received_ns + 2 * S]
        done = [one for one in again if one.call == refused.call and one.status < 300]
        assert done, f"I9 a cancel was refused for its time and not sent again: {refused}"


async def kill_switch(bench, dice):
    """9: the switch falls in a batch of twenty; it survives a restart; unreachable is on."""
    await serve(bench)
    rungs = [*TICKERS[:10]]
    await bench.fault({"fault": "delay", "ms": 40, "where": {"operations": ["CreateOrderV2"]}})
    await bench.give(
        *[quote(rung, "bid", 3_000, 100) for rung in rungs],
        *[quote(rung, "ask", 7_000, 100) for rung in rungs],
    )
    await bench.until(lambda: len(bench.requests()) >= 3, "the batch to begin")
    began_s = time.monotonic()
    reply = await bench.engage()
    took_s = time.monotonic() - began_s
    assert reply.confirmed_zero, f"I4 not confirmed: {reply}"
    assert not bench.resting(), "I4 something rests after the confirmation"
    await bench.lift()
    bench.kill()
    bench.start()
    await bench.ready()
    await bench.give(*some_quotes(dice))
    await asyncio.sleep(1.0)
    state = await bench.ask("GetState", pb.GetStateRequest())
    assert state.kill_switch_engaged, "I4 the switch did not survive a restart"
    assert not bench.resting(), "I4 quotes rest while the switch is on"
    await bench.release()
    await bench.give(*some_quotes(dice))
    await bench.until(bench.resting, "an order at rest")
    bench.nats.kill()  # unreachable is on: everything goes, without NATS
    bench.engaged.append([bench.clock.now_ns() + 4 * S, None])
    bench.faults["kill switch unreachable"] += 1
    await bench.until(lambda: not bench.resting(), "nothing at rest without NATS")
    bench.nats.start()
    bench.engaged[-1][1] = bench.clock.now_ns()
    if await bench.ended(0, 1.0) is not None:
        bench.start()
    await bench.ready()
    await finish(bench)
    return took_s


async def poison(bench, dice):
    """11: garbage on every subject of every stream that the broker reads or writes."""
    from tests.e2e.bad_input import bad_messages, send

    await serve(bench)
    await bench.give(*some_quotes(dice))
    messages = bad_messages(bench.clock.now_ns())
    await send(bench.nats.url, bench.nats.passwords, messages)
    bench.faults["poison"] += len(messages)
    await bench.give(*some_quotes(dice))
    await bench.until(bench.resting, "an order at rest")
    letters = [one for one in await bench.log("DEAD") if getattr(one, "stream", "") == "VERDICTS"]
    sent = sum(one.subject.startswith("verdicts.") for one in messages)
    assert 0 < len(letters) <= sent, f"{len(letters)} letters for {sent} bad verdicts"
    bench.kill()
    bench.start()
    took_s = await bench.ready()
    await bench.calm()
    return took_s


async def orders_full(bench, dice):
    """12: ORDERS is at its limit: submits stop, nothing is dropped, room heals it."""
    await serve(bench)
    await bench.give(*some_quotes(dice))
    await bench.until(bench.resting, "an order at rest")
    held = len(await bench.log("ORDERS"))
    await _limit_orders(bench, 1)
    bench.faults["ORDERS full"] += 1
    for _ in range(4):
        await bench.give(*some_quotes(dice))
        await bench.trade(dice)
        await asyncio.sleep(0.3)
    assert len(await bench.log("ORDERS")) >= held, "ORDERS lost something"
    code = await bench.ended(0)
    assert code == 3, f"the broker ended with {code}, expected 3: it can't write its intents"
    log = (bench.directory / "broker-0.log").read_text()
    assert "maximum bytes exceeded" in log or "PublishRefused" in log, "no alert"
    await bench.nats.provision()  # gives the stream its size back
    bench.start()
    took_s = await bench.ready()
    await finish(bench)
    return took_s


async def _limit_orders(bench, max_bytes):
    from libs.common.jetstream import stream_config
    from libs.common.nats_connection import connect_client
    from libs.common.provision import _demand
    from libs.common.topology import stream_named

    password = bench.nats.passwords[Service.PROVISION]
    client = await connect_client(bench.nats.url, Service.PROVISION, password)
    try:
        config = stream_config(stream_named("ORDERS"), 1) | {"max_bytes": max_bytes}
        await _demand(client, "STREAM.UPDATE.ORDERS", config)
    finally:
        await client.close()


async def bad_answers(bench, dice, turns=20):
    """13: 409, 429, 500, 503, timeouts after accept, stale reads, repeated and lost requests."""
    await serve(bench)
    writes = {"operations": ["CreateOrderV2", "AmendOrderV2", "BatchCancelOrdersV2"]}
    often = {"where": writes, "when": {"probability": 0.12}}
    await bench.fault(
        *[
            {
                "fault": "answer",
                "status": status,
                "carried_out": done,
                **often,
            }
            for status in (409, 429, 500, 503)
            for done in ((False, True) if status >= 500 else (False,))
        ],
        {"fault": "accept_then_timeout", "hold_s": 0, **often},
        {"fault": "drop", **often},
        {"fault": "duplicate_request", **often},
        {"fault": "stale_read", "ms": 360},
        {"fault": "duplicate_frame", "when": {"probability": 0.2}},
        {"fault": "disconnect", "when": {"at_s": 3}},
    )
    for _ in range(turns):
        await bench.give(*some_quotes(dice))
        await asyncio.sleep(0.4)
        await bench.trade(dice)
    await bench.lift()
    worst_s = await bench.calm()
    took_s, *_ = await finish(bench)
    return max(worst_s, took_s)
