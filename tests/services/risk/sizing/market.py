"""A broker and an exchange in a few lines, as far as limits go: they share no code with risk.

The broker acts on the newest verdict that it has seen, one order per market and side, fills since
the verdict used up. What it says reaches risk late; fills come at any time. The truth is what is
held and what rests at this instant.
"""

import random
from collections import defaultdict

from libs.common.messages import Fill, OrderIntent, OrderUpdate, Quote, Verdict, derived_id
from services.risk.sizing.chain import STEPS
from services.risk.sizing.desk import SizingDesk
from services.risk.sizing.report import Sizing
from tests.services.risk.builders import NOW, S, envelope, proposal
from tests.services.risk.sizing.rig import fair_of, nested

RUNGS = 4
EVENTS = {
    ladder.event_ticker: ladder
    for ladder in (
        nested(RUNGS),
        nested(RUNGS, event="KXINXU-24AUG05H1300"),
        nested(
            RUNGS, event="KXNASDAQ100U-24AUG05H1200", series="KXNASDAQ100U", family="NASDAQ100U"
        ),
    )
}
EVENT_OF = {ticker: name for name, ladder in EVENTS.items() for ticker in ladder.tickers}
CURVE = (0.8, 0.6, 0.4, 0.2)
LATE_MAX_S = 3.0


class Order:
    def __init__(self, key, price_e4, count_e2, verdict_id, number):
        self.key, self.price_e4, self.count_e2 = key, price_e4, count_e2
        self.verdict_id, self.number, self.filled_e2 = verdict_id, number, 0

    @property
    def left_e2(self):
        return self.count_e2 - self.filled_e2


class Market:
    """One run, decided by a seed; `check` is called whenever something changed."""

    def __init__(self, seed, policy, check):
        self.dice = random.Random(seed)
        # Few markets are hit hard, many meet each other's limits: both happen.
        self.events = self.dice.sample(sorted(EVENTS), self.dice.choice((1, 2, 3)))
        self.rungs = self.dice.sample(range(RUNGS), self.dice.choice((1, 2, RUNGS)))
        self.policy, self.check = policy, check
        self.now_ns = NOW
        self.logs = {"VERDICTS": [], "ORDERS": [], "FILLS": []}
        self.late = []
        self.seen = dict.fromkeys(EVENTS)
        self.newest = dict.fromkeys(EVENTS)
        self.orders: dict[tuple[str, str], Order] = {}
        self.held_e2 = defaultdict(int)
        self.cash_e6 = defaultdict(int)
        self.numbers = 0
        self.granted = self.filled = self.restarts = 0
        self.desk = self.fresh_desk()

    # Risk

    def fresh_desk(self):
        desk = SizingDesk(self.policy)
        for ladder in EVENTS.values():
            desk.define(ladder, self.now_ns)
        return desk

    def restart(self):
        """Read the streams back, all that was said: as the service does."""
        self.restarts += 1
        self.desk = self.rebuilt()
        self.late = []

    def rebuilt(self):
        desk = self.fresh_desk()
        for verdict in self.logs["VERDICTS"]:
            desk.given(verdict)
        for stream in ("ORDERS", "FILLS"):
            for sequence, message in enumerate(self.logs[stream], 1):
                desk.apply(message, stream, sequence)
        return desk

    def hear(self, all_of_it=False):
        """Let risk hear what is due; within a stream in order."""
        waiting = []
        for due_ns, stream, sequence, message in self.late:
            blocked = any(entry[1] == stream for entry in waiting)
            if not blocked and (all_of_it or due_ns <= self.now_ns):
                self.desk.apply(message, stream, sequence)
            else:
                waiting.append((due_ns, stream, sequence, message))
        self.late = waiting

    def propose(self):
        ladder = EVENTS[self.dice.choice(self.events)]
        quotes = []
        for rung, ticker in enumerate(ladder.tickers):
            for side in ("bid", "ask"):
                if rung not in self.rungs or self.dice.random() < 0.4:
                    continue
                edge_e4 = self.dice.choice((100, 300, 500, 1500))
                fair_e4 = round(CURVE[rung] * 10_000)
                quotes.append(
                    Quote(
                        ticker=ticker,
                        side=side,
                        price_e4=fair_e4 - edge_e4 if side == "bid" else fair_e4 + edge_e4,
                        count_e2=self.dice.choice((100, 20_000, 10**6)),
                        probability=CURVE[rung],
                        ev_per_contract_e6=self.dice.choice((60_000, 90_000)),
                        fill_probability=0.3,
                    )
                )
        self.fair(ladder)
        wanted = proposal(
            self.now_ns,
            quotes,
            event_ticker=ladder.event_ticker,
            series_ticker=ladder.series_ticker,
            family=ladder.family,
        )
        sizing = self.desk.size(wanted, self.now_ns)
        verdict = self.verdict(wanted, sizing)
        self.desk.given(verdict)
        self.logs["VERDICTS"].append(verdict)
        self.newest[ladder.event_ticker] = verdict
        self.granted += sum(quote.count_e2 for quote in verdict.quotes)

    def fair(self, ladder):
        self.desk.fair(fair_of(ladder, CURVE, self.now_ns), self.now_ns)

    def verdict(self, wanted, sizing: Sizing):
        self.numbers += 1
        lives_ns = self.dice.choice((1, 4, 8)) * S
        return Verdict(
            **envelope(f"verdict-{self.numbers}", self.now_ns),
            decision="GO",
            proposal_id=wanted.id,
            event_ticker=wanted.event_ticker,
            series_ticker=wanted.series_ticker,
            family=wanted.family,
            target_ns=wanted.target_ns,
            expires_at_ns=self.now_ns + lives_ns,
            quotes=sizing.quotes,
            gates=(),
            provenance="synthetic",
            config_hash="c",
            steps=STEPS,
        )

    # Broker and exchange

    def say(self, stream, message):
        self.logs[stream].append(message)
        due_ns = self.now_ns + round(self.dice.random() * LATE_MAX_S * S)
        self.late.append((due_ns, stream, len(self.logs[stream]), message))

    def broker_looks(self):
        event = self.dice.choice(self.events)
        self.seen[event] = self.newest[event]

    def broker_acts(self):
        """Take one step towards the newest seen verdict of one event."""
        event = self.dice.choice(self.events)
        verdict = self.seen[event]
        if verdict is None:
            return
        wanted = {}
        if self.now_ns < verdict.expires_at_ns:
            for quote in verdict.quotes:
                since_e2 = self.held_e2[quote.ticker] - quote.position_e2
                used_e2 = since_e2 if quote.side == "bid" else -since_e2
                left_e2 = quote.count_e2 - max(0, used_e2)
                if left_e2 > 0:
                    wanted[(quote.ticker, quote.side)] = (quote.price_e4, left_e2)
        for key, order in list(self.orders.items()):
            if EVENT_OF[key[0]] == event and wanted.get(key) != (order.price_e4, order.left_e2):
                self.cancel(order)
                return
        for key, (price_e4, count_e2) in wanted.items():
            if key not in self.orders:
                self.place(verdict, key, price_e4, count_e2)
                return

    def place(self, verdict, key, price_e4, count_e2):
        self.numbers += 1
        order = Order(key, price_e4, count_e2, verdict.id, self.numbers)
        self.say("ORDERS", self.intent(order))
        self.orders[key] = order
        if self.dice.random() < 0.8:
            self.say("ORDERS", self.update(order, "resting"))

    def cancel(self, order):
        del self.orders[order.key]
        self.say("ORDERS", self.update(order, "cancelled"))

    def trade(self):
        if not self.orders:
            return
        order = self.orders[self.dice.choice(sorted(self.orders))]
        count_e2 = self.dice.choice((order.left_e2, max(1, order.left_e2 // 3)))
        ticker, side = order.key
        signed_e2 = count_e2 if side == "bid" else -count_e2
        order.filled_e2 += count_e2
        self.filled += count_e2
        self.held_e2[ticker] += signed_e2
        self.cash_e6[ticker] -= signed_e2 * order.price_e4
        self.numbers += 1
        self.say("FILLS", self.fill(order, count_e2))
        if order.left_e2 == 0:
            del self.orders[order.key]
            self.say("ORDERS", self.update(order, "filled"))
        elif self.dice.random() < 0.5:
            self.say("ORDERS", self.update(order, "partially_filled"))

    def names(self, order):
        event = EVENT_OF[order.key[0]]
        return {
            "client_order_id": f"c{order.number}",
            "event_ticker": event,
            "series_ticker": EVENTS[event].series_ticker,
            "ticker": order.key[0],
            "side": order.key[1],
            "price_e4": order.price_e4,
        }

    def envelope(self, kind, order):
        return envelope(derived_id(kind, order.number, self.numbers, self.now_ns), self.now_ns)

    def intent(self, order):
        return OrderIntent(
            **self.envelope("intent", order),
            **self.names(order),
            action="place",
            order_id="",
            count_e2=order.count_e2,
            expiration_ns=self.now_ns + 600 * S,
            verdict_id=order.verdict_id,
            epoch=1,
            reason="quote",
        )

    def update(self, order, state):
        return OrderUpdate(
            **self.envelope(state, order),
            **self.names(order),
            order_id=f"o{order.number}",
            count_e2=order.count_e2,
            filled_count_e2=order.filled_e2,
            remaining_count_e2=order.left_e2 if state != "cancelled" else 0,
            previous_state="submitted",
            state=state,
            trigger="t",
            reason="",
            exchange_ns=self.now_ns,
        )

    def fill(self, order, count_e2):
        return Fill(
            **self.envelope("fill", order),
            **self.names(order),
            trade_id=f"t{self.numbers}",
            order_id=f"o{order.number}",
            count_e2=count_e2,
            is_taker=False,
            fee_e6=0,
            exchange_ns=self.now_ns,
        )

    # The truth

    def losses_e6(self, event):
        """Return the worst loss of an event in each outcome, by hand."""
        ladder, found = EVENTS[event], []
        for above in range(RUNGS + 1):
            loss = 0
            for rung, ticker in enumerate(ladder.tickers):
                pays_e4 = 10_000 * (rung < above)
                loss -= self.cash_e6[ticker] + self.held_e2[ticker] * pays_e4
                for side in ("bid", "ask"):
                    order = self.orders.get((ticker, side))
                    if order is not None:
                        value = pays_e4 - order.price_e4
                        value = value if side == "bid" else -value
                        loss += max(0, -value) * order.left_e2
            found.append(loss)
        return found

    def market_losses_e6(self, ticker):
        """Return the worst loss of one market if it pays no, and if it pays yes."""
        bid, ask = self.orders.get((ticker, "bid")), self.orders.get((ticker, "ask"))
        no_e6 = -self.cash_e6[ticker] + (bid.price_e4 * bid.left_e2 if bid else 0)
        yes_e6 = -self.cash_e6[ticker] - self.held_e2[ticker] * 10_000
        return no_e6, yes_e6 + ((10_000 - ask.price_e4) * ask.left_e2 if ask else 0)

    def step(self):
        action = self.dice.choice(
            [
                self.propose,
                self.propose,
                self.broker_looks,
                self.broker_acts,
                self.broker_acts,
                self.broker_acts,
                self.trade,
                self.hear,
                self.pass_time,
            ]
        )
        action()
        self.check(self)

    def pass_time(self):
        self.now_ns += round(self.dice.choice((0.05, 0.3, 1.0, 2.5)) * S)
        self.hear()
        for event in EVENTS:  # an expired verdict's orders are cancelled, in time
            verdict = self.seen[event]
            if verdict is not None and self.now_ns >= verdict.expires_at_ns:
                for order in [o for k, o in self.orders.items() if EVENT_OF[k[0]] == event]:
                    self.cancel(order)
