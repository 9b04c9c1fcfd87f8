"""A rule-based machine: any verdicts, outcomes, orders of news, kills and crashes."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from libs.common.effects import Received
from libs.common.messages import OPEN_STATES, OrderIntent, OrderUpdate
from services.broker import events as e
from tests.services.broker.rig import TARGET_NS, A, B, Rig, S, quote, verdict

LATE_S = 1.5
"""A request that was lost on the way arrives this late at most."""
OUTCOMES = st.sampled_from(["ok", "ok", "ok", "lost", "dropped", "late", "not_sent"])
QUOTES = st.lists(
    st.sampled_from(
        [
            quote(ticker, side, price_e4 + step, count_e2)
            for ticker in (A, B)
            for side, price_e4 in (("bid", 4_000), ("ask", 6_000))
            for step in (-300, 0, 300)
            for count_e2 in (100, 300, 500)
        ]
    ),
    max_size=3,
    unique_by=lambda one: (one.ticker, one.side),
)


class BrokerMachine(RuleBasedStateMachine):
    @initialize(expires=st.booleans())
    def begin(self, expires):
        self.rig = Rig()
        self.rig.exchange.expires = expires
        self.rig.check = self.check_effect
        self.late = []
        self.untold = []
        self.told = []
        self.old_verdicts = []

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
        last_intent = [one for one in rig.log if isinstance(one, OrderIntent)][-1]
        assert last_intent.client_order_id == effect.client_order_id, "a write without its intent"
        if isinstance(effect, e.SubmitOrder):
            assert effect.expiration_ns <= TARGET_NS - 2 * S
            self.check_ended_orders((effect.ticker, effect.side))
        flying = [one for one in rig.writes if self.flies(one, effect.client_order_id)]
        assert not flying, "two writes in flight for one order"

    def check_ended_orders(self, key):
        """A quote is placed anew only when the broker knows all that became of its last order."""
        truth = {held.client_order_id: held for held in self.rig.exchange.orders.values()}
        for order in self.rig.core.state.orders.values():
            held = truth.get(order.client_order_id)
            if order.key == key and held is not None and order.state not in OPEN_STATES:
                assert held.status != "resting", "placed anew beside an order that rests"
                assert held.filled_e2 == order.filled_e2, "placed anew over a hidden fill"

    @staticmethod
    def flies(write, client_order_id):
        if isinstance(write, e.CancelEverything):
            return False
        targets = write.targets if isinstance(write, e.CancelOrders) else [write]
        return any(target.client_order_id == client_order_id for target in targets)

    # The world

    @rule(quotes=QUOTES, life_s=st.sampled_from([3, 60]))
    def fresh_verdict(self, quotes, life_s):
        rig = self.rig
        rig.verdict(*quotes, expires_at_ns=rig.now_ns + life_s * S)
        self.old_verdicts.append(rig.last_verdict)

    @rule(quotes=QUOTES, seconds=st.sampled_from([0.5, 2]))
    def a_quiet_while(self, quotes, seconds):
        """Verdict, answers and time as on most days: so that there is something to disturb."""
        rig = self.rig
        rig.send(e.KillSwitchChanged(now_ns=rig.now_ns, engaged=False, reason="r", by="me"))
        self.fresh_verdict(quotes, 60)
        rig.answer_all()
        rig.advance(seconds)

    @precondition(lambda self: self.old_verdicts)
    @rule(data=st.data())
    def repeated_verdict(self, data):
        self.rig.deliver_verdict(data.draw(st.sampled_from(self.old_verdicts)))

    @rule(seconds=st.sampled_from([0.1, 0.3, 1, 1, 3, 10, 200]))
    def time_passes(self, seconds):
        if self.late:
            self.rig.advance(min(seconds, LATE_S / 2))
            self.arrive_late()
        self.rig.advance(seconds)

    @precondition(lambda self: self.rig.writes)
    @rule(outcome=OUTCOMES, data=st.data())
    def answer(self, outcome, data):
        rig = self.rig
        index = data.draw(st.integers(0, len(rig.writes) - 1))
        write = rig.writes[index]
        if rig.core.killed and isinstance(write, (e.SubmitOrder, e.AmendOrder)):
            outcome = "not_sent"  # the shell looks at the switch right before it sends
        if outcome == "late":
            self.late.append(write)
            outcome = "dropped"
        rig.answer(outcome, index)

    @precondition(lambda self: self.late)
    @rule()
    def arrive_late(self):
        for write in self.late:
            self.rig.perform(write)
        self.late.clear()

    @precondition(lambda self: self.rig.reads)
    @rule(complete=st.booleans(), age_ns=st.sampled_from([0, 0, 200_000_000, 360_000_000]))
    def read(self, complete, age_ns):
        self.rig.read(complete=complete, age_ns=age_ns)

    @rule(age_ns=st.sampled_from([0, 360_000_000]))
    def poll(self, age_ns):
        self.rig.poll(age_ns)

    @precondition(lambda self: self.rig.exchange.resting())
    @rule(data=st.data(), count_e2=st.sampled_from([100, 200, 500]), tell=st.booleans())
    def trade(self, data, count_e2, tell):
        held = data.draw(st.sampled_from(self.rig.exchange.resting()))
        trade = self.rig.fill(held.order_id, count_e2, tell=tell)
        (self.told if tell else self.untold).append(trade)

    @precondition(lambda self: self.untold or self.told)
    @rule(data=st.data(), by_socket=st.booleans())
    def news_of_a_trade(self, data, by_socket):
        trade = data.draw(st.sampled_from(self.untold + self.told))
        self.rig.tell(trade, by_socket=by_socket)

    @precondition(lambda self: self.rig.exchange.frames)
    @rule(data=st.data())
    def news_of_an_order(self, data):
        self.rig.frame(data.draw(st.sampled_from(self.rig.exchange.frames)))

    @precondition(lambda self: self.rig.exchange.resting())
    @rule(data=st.data())
    def the_exchange_cancels(self, data):
        held = data.draw(st.sampled_from(self.rig.exchange.resting()))
        self.rig.exchange.cancel(held.order_id)

    @rule(engaged=st.sampled_from([True, False, False]))
    def kill_switch(self, engaged):
        rig = self.rig
        changed = e.KillSwitchChanged(now_ns=rig.now_ns, engaged=engaged, reason="r", by="me")
        rig.send(changed)

    @rule(data=st.data(), quotes=QUOTES, keep=st.integers(0, 4))
    def crash_in_the_middle(self, data, quotes, keep):
        """Crash after some effects of one more event; requests under way land or do not."""
        rig = self.rig
        before = len(rig.writes)
        if rig.writes and data.draw(st.booleans()):
            write = rig.writes[0]
            if not rig.core.killed:
                self.crash_in_an_answer(write, keep)
        else:
            self.crash_in_a_verdict(quotes, keep)
        for write in rig.writes[:before]:
            if not (rig.core.killed and isinstance(write, (e.SubmitOrder, e.AmendOrder))):
                fate = data.draw(st.sampled_from(["done", "late", "never"]))
                if fate == "done":
                    rig.perform(write)
                elif fate == "late":
                    self.late.append(write)
        rig.start()

    def crash_in_an_answer(self, write, keep):
        rig = self.rig
        rig.writes.remove(write)
        if isinstance(write, e.SubmitOrder):
            started = e.WriteStarted(now_ns=rig.now_ns, client_order_id=write.client_order_id)
            rig.send(started)
        for reply in rig.replies(write, rig.perform(write), "ok"):
            rig.send(reply, keep=keep)

    def crash_in_a_verdict(self, quotes, keep):
        rig = self.rig
        rig.last_verdict = verdict(next(rig.numbers), rig.now_ns, quotes)
        received = Received(
            now_ns=rig.now_ns, message=rig.last_verdict, stream="VERDICTS", sequence=1
        )
        rig.send(received, keep=keep)

    # What must hold at all times

    @invariant()
    def one_order_for_each_id(self):
        if hasattr(self, "rig"):
            counts = Counter(self.rig.exchange.placed_ids)
            assert not counts or max(counts.values()) == 1, "an id was sent twice"

    @invariant()
    def at_most_one_order_rests_for_a_quote(self):
        if hasattr(self, "rig"):
            self.rig.resting()

    @invariant()
    def nothing_rests_past_the_deadline(self):
        if hasattr(self, "rig") and self.rig.now_ns >= TARGET_NS - 2 * S:
            assert not self.rig.exchange.expires or not self.rig.exchange.resting()

    @invariant()
    def every_order_of_the_exchange_has_its_intent(self):
        if hasattr(self, "rig"):
            intents = {one.client_order_id for one in self.rig.intents("place")}
            assert set(self.rig.exchange.placed_ids) <= intents

    def teardown(self):
        """Heal everything, wait past the target: the books must be the exchange's."""
        if not hasattr(self, "rig"):
            return
        rig = self.rig
        self.arrive_late()
        rig.settle_down(20)
        rig.poll()
        rig.advance(max(0, (TARGET_NS - rig.now_ns) / S))
        rig.poll()
        rig.settle_down(40)
        rig.poll()
        rig.settle_down(20)
        assert not rig.exchange.resting()
        booked = Counter((one.trade_id, one.count_e2) for one in rig.fills())
        assert booked == Counter((one.trade_id, one.count_e2) for one in rig.exchange.trades)
        truth = {held.client_order_id: held for held in rig.exchange.orders.values()}
        for client_order_id, order in rig.core.state.orders.items():
            assert order.state not in OPEN_STATES, f"{client_order_id} is still {order.state}"
            held = truth.get(client_order_id)
            assert order.filled_e2 == (held.filled_e2 if held else 0)
            assert order.fills_e2 == order.filled_e2
            if held is None:
                assert order.state == "rejected"
        last = {one.client_order_id: one for one in rig.log if isinstance(one, OrderUpdate)}
        assert {one: order.state for one, order in rig.core.state.orders.items()} == {
            one: update.state for one, update in last.items()
        }


BrokerMachine.TestCase.settings = settings(
    BrokerMachine.TestCase.settings, max_examples=60, stateful_step_count=40
)
TestBroker = BrokerMachine.TestCase
