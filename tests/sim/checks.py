"""After healing: ORDERS, FILLS and the broker's books against what the exchange truly holds."""

from collections import Counter
from types import SimpleNamespace

from libs.common.messages import (
    OPEN_STATES,
    BrokerEpoch,
    ExchangeSettlement,
    Fill,
    OrderIntent,
    OrderUpdate,
)
from libs.common.topology import durables_of
from services.broker import events as e
from services.broker.core import BrokerCore
from tests.sim.actors import TARGET_NS, S
from tests.sim.truth import Violation

CALM_S = 3.0
SETTLED_AFTER_S = 8.0
"""So long after the target everything is paid: settlement timer, and two polls of the broker."""


class Record(SimpleNamespace):
    """What is compared: the log (`orders`, `fills`: messages) and the exchange's own truth.

    `held` are the exchange's orders (client_order_id, filled_e2), `filled` counts its fills as
    `fill_counts` does, `due` its payouts as `paid` does, `positions` are by ticker.
    """


def record_of(world):
    """Return the record of a simulated run."""
    payouts = [one for one in world.truth.payouts if one.yes_e2 != one.no_e2]
    return Record(
        orders=world.log("ORDERS"),
        fills=world.log("FILLS"),
        held=list(world.truth.orders.values()),
        filled=world.truth.totals(),
        due=Counter((one.ticker, one.revenue_e6) for one in payouts),
        positions=world.truth.positions,
    )


def unsettled(world):
    """Return what has not come to rest yet, "" when all has."""
    broker = world.leader()
    if world.true_ns() < TARGET_NS + SETTLED_AFTER_S * S:
        return "the event is not over"
    if world.loop.time() < world.healed_s + CALM_S:
        return "who was stopped has only just woken"
    if broker is None:
        return "no broker acts"
    books = broker.app.core.state.orders.values()
    if left := [order for order in books if order.state in OPEN_STATES]:
        return f"open: {left[:2]}"
    record = record_of(world)
    told = {one.client_order_id: one.state for one in record.orders if isinstance(one, OrderUpdate)}
    if any(order.state != told.get(order.client_order_id) for order in books):
        return "the last news of an order is on its way"
    if fill_counts(record.fills) != record.filled:
        return f"fills: {difference(fill_counts(record.fills), record.filled)}"
    if paid(record.fills) != record.due:
        return f"payouts: {difference(paid(record.fills), record.due)}"
    if held_payouts(record.fills) - broker.app.core.state.payouts:
        return "the broker has not read the payouts that an earlier life told of last"
    behind = unread(world)
    return f"behind: {behind}" if behind else ""


def unread(world):
    """Return the durables that have not acknowledged all of their stream."""
    behind = []
    for life in world.lives:
        for durable in durables_of(life.service):
            log = world.hub.log(durable.stream)
            through = world.acknowledged.get(durable.name, 0)
            # New books and statuses keep coming: only what nobody replaces must be read up.
            if not durable.conflated and log.last_sequence > through:
                behind.append(durable.name)
    return behind


def check_all(world):
    """Check I1 to I7 and I9 when all has settled; raise the first violation."""
    check_record(record_of(world))
    check_replay(world)
    for verdict, stale in world.approved_while_stale:
        raise Violation(f"I4 {verdict} approves quotes in stale {stale}")
    if left := world.truth.resting():
        raise Violation(f"I9 rests after the end: {left[0]}")


def check_record(record):
    """Check I1 to I4 and I7 on a record; raise the first violation."""
    check_ids(record)
    check_fills(record)
    check_positions(record)
    check_log(record.orders)
    check_ends(record)


def fill_counts(messages):
    """Count the fills told in FILLS."""
    fills = [one for one in messages if isinstance(one, Fill)]
    return Counter((one.trade_id, one.order_id, one.count_e2, one.fee_e6) for one in fills)


def paid(messages):
    """Count the payouts told, of markets in which something was held at the end."""
    told = [one for one in messages if isinstance(one, ExchangeSettlement)]
    held = [one for one in told if one.yes_count_e2 != one.no_count_e2]
    return Counter((one.ticker, one.revenue_e6) for one in held)


def held_payouts(messages):
    """Return the ids of payouts for what was held: nobody waits for one of nothing."""
    told = [one for one in messages if isinstance(one, ExchangeSettlement)]
    return {one.id for one in told if one.yes_count_e2 != one.no_count_e2}


def difference(ours, theirs):
    return {"only ours": dict(ours - theirs), "only theirs": dict(theirs - ours)}


def check_ids(record):
    """I1: each order of the exchange has exactly one intent, and no id was used twice."""
    intents = Counter(
        one.client_order_id
        for one in record.orders
        if isinstance(one, OrderIntent) and one.action == "place"
    )
    twice = [name for name, count in intents.items() if count > 1]
    if twice:
        raise Violation(f"I1 two intents to place {twice[0]}")
    accepted = Counter(one.client_order_id for one in record.held)
    for name, count in accepted.items():
        if name not in intents:
            raise Violation(f"I1 the exchange has {name}, no intent names it")
        if count > 1:
            raise Violation(f"I1 the exchange took {name} {count} times")


def check_fills(record):
    """I2: every fill exactly once in FILLS, none of them as a taker; every payout once."""
    ours = fill_counts(record.fills)
    if ours != record.filled:
        raise Violation(f"I2 fills differ: {difference(ours, record.filled)}")
    taken = [one for one in record.fills if isinstance(one, Fill) and one.is_taker]
    if taken:
        raise Violation(f"I2 a quote took: {taken[0]}")
    if paid(record.fills) != record.due:
        raise Violation(f"I2 payouts differ: {difference(paid(record.fills), record.due)}")


def check_positions(record):
    """I3: position = sum of fills = the exchange's position."""
    booked = Counter()
    for fill in record.fills:
        if isinstance(fill, Fill):
            booked[fill.ticker] += fill.count_e2 if fill.side == "bid" else -fill.count_e2
    for ticker in {*booked, *record.positions}:
        if booked[ticker] != (held := record.positions.get(ticker, 0)):
            raise Violation(f"I3 {ticker}: exchange {held}, FILLS {booked[ticker]}")


def check_log(orders):
    """I7, I4: epochs rise, counts never fall, an intent comes first, unknown blocks its market."""
    epoch, leader, filled, states = 0, "", {}, {}
    for message in orders:
        if isinstance(message, BrokerEpoch):
            again = (message.epoch, message.broker) == (epoch, leader)
            if message.epoch <= epoch and not again:
                raise Violation(f"I7 epoch {message.epoch} of {message.broker} after {epoch}")
            epoch, leader = message.epoch, message.broker
        elif isinstance(message, OrderIntent):
            if message.epoch != epoch:
                raise Violation(f"I4 an intent of epoch {message.epoch} in epoch {epoch}")
            unknown = [
                one
                for one, (state, ticker) in states.items()
                if state == "unknown" and ticker == message.ticker
            ]
            if message.action != "cancel" and unknown:
                raise Violation(f"I4 {message.action} in {message.ticker} beside unknown {unknown}")
        elif isinstance(message, OrderUpdate):
            name = message.client_order_id
            if message.filled_count_e2 < filled.get(name, 0):
                raise Violation(f"I7 {name} was filled {filled[name]}, then {message}")
            filled[name] = message.filled_count_e2
            states[name] = (message.state, message.ticker)


def check_ends(record):
    """Every order ended as it ended at the exchange; what never came there is rejected."""
    last = {one.client_order_id: one for one in record.orders if isinstance(one, OrderUpdate)}
    truth = {one.client_order_id: one for one in record.held}
    intents = {
        one.client_order_id
        for one in record.orders
        if isinstance(one, OrderIntent) and one.action == "place"
    }
    for name in intents:
        update, order = last.get(name), truth.get(name)
        if update is None:
            raise Violation(f"I1 nothing was said of {name} after its intent")
        if order is None and update.state != "rejected":
            raise Violation(f"I1 {name} never came to the exchange and is {update.state}")
        if order is not None and update.filled_count_e2 != order.filled_e2:
            raise Violation(f"I2 {name}: {order.filled_e2} filled, told {update.filled_count_e2}")
        if order is not None and update.state == "rejected":
            raise Violation(f"I1 {name} was taken by the exchange and is told as rejected")


def check_replay(world):
    """I6: a broker that reads the log knows what the live one knows."""
    live = world.leader().app.core
    fresh = BrokerCore(live.state.policy, live_only=False)
    now_ns = world.true_ns()
    for stream in ("ORDERS", "FILLS"):
        for sequence, message in enumerate(world.log(stream), 1):
            fresh.handle(e.Folded(now_ns=now_ns, message=message, stream=stream, sequence=sequence))
    for name, order in live.state.orders.items():
        again = fresh.state.orders.get(name)
        if again is None or again.face() != order.face():
            raise Violation(f"I6 {name}: live {order.face()}, replayed {again and again.face()}")
    if dict(live.state.positions) != dict(fresh.state.positions):
        raise Violation("I6 positions differ after replay")
    if live.state.fills != fresh.state.fills:
        raise Violation("I6 fills differ after replay")
    if held_payouts(world.log("FILLS")) - live.state.payouts:
        raise Violation("I6 payouts differ after replay")
