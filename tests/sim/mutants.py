"""Brokers that are broken on purpose: the simulation's guards must catch each of them."""

from contextlib import ExitStack, contextmanager

from libs.common.effects import Publish
from libs.common.messages import OrderIntent
from libs.common.topology import ORDERS_EPOCH
from services.broker import core, desk, epoch, killswitch, orders, plan, resolve, writer
from services.broker.exchange import Attempt, Exchange
from services.broker.orders import Order
from services.broker.transitions import Trigger
from services.risk.sizing import reservations


@contextmanager
def _replaced(owner, name, value):
    kept = owner.__dict__[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, kept)


def skip_the_intent():
    """Place without saying so first."""
    handle = core.BrokerCore.handle

    def silent(self, event):
        return [
            effect
            for effect in handle(self, event)
            if not (isinstance(effect, Publish) and isinstance(effect.message, OrderIntent))
        ]

    return _replaced(core.BrokerCore, "handle", silent)


def send_before_the_intent_is_stored():
    """Do not wait for the acknowledgement of the intent."""

    async def hasty(self, after):
        del self, after
        return ""

    return _replaced(writer.Writer, "_cleared", hasty)


def resend_on_timeout():
    """Take a lost answer for a lost request, and place the quote anew."""
    place = Exchange.place

    async def place_again(self, order, gate, started):
        attempt = await place(self, order, gate, started)
        return Attempt(outcome="not_sent") if attempt.outcome == "unknown" else attempt

    return _replaced(Exchange, "place", place_again)


def trust_404():
    """Take "not found" on a cancel for a cancelled order."""
    answered = Order.answered

    def trusting(self, answer, now_ns, retry_after_ns):
        if answer.call == "cancel" and answer.code == "not_found":
            self.in_flight = None
            self.apply(Trigger.CANCEL, now_ns, "404")
            return
        answered(self, answer, now_ns, retry_after_ns)

    return _replaced(orders.Order, "answered", trusting)


def trust_one_missing_read():
    """Take an order for never taken as soon as one read misses it."""

    def absent(self, order, started_ns):
        del self, started_ns
        return not order.order_id

    return _replaced(resolve.Resolver, "_is_absent", absent)


def ignore_the_fence():
    """Write intents without the fence, whoever leads."""
    intend = desk.Desk._intend

    def unfenced(self, *arguments):
        intend(self, *arguments)
        self.effects[-1] = Publish(message=self.effects[-1].message)

    return _replaced(desk.Desk, "_intend", unfenced)


def say_the_epoch_over_another_s():
    """Say the epoch again on whatever message is the newest."""

    async def bold(self):
        known = await self._context.bus.last_per_subject("ORDERS", ORDERS_EPOCH)
        self._app.fence = await self._say(known[-1].sequence if known else 0)

    return _replaced(epoch.Epoch, "_renew", bold)


def forget_the_lease_and_the_switch():
    """Ask nothing right before a write."""
    return _replaced(writer.Writer, "_gate", lambda self, *rest, **words: "")


def forget_unknown_exposure():
    """Quote a market although an order there is unknown."""
    planned = plan.plan

    def bold(open_orders, wanted, now_ns):
        known = [order for order in open_orders if order.state != "unknown"]
        return planned(known, wanted, now_ns)

    return _replaced(core, "plan", bold)


def keep_quotes_past_the_deadline():
    """Let quotes rest until the target, at the exchange too."""
    return _replaced(desk.Desk, "deadline_ns", lambda self, event: event.target_ns)


def ignore_the_kill_switch():
    """Place whatever the switch says."""
    stack = ExitStack()
    deaf = property(lambda self: False)
    stack.enter_context(_replaced(killswitch.KillSwitchKeeper, "engaged", deaf))

    def on_kill_switch(self, event):
        del event
        self.killed = False

    stack.enter_context(_replaced(core.BrokerCore, "_on_kill_switch", on_kill_switch))
    return stack


def book_fills_twice():
    """Forget which fills are in FILLS, and give each telling an id of its own."""
    numbers = iter(range(10**9))

    def fresh_id(trade_id, order_id):
        return f"{trade_id}-{order_id}-{next(numbers)}"

    return _replaced(resolve.reports, "fill_id", fresh_id)


def lose_fills_of_the_socket():
    """Take no fill from reads: what the socket lost is lost."""
    fill = resolve.Resolver.fill

    def deaf(self, seen):
        if seen.client_order_id:
            fill(self, seen)

    return _replaced(resolve.Resolver, "fill", deaf)


def forget_ended_orders():
    """Believe an order gone when a read of what rests misses it once."""
    missed = Order.missed_by_read

    def gone(self, started_ns, now_ns, stale_ns):
        if self.state in ("resting", "partially_filled") and self.in_flight is None:
            self.apply(Trigger.CANCEL, now_ns, "missing")
            return False
        return missed(self, started_ns, now_ns, stale_ns)

    return _replaced(orders.Order, "missed_by_read", gone)


def forget_what_was_allowed():
    """Size each proposal as if what earlier verdicts allowed could not be used any more."""
    return _replaced(reservations.Reservations, "give", lambda self, verdict: None)


MUTANTS = (
    skip_the_intent,
    send_before_the_intent_is_stored,
    resend_on_timeout,
    trust_404,
    trust_one_missing_read,
    ignore_the_fence,
    say_the_epoch_over_another_s,
    forget_the_lease_and_the_switch,
    forget_unknown_exposure,
    keep_quotes_past_the_deadline,
    ignore_the_kill_switch,
    book_fills_twice,
    lose_fills_of_the_socket,
    forget_ended_orders,
    forget_what_was_allowed,
)
