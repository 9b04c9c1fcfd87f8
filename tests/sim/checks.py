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
    Verdict,
)
from libs.common.topology import durables_of, stream_named
from services.broker import events as e
from services.broker.core import BrokerCore
from tests.sim.actors import TARGET_NS, S
from tests.sim.truth import Violation

CALM_S = 3.0
SETTLED_AFTER_S = 8.0
"""So long after the target everything is paid: settlement timer, and two polls of the broker."""


def settled(world):
    """Tell whether all has come to rest; `why` says what has not."""
    why = ""
    broker = world.leader()
    if world.true_ns() < TARGET_NS + SETTLED_AFTER_S * S:
        why = "the event is not over"
    elif world.loop.time() < world.healed_s + CALM_S:
        why = "who was stopped has only just woken"
    elif broker is None:
        why = "no broker acts"
    elif any(order.state in OPEN_STATES for order in broker.app.core.state.orders.values()):
        orders = broker.app.core.state.orders.values()
        why = f"open: {[one for one in orders if one.state in OPEN_STATES][:2]}"
    elif fill_counts(world) != world.truth.totals():
        why = f"fills: {difference(fill_counts(world), world.truth.totals())}"
    elif paid(world) != due(world):
        why = f"payouts: {difference(paid(world), due(world))}"
    elif behind := unread(world):
        why = f"behind: {behind}"
    return _Answer(not why, why)


class _Answer(SimpleNamespace):
    def __init__(self, yes, why):
        super().__init__(yes=yes, why=why)

    def __bool__(self):
        return self.yes


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


def fill_counts(world):
    fills = [one for one in world.log("FILLS") if isinstance(one, Fill)]
    return Counter((one.trade_id, one.order_id, one.count_e2, one.fee_e6) for one in fills)


def paid(world):
    """Count the payouts told, of markets in which something was held at the end."""
    told = [one for one in world.log("FILLS") if isinstance(one, ExchangeSettlement)]
    held = [one for one in told if one.yes_count_e2 != one.no_count_e2]
    return Counter((one.ticker, one.revenue_e6) for one in held)


def due(world):
    held = [one for one in world.truth.payouts if one.yes_e2 != one.no_e2]
    return Counter((one.ticker, one.revenue_e6) for one in held)


def difference(ours, theirs):
    return {"only ours": dict(ours - theirs), "only theirs": dict(theirs - ours)}


def check_all(world):
    """Check I1 to I7 and I9 when all has settled; raise the first violation."""
    orders = world.log("ORDERS")
    check_ids(world, orders)
    check_fills(world)
    check_positions(world)
    check_log(orders)
    check_ends(world, orders)
    check_replay(world)
    check_approvals(world)
    if left := world.truth.resting():
        raise Violation(f"I9 rests after the end: {left[0]}")


def check_ids(world, orders):
    """I1: each order of the exchange has exactly one intent, and no id was used twice."""
    intents = Counter(
        one.client_order_id
        for one in orders
        if isinstance(one, OrderIntent) and one.action == "place"
    )
    twice = [name for name, count in intents.items() if count > 1]
    if twice:
        raise Violation(f"I1 two intents to place {twice[0]}")
    for order in world.truth.orders.values():
        if order.client_order_id not in intents:
            raise Violation(f"I1 the exchange has {order.client_order_id}, no intent names it")


def check_fills(world):
    """I2: every fill exactly once in FILLS."""
    ours, theirs = fill_counts(world), world.truth.totals()
    if ours != theirs:
        raise Violation(f"I2 fills differ: {difference(ours, theirs)}")
    taken = [one for one in world.log("FILLS") if isinstance(one, Fill) and one.is_taker]
    if taken:
        raise Violation(f"I2 a quote took: {taken[0]}")
    if paid(world) != due(world):
        raise Violation(f"I2 payouts differ: {difference(paid(world), due(world))}")


def check_positions(world):
    """I3: position = sum of fills = the exchange's position."""
    broker = world.leader().app.core.state
    booked = Counter()
    for fill in world.log("FILLS"):
        if isinstance(fill, Fill):
            booked[fill.ticker] += fill.count_e2 if fill.side == "bid" else -fill.count_e2
    for ticker in {*booked, *world.truth.positions, *broker.positions}:
        held = world.truth.positions.get(ticker, 0)
        if not booked[ticker] == held == broker.positions.get(ticker, 0):
            raise Violation(
                f"I3 {ticker}: exchange {held}, FILLS {booked[ticker]},"
                f" broker {broker.positions.get(ticker, 0)}"
            )


def check_log(orders):
    """I7, I4: epochs rise, counts never fall, an intent comes first, unknown blocks its market."""
    epoch, filled, states = 0, {}, {}
    for message in orders:
        if isinstance(message, BrokerEpoch):
            if message.epoch <= epoch:
                raise Violation(f"I7 epoch {message.epoch} after {epoch}")
            epoch = message.epoch
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


def check_ends(world, orders):
    """Every order ended as it ended at the exchange; what never came there is rejected."""
    last = {one.client_order_id: one for one in orders if isinstance(one, OrderUpdate)}
    truth = {one.client_order_id: one for one in world.truth.orders.values()}
    intents = {
        one.client_order_id
        for one in orders
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
    if live.state.fills != fresh.state.fills or live.state.payouts != fresh.state.payouts:
        raise Violation("I6 fills or payouts differ after replay")


def check_approvals(world):
    """I4: no GO holds a quote in a market whose book was known to be stale."""
    for verdict, stale in world.approved_while_stale:
        raise Violation(f"I4 {verdict} approves quotes in stale {stale}")
    for verdict in world.log("VERDICTS"):
        assert isinstance(verdict, Verdict), "VERDICTS holds verdicts alone"


__all__ = ["check_all", "settled", "stream_named"]
