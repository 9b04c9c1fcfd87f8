"""Everything that can happen to a broker's core, and what must hold whatever happens.

`choose(options)` decides: Hypothesis draws, or a seeded random generator picks.
"""

from collections import Counter

from libs.common.effects import Received
from libs.common.messages import OPEN_STATES, OrderIntent, OrderUpdate
from services.broker import events as e
from services.broker.policy import Policy
from tests.services.broker.rig import EVENT, GROUP_WRITES, TARGET_NS, A, B, Rig, S, quote, verdict

LATE_S = 1.5
"""A request that was lost on the way arrives this late at most."""
OUTCOMES = ["ok", "ok", "ok", "lost", "dropped", "late", "not_sent"]
PRICES = {"bid": [3_700, 4_000, 4_300], "ask": [5_700, 6_000, 6_300]}
LET_IN = (e.SubmitOrder, e.AmendOrder, e.CreateGroup, e.ResetGroup)
"""What the shell does not send while the kill switch is on."""
KEYS = [(ticker, side) for ticker in (A, B) for side in ("bid", "ask")]


class World:
    """One core and its exchange, disturbed one action at a time."""

    def __init__(self, choose, expires=True):
        self.choose = choose
        self.rig = Rig(Policy(group_limit_e2=700, verdict_age_s_max=60.0))
        self.rig.exchange.expires = expires
        self.rig.check = self.check_effect
        self.late = []
        self.late_ns = 0
        self.verdicts = []

    # Actions

    def quotes(self):
        return [
            quote(*key, self.choose(PRICES[key[1]]), self.choose([100, 300, 500]))
            for key in KEYS
            if self.choose([True, True, False])
        ]

    def quiet_while(self):
        """Verdict, answers and time as on most days: so that there is something to disturb."""
        self.kill_switch(engaged=False)
        self.fresh_verdict()
        self.rig.answer_all()
        self.advance(self.choose([0.5, 2]))

    def fresh_verdict(self):
        self.rig.verdict(*self.quotes(), expires_at_ns=self.rig.now_ns + self.choose([3, 60]) * S)
        self.verdicts.append(self.rig.last_verdict)

    def repeated_verdict(self):
        if self.verdicts:
            self.rig.deliver_verdict(self.choose(self.verdicts))

    def time_passes(self):
        self.advance(self.choose([0.1, 0.3, 1, 1, 3, 10, 120]))

    def advance(self, seconds):
        """Let time pass; what is under way arrives before it is later than `LATE_S`."""
        if self.late:
            wait_s = min(seconds, max(0, self.late_ns - self.rig.now_ns) / S)
            self.rig.advance(wait_s)
            seconds -= wait_s
            if self.rig.now_ns >= self.late_ns:
                self.arrive_late()
        self.rig.advance(seconds)

    def answer(self):
        rig = self.rig
        if not rig.writes:
            return
        index = rig.writes.index(self.choose(rig.writes))
        write = rig.writes[index]
        outcome = self.choose(OUTCOMES)
        if rig.core.killed and isinstance(write, LET_IN):
            outcome = "not_sent"  # the shell looks at the switch right before it sends
        if outcome == "late":
            self.delay(write)
            outcome = "dropped"
        rig.answer(outcome, index)

    def delay(self, write):
        if not self.late:
            self.late_ns = self.rig.now_ns + round(LATE_S * S)
        self.late.append(write)

    def arrive_late(self):
        for write in self.late:
            self.rig.perform(write)
        self.late.clear()

    def read(self):
        if self.rig.reads:
            age_ns = self.choose([0, 0, 200_000_000, 360_000_000])
            self.rig.read(complete=self.choose([True, True, False]), age_ns=age_ns)

    def poll(self):
        self.rig.poll(self.choose([0, 360_000_000]))

    def compare(self):
        self.rig.compare()

    def trade(self):
        if resting := self.rig.exchange.resting():
            held = self.choose(resting)
            self.rig.fill(held.order_id, self.choose([100, 200, 500]), tell=self.choose([1, 0]))

    def news_of_a_trade(self):
        if self.rig.exchange.trades:
            trade = self.choose(self.rig.exchange.trades)
            self.rig.tell(trade, by_socket=self.choose([True, False]))

    def news_of_an_order(self):
        if self.rig.exchange.frames:
            self.rig.frame(self.choose(self.rig.exchange.frames))

    def exchange_cancels(self):
        if resting := self.rig.exchange.resting():
            self.rig.exchange.cancel(self.choose(resting).order_id)

    def group_triggers(self):
        """The exchange stops a group for a reason that we did not see."""
        if self.rig.exchange.group_limits:
            self.rig.exchange.trigger_group(self.choose(sorted(self.rig.exchange.group_limits)))

    def news_of_a_group(self):
        if self.rig.exchange.group_frames:
            group_id, change = self.choose(self.rig.exchange.group_frames[-3:])
            now_ns = self.rig.now_ns
            self.rig.send(e.GroupSeen(now_ns=now_ns, order_group_id=group_id, change=change))

    def group_reset(self):
        self.rig.send(e.GroupResetAsked(now_ns=self.rig.now_ns, event_ticker=EVENT))

    def kill_switch(self, engaged=True):
        changed = e.KillSwitchChanged(now_ns=self.rig.now_ns, engaged=engaged, reason="r", by="me")
        self.rig.send(changed)

    def crash(self):
        """Crash after some effects of one more event; what was under way lands or does not."""
        rig = self.rig
        rig.answer("not_sent") if rig.core.killed and rig.writes else None
        under_way = list(rig.writes)
        keep = self.choose([0, 1, 2, 3])
        if under_way and not rig.core.killed and self.choose([True, False]):
            self.crash_in_an_answer(under_way.pop(0), keep)
        else:
            rig.last_verdict = verdict(next(rig.numbers), rig.now_ns, self.quotes())
            received = Received(
                now_ns=rig.now_ns, message=rig.last_verdict, stream="VERDICTS", sequence=1
            )
            rig.send(received, keep=keep)
        for write in under_way:
            if rig.core.killed and isinstance(write, LET_IN):
                continue
            fate = self.choose(["done", "late", "never"])
            if fate == "done":
                rig.perform(write)
            elif fate == "late":
                self.delay(write)
        rig.start()

    def crash_in_an_answer(self, write, keep):
        rig = self.rig
        rig.writes.remove(write)
        if isinstance(write, e.SubmitOrder):
            rig.send(e.WriteStarted(now_ns=rig.now_ns, client_order_id=write.client_order_id))
        for reply in rig.replies(write, rig.perform(write), "ok"):
            rig.send(reply, keep=keep)

    # What must hold at each effect

    def check_effect(self, effect):
        rig = self.rig
        if not isinstance(effect, (e.SubmitOrder, e.AmendOrder)):
            return
        assert not rig.core.killed, "a write while killed"
        assert rig.now_ns < TARGET_NS - 2 * S, "a write after the deadline"
        news = {one.client_order_id: one for one in rig.log if isinstance(one, OrderUpdate)}
        assert not any(
            one.state == "unknown" and one.ticker == effect.ticker for one in news.values()
        ), "a write for a market with an unknown order"
        intents = [one.client_order_id for one in rig.log if isinstance(one, OrderIntent)]
        assert intents[-1:] == [effect.client_order_id], "a write without its intent"
        flying = [one for one in rig.writes if _flies(one, effect.client_order_id)]
        assert not flying, "two writes in flight for one order"
        if isinstance(effect, e.SubmitOrder):
            assert effect.expiration_ns <= TARGET_NS - 2 * S
            assert effect.order_group_id, "an order without its group"
            assert not rig.core.state.events[EVENT].group_triggered_ns
            self.check_ended_orders((effect.ticker, effect.side))

    def check_ended_orders(self, key):
        """A quote is placed anew only when the broker knows all that became of its last order."""
        truth = {held.client_order_id: held for held in self.rig.exchange.orders.values()}
        for order in self.rig.core.state.orders.values():
            held = truth.get(order.client_order_id)
            if order.key == key and held is not None and order.state not in OPEN_STATES:
                assert held.status != "resting", "placed anew beside an order that rests"
                assert held.filled_e2 == order.filled_e2, "placed anew over a hidden fill"

    # What must hold after each action

    def check(self):
        rig = self.rig
        counts = Counter(rig.exchange.placed_ids)
        assert not counts or max(counts.values()) == 1, "an id was sent twice"
        rig.resting()  # at most one order for a quote
        if rig.now_ns >= TARGET_NS - 2 * S and rig.exchange.expires:
            assert not rig.exchange.resting(), "resting past the deadline"
        intents = {one.client_order_id for one in rig.intents("place")}
        assert set(rig.exchange.placed_ids) <= intents, "an order without intent"
        for order in rig.core.state.orders.values():
            assert order.fills_e2 <= order.filled_e2

    def heal(self):
        """Heal everything and wait past the target: the books must be the exchange's."""
        rig = self.rig
        self.arrive_late()
        rig.settle_down(20)
        rig.poll()
        rig.advance(max(0, (TARGET_NS - rig.now_ns) / S - 2))
        rig.settle_down(2)
        if rig.now_ns < TARGET_NS + 30 * S:
            assert not rig.exchange.resting(), "resting past the deadline"
        rig.poll()
        rig.settle_down(40)
        rig.poll()
        rig.settle_down(15)
        booked = Counter((one.trade_id, one.count_e2) for one in rig.fills())
        assert booked == Counter((one.trade_id, one.count_e2) for one in rig.exchange.trades)
        truth = {held.client_order_id: held for held in rig.exchange.orders.values()}
        for client_order_id, order in rig.core.state.orders.items():
            assert order.state not in OPEN_STATES, f"{client_order_id} is still {order.state}"
            held = truth.get(client_order_id)
            assert order.fills_e2 == order.filled_e2 == (held.filled_e2 if held else 0)
            if held is None:
                assert order.state == "rejected"
        news = {one.client_order_id: one for one in rig.log if isinstance(one, OrderUpdate)}
        told = {one: (last.state, last.filled_count_e2) for one, last in news.items()}
        held = {one: (o.state, o.filled_e2) for one, o in rig.core.state.orders.items()}
        assert told == held
        for _ in range(2):
            rig.compare()
            rig.advance(61)
        rig.compare()
        assert rig.comparisons[-1].differences == ()
        assert "balance_differs" not in rig.alerts
        rig.start()
        rig.settle_down(5)
        assert not rig.exchange.group_limits, "an order group outlived its event"


def _flies(write, client_order_id):
    if isinstance(write, (e.CancelEverything, *GROUP_WRITES)):
        return False
    targets = write.targets if isinstance(write, e.CancelOrders) else [write]
    return any(target.client_order_id == client_order_id for target in targets)


ACTIONS = {
    "quiet_while": 6,
    "fresh_verdict": 6,
    "repeated_verdict": 1,
    "time_passes": 5,
    "answer": 14,
    "arrive_late": 1,
    "read": 6,
    "poll": 2,
    "compare": 3,
    "trade": 6,
    "news_of_a_trade": 4,
    "news_of_an_order": 3,
    "exchange_cancels": 1,
    "group_triggers": 1,
    "news_of_a_group": 2,
    "group_reset": 2,
    "kill_switch": 1,
    "crash": 2,
}
"""What can happen, and how often in the seeded simulation."""
