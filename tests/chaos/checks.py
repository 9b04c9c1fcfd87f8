"""A bench's log against the exchange's own: the simulation's checks, and those that need time."""

from collections import Counter

import msgspec

from libs.common.messages import BrokerEpoch, OrderIntent, Verdict
from services.broker import events as e
from services.broker.core import BrokerCore
from services.broker.policy import Policy
from tests.services.broker.rig import TARGET_NS, S
from tests.sim.checks import Record, check_record
from tests.sim.truth import Violation

SWITCH_GRACE_NS = S // 10
DEADLINE_NS = TARGET_NS - 2 * S


async def check(bench):
    """Check I1 to I7 and I9 on what the bench has so far; return (orders, fills)."""
    books = bench.books()
    orders, fills = await bench.log("ORDERS"), await bench.log("FILLS")
    filled = Counter(
        (one["trade_id"], one["order_id"], one["count_e2"], one["fee_e6"]) for one in books.fills
    )
    check_record(
        Record(
            orders=orders,
            fills=fills,
            held=list(books.orders.values()),
            filled=filled,
            due=Counter(),
            positions=books.positions_e2,
        )
    )
    verdicts = await bench.log("VERDICTS")
    check_requests(bench.requests(), orders, verdicts, bench.engaged, bench.late)
    check_one_per_quote(bench)
    check_stored(bench, await bench.reader.read("VERDICTS", 0, 100_000))
    if bench.clock.now_ns() > DEADLINE_NS and (late := books.resting_after(DEADLINE_NS)):
        raise Violation(f"I9 rested past T-2 s: {late[0]}")
    return len(books.orders), len(books.fills)


def check_requests(requests, orders, verdicts, engaged, late=()):
    """I4: what reached the exchange had an intent, an approval, the newest epoch, no switch on.

    `late` are the ids of orders of a broker that was stopped between its gate and its socket.
    """
    intents = {}
    epochs = [one for one in orders if isinstance(one, BrokerEpoch)]
    for message in orders:
        if isinstance(message, OrderIntent) and message.action != "cancel":
            intents.setdefault((message.action, message.client_order_id), []).append(message)
    approved = {one.id: one for one in verdicts if isinstance(one, Verdict)}
    for request in requests:
        method, _, path = request.call.partition(" ")
        if method != "POST" or not path.endswith("/events/orders"):
            continue
        asked = msgspec.json.decode(request.body)
        found = intents.get(("place", asked["client_order_id"]))
        if not found:
            raise Violation(f"I4 a place without an intent: {asked}")
        newer = [one for one in epochs if one.epoch > found[-1].epoch]
        stale = newer and newer[0].ts_pub_ns < request.received_ns
        if stale and asked["client_order_id"] not in late:
            raise Violation(f"I4 a place of epoch {found[-1].epoch} in epoch {newer[0].epoch}")
        verdict = approved.get(found[-1].verdict_id)
        if verdict is None or verdict.decision != "GO":
            raise Violation(f"I4 a place without an approval: {asked}")
        for from_ns, to_ns in engaged:
            until_ns = to_ns or request.received_ns + 1
            if from_ns + SWITCH_GRACE_NS < request.received_ns < until_ns:
                late_s = (request.received_ns - from_ns) / S
                raise Violation(f"I4 a place {late_s:.3f} s after the kill switch")


def check_one_per_quote(bench):
    """I5: at no instant do two of our orders rest for one quote, but for one that came late."""
    resting, keys = {}, {}
    with bench.truth_path.open("rb") as file:
        for raw in file:
            if not raw.endswith(b"\n"):
                return
            line = msgspec.json.decode(raw)
            if line.get("account") != "alpha":
                continue
            if line["kind"] == "order":
                key = (line["ticker"], line["side"])
                if line["client_order_id"] in bench.late:
                    continue
                if other := resting.get(key):
                    raise Violation(f"I5 {line['order_id']} rests beside {other} for {key}")
                resting[key], keys[line["order_id"]] = line["order_id"], key
            elif line["kind"] == "end" and line["order_id"] in keys:
                resting.pop(keys[line["order_id"]], None)


def check_stored(bench, stored):
    """What NATS acknowledged is stored, as it was sent."""
    held = {one.sequence: one.data for one in stored}
    for sequence, data in bench.acknowledged:
        if held.get(sequence) != data:
            raise Violation(f"NATS acknowledged {sequence} of VERDICTS and lost it")


async def check_replay(bench, listed):
    """I6: a broker that reads the log knows what the live one tells."""
    fresh = BrokerCore(Policy(), live_only=False)
    for stream in ("ORDERS", "FILLS"):
        for sequence, message in enumerate(await bench.log(stream), 1):
            fresh.handle(e.Folded(now_ns=0, message=message, stream=stream, sequence=sequence))
    for one in listed.orders:
        order = fresh.state.orders[one.client_order_id]
        told = one.state, one.price_e4, one.count_e2, one.filled_e2
        replayed = order.state, order.price_e4, order.count_e2, order.filled_e2
        if told != replayed:
            raise Violation(f"I6 {one.client_order_id}: live {told}, replayed {replayed}")
