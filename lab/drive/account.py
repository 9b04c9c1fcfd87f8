"""Our account on the simulated exchange, as the broker's core sees it: calls, answers, news.

It does what `services.broker.writer`, `exchange` and `watch` do over HTTP and WebSocket, on the
exchange's own engine and in virtual time: the rate limits, the last look before a write leaves,
the way there and back. Each request reaches the engine once; none is lost (tests/sim loses them).
"""

import random
from collections.abc import Callable
from functools import partial
from itertools import takewhile

from lab.drive.account_view import answered, fill_shown, order_shown
from lab.drive.config import LabConfig
from lab.drive.latency import Line
from lab.drive.schedule import Schedule
from lab.drive.stays import Stays
from lab.exchange import model as x
from lab.exchange.engine import Engine
from libs.common.clock import NS_PER_S
from libs.common.effects import Effect, Event
from libs.kalshi import endpoints as at
from libs.kalshi.endpoints import Endpoint
from libs.kalshi.rate import NEVER_NS, RateBudget
from services.broker import events as e
from services.broker.config import BrokerConfig

OURS = "alpha"
Dispatch = Callable[[Event], None]
Place = Callable[[x.NewOrder, int], x.Placed | x.Rejected]
Leave = Callable[[bool], None]
"""Let a call leave, or say that it does not because there are no tokens for it."""


class ExchangeAccount:
    """Perform the broker's effects on the engine, and tell its core what came of them."""

    def __init__(
        self,
        engine: Engine,
        schedule: Schedule,
        lab: LabConfig,
        config: BrokerConfig,
        dispatch: Dispatch,
        dice: random.Random,
    ) -> None:
        self._engine = engine
        self._schedule = schedule
        self._dispatch = dispatch
        self._poll_ns = round(config.poll_s * NS_PER_S)
        self._overlap_ns = round(config.fills_overlap_s * NS_PER_S)
        self._wait_ns = round(config.token_wait_s * NS_PER_S)
        self._intent_ns = round(lab.latency.intent_s * NS_PER_S)
        latency = lab.latency
        self._there = Line(latency.request_s, latency.jitter, dice)
        self._back = Line(latency.request_s, latency.jitter, dice)
        self._socket = Line(latency.frame_s, latency.jitter, dice)
        self._budget = RateBudget(
            lab.account_limits(), None, config.cancel_reserve_tokens, schedule.now_ns
        )
        self.stays = Stays(engine)
        self._stop_ns = 0
        self.calls = 0
        self.place: Place = partial(engine.place, OURS)
        """How an order of ours gets onto the engine."""

    # What happens at the exchange

    def take(self, event: x.Event) -> None:
        """Hear one event of the engine; ours go out on the account's socket."""
        match event:
            case x.OrderChanged() if event.order.account == OURS:
                self.stays.note(event.order, event.reason)
                self._frame(self._order_seen, order_shown(event.order, str(event.reason)))
            case x.Filled() if event.account == OURS:
                self._frame(self._fill_seen, fill_shown(event))
            case x.GroupChanged() if event.account == OURS:
                self._frame(self._group_seen, event.group_id, str(event.event_type))
            case _:
                pass

    def _frame(self, call: Callable[..., None], *arguments: object) -> None:
        self._schedule.at(self._socket.arrival_ns(self._schedule.now_ns), call, *arguments)

    def _order_seen(self, order: e.ExchangeOrder) -> None:
        self._dispatch(e.OrderSeen(now_ns=self._schedule.now_ns, order=order))

    def _fill_seen(self, fill: e.ExchangeFill) -> None:
        self._dispatch(e.FillSeen(now_ns=self._schedule.now_ns, fill=fill))

    def _group_seen(self, group_id: str, change: str) -> None:
        now_ns = self._schedule.now_ns
        self._dispatch(e.GroupSeen(now_ns=now_ns, order_group_id=group_id, change=change))

    # What the broker asks for

    def perform(self, effect: Effect) -> None:
        """Start one effect of the broker's core."""
        match effect:
            case e.SubmitOrder():
                self._send(at.CREATE_ORDER, 1, self._intent_ns, partial(self._submit, effect))
            case e.AmendOrder():
                self._send(at.AMEND_ORDER, 1, self._intent_ns, partial(self._amend, effect))
            case e.CancelOrders():
                count = len(effect.targets)
                self._send(at.BATCH_CANCEL, count, self._intent_ns, partial(self._cancel, effect))
            case e.CancelEverything():
                self._send(at.CANCEL_ALL, 1, 0, partial(self._cancel_everything, effect))
            case e.CreateGroup():
                self._send(at.CREATE_GROUP, 1, 0, partial(self._create_group, effect))
            case e.ResetGroup():
                self._send(at.RESET_GROUP, 1, 0, partial(self._change_group, effect))
            case e.DeleteGroup():
                self._send(at.DELETE_GROUP, 1, 0, partial(self._change_group, effect))
            case e.LookupOrders():
                self._send(at.ORDERS, 1, 0, partial(self._look_up, effect))
            case e.FetchSettlements():
                self._send(at.SETTLEMENTS, 1, 0, partial(self._payouts, effect))
            case e.Alert() | e.Stopped():
                pass
            case _:
                raise AssertionError(f"no one performs {type(effect).__name__}")

    def _send(self, endpoint: Endpoint, items: int, after_ns: int, call: Leave) -> None:
        """Take the call's tokens as soon as there are some; without any it is not sent."""
        now_ns = self._schedule.now_ns
        latest_ns = now_ns + self._wait_ns
        self._schedule.at(now_ns + after_ns, self._take_tokens, endpoint, items, latest_ns, call)

    def _take_tokens(self, endpoint: Endpoint, items: int, latest_ns: int, call: Leave) -> None:
        now_ns, budget = self._schedule.now_ns, self._budget
        if budget.take(endpoint, now_ns, items):
            self.calls += 1
            call(True)
            return
        wait_ns = budget.wait_ns(endpoint, now_ns, items)
        if wait_ns >= NEVER_NS or now_ns + wait_ns > latest_ns:
            call(False)
            return
        self._schedule.at(now_ns + wait_ns, self._take_tokens, endpoint, items, latest_ns, call)

    def _request(self, work: Callable[..., None], *arguments: object) -> None:
        """Let the engine do something when the request has arrived there."""
        arrives_ns = self._there.arrival_ns(self._schedule.now_ns)
        self._schedule.at(arrives_ns, work, *arguments)

    def _reply(self, event: Callable[[int], Event]) -> None:
        """Hand the core an event when the answer is back; made from the time of then."""
        arrives_ns = self._back.arrival_ns(self._schedule.now_ns)
        self._schedule.at(arrives_ns, lambda: self._dispatch(event(self._schedule.now_ns)))

    def _answer(
        self, call: e.Call, client_order_id: str, outcome: e.Outcome, code: str = ""
    ) -> None:
        """Say at once that a write did not leave."""
        self._dispatch(
            e.OrderAnswer(
                now_ns=self._schedule.now_ns,
                call=call,
                client_order_id=client_order_id,
                outcome=outcome,
                code=code,
            )
        )

    # Writes

    def _submit(self, effect: e.SubmitOrder, sent: bool) -> None:
        now_ns = self._schedule.now_ns
        if not sent or now_ns >= effect.not_after_ns:
            code = "too late" if sent else "budget"
            self._answer("place", effect.client_order_id, "not_sent", code)
            return
        self._dispatch(e.WriteStarted(now_ns=now_ns, client_order_id=effect.client_order_id))
        self._request(self._place, effect)

    def _place(self, effect: e.SubmitOrder) -> None:
        order = x.NewOrder(
            ticker=effect.ticker,
            side=effect.side,
            price_e4=effect.price_e4,
            count_e2=effect.count_e2,
            client_order_id=effect.client_order_id,
            post_only=True,
            cancel_on_pause=True,
            expiration_ns=effect.expiration_ns,
            group_id=effect.order_group_id or None,
        )
        placed = self.place(order, self._schedule.now_ns)
        if isinstance(placed, x.Placed):
            self.stays.begin(placed.order_id)
        self._reply(lambda now_ns: answered("place", effect.client_order_id, placed, now_ns))

    def _amend(self, effect: e.AmendOrder, sent: bool) -> None:
        if not sent or self._schedule.now_ns >= effect.not_after_ns:
            code = "too late" if sent else "budget"
            self._answer("amend", effect.client_order_id, "not_sent", code)
            return
        self._request(self._change, effect)

    def _change(self, effect: e.AmendOrder) -> None:
        change = x.Amendment(
            ticker=effect.ticker,
            side=effect.side,
            price_e4=effect.price_e4,
            count_e2=effect.total_e2,
        )
        placed = self._engine.amend(OURS, effect.order_id, change, self._schedule.now_ns)
        if isinstance(placed, x.Placed):
            self.stays.begin(placed.order_id)
        self._reply(lambda now_ns: answered("amend", effect.client_order_id, placed, now_ns))

    def _cancel(self, effect: e.CancelOrders, sent: bool) -> None:
        if not sent:
            for target in effect.targets:
                self._answer("cancel", target.client_order_id, "not_sent", "budget")
            return
        self._request(self._cancel_there, effect)

    def _cancel_there(self, effect: e.CancelOrders) -> None:
        now_ns = self._schedule.now_ns
        for target in effect.targets:
            reduced = self._engine.cancel(OURS, target.order_id, now_ns)
            self._reply_cancel(target.client_order_id, reduced)

    def _reply_cancel(self, client_order_id: str, reduced: x.Reduced | x.Rejected) -> None:
        self._reply(lambda now_ns: answered("cancel", client_order_id, reduced, now_ns))

    def _cancel_everything(self, effect: e.CancelEverything, sent: bool) -> None:
        del effect
        if not sent:
            self._reply(lambda now_ns: e.EverythingCancelled(now_ns=now_ns, outcome="not_sent"))
            return
        self._request(self._cancel_all)

    def _cancel_all(self) -> None:
        self._engine.cancel_all(OURS, self._schedule.now_ns)
        self._reply(lambda now_ns: e.EverythingCancelled(now_ns=now_ns, outcome="accepted"))

    def _create_group(self, effect: e.CreateGroup, sent: bool) -> None:
        if not sent:
            self._group_answer(effect.event_ticker, "create", "not_sent", "")
            return
        self._request(self._make_group, effect)

    def _make_group(self, effect: e.CreateGroup) -> None:
        self._engine.advance(self._schedule.now_ns)
        group = self._engine.groups.create(OURS, effect.limit_e2)
        self._group_answer(effect.event_ticker, "create", "accepted", group.group_id)

    def _change_group(self, effect: e.ResetGroup | e.DeleteGroup, sent: bool) -> None:
        if not sent:
            call: e.GroupCall = "reset" if isinstance(effect, e.ResetGroup) else "delete"
            self._group_answer(effect.event_ticker, call, "not_sent", "")
            return
        self._request(self._work_group, effect)

    def _work_group(self, effect: e.ResetGroup | e.DeleteGroup) -> None:
        self._engine.advance(self._schedule.now_ns)
        groups = self._engine.groups
        group = groups.get(OURS, effect.order_group_id)
        outcome: e.Outcome = "refused" if group is None else "accepted"
        if isinstance(effect, e.ResetGroup):
            if group is not None:
                groups.reset(group)
            self._group_answer(effect.event_ticker, "reset", outcome, effect.order_group_id)
            return
        if group is not None:
            groups.delete(group)
        self._group_answer(effect.event_ticker, "delete", outcome, effect.order_group_id)

    def _group_answer(
        self, event_ticker: str, call: e.GroupCall, outcome: e.Outcome, group_id: str
    ) -> None:
        self._reply(
            lambda now_ns: e.GroupAnswer(
                now_ns=now_ns,
                event_ticker=event_ticker,
                call=call,
                outcome=outcome,
                order_group_id=group_id,
            )
        )

    # Reads

    def start(self, until_ns: int) -> None:
        """Read the account every so often until that time."""
        self._stop_ns = until_ns
        self._poll()

    def _poll(self) -> None:
        """Read what rests, new fills, positions, balance."""
        self._request(self._read_account)
        if self._schedule.now_ns < self._stop_ns:
            self._schedule.at(self._schedule.now_ns + self._poll_ns, self._poll)

    def _read_account(self) -> None:
        engine, then_ns = self._engine, self._schedule.now_ns
        engine.advance(then_ns)
        resting = tuple(order_shown(order) for order in engine.resting(OURS))
        fills = self._recent_fills()
        account = engine.account(OURS)
        positions = tuple(
            (held.ticker, held.count_e2)
            for held in account.positions.values()
            if held.count_e2 and not held.settled
        )
        balance_e6 = account.available_e6

        def told() -> None:
            now_ns = self._schedule.now_ns
            for fill in fills:
                self._dispatch(e.FillSeen(now_ns=now_ns, fill=fill))
            read = e.OrdersRead(
                now_ns=now_ns, event_ticker="", started_ns=then_ns, complete=True, orders=resting
            )
            self._dispatch(read)
            self._dispatch(e.PositionsRead(now_ns=now_ns, started_ns=then_ns, positions=positions))
            self._dispatch(e.BalanceRead(now_ns=now_ns, started_ns=then_ns, balance_e6=balance_e6))

        self._schedule.at(self._back.arrival_ns(then_ns), told)

    def _recent_fills(self) -> tuple[e.ExchangeFill, ...]:
        """Return the fills of late, oldest first, as far back as the broker's reads overlap."""
        since_ns = self._schedule.now_ns - self._overlap_ns
        fills = reversed(self._engine.state.histories[OURS].fills)
        recent = list(takewhile(lambda fill: fill.at_ns >= since_ns, fills))
        return tuple(map(fill_shown, reversed(recent)))

    def _look_up(self, effect: e.LookupOrders, sent: bool) -> None:
        self._request(self._read_orders, effect, sent)

    def _read_orders(self, effect: e.LookupOrders, sent: bool) -> None:
        then_ns = self._schedule.now_ns
        self._engine.advance(then_ns)
        state = self._engine.state
        orders = tuple(
            order_shown(order)
            for order in state.histories[OURS].orders
            if state.markets[order.ticker].event.ticker == effect.event_ticker
        )
        fills = self._recent_fills()

        def told() -> None:
            now_ns = self._schedule.now_ns
            for fill in fills if sent else ():
                self._dispatch(e.FillSeen(now_ns=now_ns, fill=fill))
            self._dispatch(
                e.OrdersRead(
                    now_ns=now_ns,
                    event_ticker=effect.event_ticker,
                    started_ns=then_ns,
                    complete=sent,
                    orders=orders if sent else (),
                )
            )

        self._schedule.at(self._back.arrival_ns(then_ns), told)

    def _payouts(self, effect: e.FetchSettlements, sent: bool) -> None:
        self._request(self._read_payouts, effect, sent)

    def _read_payouts(self, effect: e.FetchSettlements, sent: bool) -> None:
        self._engine.advance(self._schedule.now_ns)
        payouts = tuple(
            e.ExchangePayout(
                ticker=paid.ticker,
                event_ticker=paid.event_ticker,
                result=paid.result,
                yes_count_e2=paid.yes_e2,
                no_count_e2=paid.no_e2,
                revenue_e6=paid.revenue_e6,
                fee_e6=paid.fees_e6,
                settled_ns=paid.at_ns,
            )
            for paid in self._engine.state.histories[OURS].settlements
            if paid.event_ticker == effect.event_ticker
        )
        self._reply(
            lambda now_ns: e.SettlementsRead(
                now_ns=now_ns,
                event_ticker=effect.event_ticker,
                complete=sent,
                payouts=payouts if sent else (),
            )
        )
