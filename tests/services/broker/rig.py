"""Drive the broker's core against the model exchange, effect by effect, without bus or clock."""

import itertools

from libs.common.effects import CancelTimer, Publish, Received, SetTimer, TimerFired
from libs.common.messages import (
    Fill,
    OrderIntent,
    OrderUpdate,
    Reconciliation,
    SizedQuote,
    Verdict,
)
from services.broker import events as e
from services.broker.core import BrokerCore
from services.broker.policy import Policy
from tests.services.broker.model_exchange import ModelExchange

S = 1_000_000_000
TARGET_NS = 1_793_372_400 * S  # 2026-10-30 11:00 in New York
SERIES = "KXINXU"
EVENT = "KXINXU-26OCT30H1100"
A = f"{EVENT}-T6799.9999"
B = f"{EVENT}-T6809.9999"
START_NS = TARGET_NS - 900 * S
NO_GROUPS = Policy(group_limit_e2=0, verdict_age_s_max=60.0)


def quote(ticker, side, price_e4, count_e2):
    return SizedQuote(
        ticker=ticker,
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        asked_count_e2=count_e2,
        limited_by="",
        probability=0.5,
        ev_per_contract_e6=60_000,
    )


def verdict(number, at_ns, quotes, **changes):
    fields = {
        "id": f"verdict-{number}",
        "ts_event_ns": at_ns,
        "ts_pub_ns": at_ns,
        "cause_id": f"proposal-{number}",
        "correlation_id": f"tick-{number}",
        "source": "risk",
        "decision": "GO",
        "proposal_id": f"proposal-{number}",
        "event_ticker": EVENT,
        "series_ticker": SERIES,
        "family": "INXU",
        "target_ns": TARGET_NS,
        "expires_at_ns": at_ns + 60 * S,
        "quotes": tuple(quotes),
        "gates": (),
        "provenance": "live",
        "config_hash": "hash",
    }
    return Verdict(**fields | changes)


GROUP_WRITES = (e.CreateGroup, e.ResetGroup, e.DeleteGroup)


class Rig:
    """A core, the log it wrote, and what it asked for and has not got yet."""

    def __init__(self, policy=None, live_only=True):
        self.policy = policy or NO_GROUPS
        self.live_only = live_only
        self.exchange = ModelExchange()
        self.now_ns = START_NS
        self.exchange.advance(self.now_ns)
        self.log = []
        self.writes = []
        self.reads = []
        self.timers = {}
        self.alerts = []
        self.comparisons = []
        self.stops = []
        self.last_verdict = None
        self.epoch = 0
        self.numbers = itertools.count(1)
        self.check = lambda effect: None
        self.core = None
        self.start()

    # Life

    def start(self):
        """Start a fresh core on the log and the exchange, as recovery does."""
        self.core = BrokerCore(self.policy, live_only=self.live_only)
        self.timers, self.writes, self.reads = {}, [], []
        for sequence, message in enumerate(self.log, 1):
            stream = "FILLS" if isinstance(message, Fill) else "ORDERS"
            folded = e.Folded(now_ns=self.now_ns, message=message, stream=stream, sequence=sequence)
            self.send(folded)
        self.send(e.KillSwitchChanged(now_ns=self.now_ns, engaged=False, reason="", by="test"))
        self.epoch += 1
        self.send(e.EpochTaken(now_ns=self.now_ns, epoch=self.epoch))
        self.poll()
        self.read_groups()
        if self.last_verdict is not None:
            self.deliver_verdict(self.last_verdict)
        self.send(e.RecoveryDone(now_ns=self.now_ns))

    def read_groups(self, auto_cancel=True, limits_told=True):
        """Read the order groups, as after the fills."""
        groups = tuple(
            e.ExchangeGroup(
                order_group_id=name,
                limit_e2=limit if limits_told else None,
                auto_cancel=auto_cancel,
            )
            for name, limit in self.exchange.group_limits.items()
        )
        self.send(e.GroupsRead(now_ns=self.now_ns, started_ns=self.now_ns, groups=groups))

    def send(self, event, keep=None):
        """Let the core handle an event; keep only the first effects if it crashes after them."""
        effects = self.core.handle(event)
        for effect in effects[:keep]:
            self.check(effect)
            if isinstance(effect, Publish):
                if isinstance(effect.message, Reconciliation):
                    self.comparisons.append(effect.message)
                elif effect.message.id not in {message.id for message in self.log}:
                    self.log.append(effect.message)
            elif isinstance(effect, SetTimer):
                self.timers[effect.key] = effect.at_ns
            elif isinstance(effect, CancelTimer):
                self.timers.pop(effect.key, None)
            elif isinstance(effect, e.Alert):
                self.alerts.append(effect.kind)
            elif isinstance(effect, e.Stopped):
                self.stops.append((effect.reason, effect.took_ns / S))
            elif isinstance(effect, (e.LookupOrders, e.FetchSettlements)):
                self.reads.append(effect)
            else:
                self.writes.append(effect)
        return effects

    # Verdicts and time

    def verdict(self, *quotes, **changes):
        """Give a fresh verdict with these quotes."""
        number = next(self.numbers)
        self.last_verdict = verdict(number, self.now_ns, quotes, **changes)
        return self.deliver_verdict(self.last_verdict)

    def deliver_verdict(self, message):
        received = Received(now_ns=self.now_ns, message=message, stream="VERDICTS", sequence=1)
        return self.send(received)

    def advance(self, seconds):
        """Let time pass; timers fire at their times and the exchange expires what is due."""
        until_ns = self.now_ns + round(seconds * S)
        while due := [(at, key) for key, at in self.timers.items() if at <= until_ns]:
            at_ns, key = min(due)
            del self.timers[key]
            self.now_ns = max(self.now_ns, at_ns)
            self.exchange.advance(self.now_ns)
            self.send(TimerFired(now_ns=self.now_ns, key=key, at_ns=at_ns))
        self.now_ns = until_ns
        self.exchange.advance(self.now_ns)

    # Writes

    def answer(self, outcome="ok", index=0):
        """Perform the write at `index`: ok, lost (done, not told), dropped (not done, not told),
        or not_sent."""
        write = self.writes.pop(index)
        if isinstance(write, e.SubmitOrder) and outcome != "not_sent":
            started = e.WriteStarted(now_ns=self.now_ns, client_order_id=write.client_order_id)
            self.send(started)
        replies = self.perform(write) if outcome in ("ok", "lost") else None
        for reply in self.replies(write, replies, outcome):
            self.send(reply)

    def answer_all(self, outcome="ok"):
        for _ in range(100):
            if not self.writes:
                return
            self.answer(outcome)
        raise AssertionError("the core never stops writing")

    def perform(self, write):
        """Do at the exchange what a write asks for."""
        if isinstance(write, e.CancelEverything):
            self.exchange.cancel_everything()
            return [None]
        if isinstance(write, e.CreateGroup):
            return [self.exchange.create_group(write.limit_e2)]
        if isinstance(write, e.ResetGroup):
            return [self.exchange.reset_group(write.order_group_id)]
        if isinstance(write, e.DeleteGroup):
            return [self.exchange.delete_group(write.order_group_id)]
        if isinstance(write, e.CancelOrders):
            return [self.exchange.cancel(target.order_id) for target in write.targets]
        if isinstance(write, e.AmendOrder):
            return [self.exchange.amend(write.order_id, write.price_e4, write.total_e2)]
        return [
            self.exchange.place(
                write.client_order_id,
                write.ticker,
                write.side,
                write.price_e4,
                write.count_e2,
                write.expiration_ns,
                write.order_group_id,
            )
        ]

    def replies(self, write, results, outcome):
        told = {"ok": None, "lost": "unknown", "dropped": "unknown"}.get(outcome, outcome)
        if isinstance(write, e.CancelEverything):
            yield e.EverythingCancelled(now_ns=self.now_ns, outcome=told or "accepted")
            return
        if isinstance(write, GROUP_WRITES):
            yield self.group_reply(write, results, told)
            return
        many = isinstance(write, e.CancelOrders)
        targets = write.targets if many else [write]
        for place, target in enumerate(targets):
            base = {
                "now_ns": self.now_ns,
                "client_order_id": target.client_order_id,
                "call": {e.SubmitOrder: "place", e.AmendOrder: "amend"}.get(type(write), "cancel"),
            }
            if told:
                yield e.OrderAnswer(outcome=told, **base)
                continue
            result = results[place]
            if isinstance(result, str):
                yield e.OrderAnswer(outcome="refused", code=result, **base)
            elif many:
                yield e.OrderAnswer(outcome="accepted", reduced_e2=result, **base)
            elif base["call"] == "amend":
                order_id, remaining_e2 = result
                yield e.OrderAnswer(
                    outcome="accepted", order_id=order_id, remaining_e2=remaining_e2, **base
                )
            else:
                order_id, filled_e2, remaining_e2 = result
                yield e.OrderAnswer(
                    outcome="accepted",
                    order_id=order_id,
                    filled_e2=filled_e2,
                    remaining_e2=remaining_e2,
                    **base,
                )

    def group_reply(self, write, results, told):
        call = {e.CreateGroup: "create", e.ResetGroup: "reset", e.DeleteGroup: "delete"}[
            type(write)
        ]
        base = {"now_ns": self.now_ns, "event_ticker": write.event_ticker, "call": call}
        if told:
            return e.GroupAnswer(outcome=told, **base)
        if call == "create":
            return e.GroupAnswer(outcome="accepted", order_group_id=results[0], **base)
        if results[0] is not None:
            return e.GroupAnswer(outcome="refused", code=results[0], **base)
        return e.GroupAnswer(outcome="accepted", **base)

    # News

    def fill(self, order_id, count_e2, tell=True):
        """Let someone trade with one of our orders."""
        trade = self.exchange.fill(order_id, count_e2)
        if tell:
            self.tell(trade)
        return trade

    def tell(self, trade, by_socket=True):
        seen = e.ExchangeFill(
            trade_id=trade.trade_id,
            order_id=trade.order_id,
            client_order_id=trade.client_order_id if by_socket else "",
            ticker=trade.ticker,
            side=trade.side,
            price_e4=trade.price_e4,
            count_e2=trade.count_e2,
            is_taker=False,
            fee_e6=0,
            exchange_ns=trade.at_ns,
        )
        self.send(e.FillSeen(now_ns=self.now_ns, fill=seen))

    def frame(self, held):
        self.send(e.OrderSeen(now_ns=self.now_ns, order=self.shown(held, reason=held.reason)))

    def read(self, complete=True, age_ns=0, index=0):
        """Answer the lookup at `index`: fills first, then the event's orders as of `age_ns` ago."""
        lookup = self.reads.pop(index)
        if isinstance(lookup, e.FetchSettlements):
            self.send(
                e.SettlementsRead(
                    now_ns=self.now_ns, event_ticker=lookup.event_ticker, complete=complete
                )
            )
            return
        if complete:
            for trade in self.exchange.trades:
                self.tell(trade, by_socket=False)
        orders = [
            self.shown(held)
            for held in self.exchange.snapshot(self.now_ns - age_ns)
            if held.ticker.startswith(lookup.event_ticker)
        ]
        self.send(
            e.OrdersRead(
                now_ns=self.now_ns,
                event_ticker=lookup.event_ticker,
                started_ns=self.now_ns,
                complete=complete,
                orders=tuple(orders) if complete else (),
            )
        )

    def compare(self, **moved):
        """Read the whole account as the poller does; `moved` is what it shows in place of truth."""
        self.poll()
        held, cash_e6 = {}, 1_000_000_000
        for trade in self.exchange.trades:
            signed_e2 = trade.count_e2 if trade.side == "bid" else -trade.count_e2
            held[trade.ticker] = held.get(trade.ticker, 0) + signed_e2
            cash_e6 -= signed_e2 * trade.price_e4
        base = {"now_ns": self.now_ns, "started_ns": self.now_ns}
        positions = tuple((held | moved.get("positions", {})).items())
        self.send(e.PositionsRead(**base, positions=positions))
        self.send(e.BalanceRead(**base, balance_e6=cash_e6 + moved.get("cash_e6", 0)))

    def poll(self, age_ns=0):
        """Read all fills and all resting orders."""
        for trade in self.exchange.trades:
            self.tell(trade, by_socket=False)
        orders = [
            self.shown(held)
            for held in self.exchange.snapshot(self.now_ns - age_ns)
            if held.status == "resting"
        ]
        self.send(
            e.OrdersRead(
                now_ns=self.now_ns,
                event_ticker="",
                started_ns=self.now_ns,
                complete=True,
                orders=tuple(orders),
            )
        )

    @staticmethod
    def shown(held, reason=""):
        return e.ExchangeOrder(
            order_id=held.order_id,
            client_order_id=held.client_order_id,
            ticker=held.ticker,
            side=held.side,
            price_e4=held.price_e4,
            filled_e2=held.filled_e2,
            remaining_e2=held.remaining_e2,
            status=held.status,
            reason=reason,
            expiration_ns=held.expiration_ns,
        )

    # Questions

    def settle_down(self, seconds=30):
        """Answer everything well until nothing is left to answer."""
        for _ in range(seconds * 2):
            while self.writes or self.reads:
                self.answer_all()
                while self.reads:
                    self.read()
            self.advance(0.5)
        self.answer_all()

    def states(self):
        """Return the last published state of each order."""
        return {
            message.client_order_id: message.state
            for message in self.log
            if isinstance(message, OrderUpdate)
        }

    def intents(self, action):
        return [
            message
            for message in self.log
            if isinstance(message, OrderIntent) and message.action == action
        ]

    def fills(self):
        return [message for message in self.log if isinstance(message, Fill)]

    def resting(self):
        """Return what truly rests: {(ticker, side): (price_e4, remaining_e2)}."""
        found = {}
        for held in self.exchange.resting():
            assert (held.ticker, held.side) not in found, "two orders rest for one quote"
            found[held.ticker, held.side] = (held.price_e4, held.remaining_e2)
        return found
