"""What the operator's screen knows: one fold over all streams, pure."""

from collections import deque

from libs.common import messages as m
from libs.common.own_orders import OwnOrders
from libs.domain.money import PRICE_ONE_E4

RECENT_FILLS = 8


class Rung:
    """One rung as the screen shows it: strike, market, fair value, our orders and position."""

    def __init__(self, ticker: str, floor_e4: int | None, cap_e4: int | None) -> None:
        self.ticker = ticker
        self.floor_e4 = floor_e4
        self.cap_e4 = cap_e4
        self.bid_e4 = 0
        self.ask_e4 = PRICE_ONE_E4
        self.bid_count_e2 = 0
        self.ask_count_e2 = 0
        self.fair: float | None = None


class EventView:
    """One event: its ladder, the newest decision about it, our money in it."""

    def __init__(self, definition: m.LadderDefined) -> None:
        self.definition = definition
        self.rungs = [
            Rung(*columns)
            for columns in zip(
                definition.tickers, definition.floors_e4, definition.caps_e4, strict=True
            )
        ]
        self.verdict: m.Verdict | None = None
        self.proposal: m.Proposal | None = None
        self.settlements: dict[str, m.Settlement] = {}
        self.paid: dict[str, m.ExchangeSettlement] = {}
        self.cash_e6 = 0
        self.fees_e6 = 0
        self.contracts_e2 = 0
        self.traded: set[str] = set()
        self.held_e2: dict[str, int] = {}

    def take_snapshot(self, snapshot: m.LadderSnapshot) -> None:
        """Show the newest book tops."""
        if len(snapshot.bid_price_e4) != len(self.rungs):
            return
        columns = zip(
            self.rungs,
            snapshot.bid_price_e4,
            snapshot.bid_count_e2,
            snapshot.ask_price_e4,
            snapshot.ask_count_e2,
            strict=True,
        )
        for rung, bid_e4, bid_count_e2, ask_e4, ask_count_e2 in columns:
            rung.bid_e4, rung.bid_count_e2 = bid_e4, bid_count_e2
            rung.ask_e4, rung.ask_count_e2 = ask_e4, ask_count_e2

    def take_fair(self, fair: m.FairLadder) -> None:
        """Show the newest model probabilities."""
        if len(fair.probabilities) == len(self.rungs):
            for rung, probability in zip(self.rungs, fair.probabilities, strict=True):
                rung.fair = probability


class SessionView:
    """Fold messages of any stream; the screen reads the attributes."""

    def __init__(self) -> None:
        self.levels: dict[str, m.IndexTick] = {}
        self.events: dict[str, EventView] = {}
        self.own = OwnOrders()
        self.fills: deque[m.Fill] = deque(maxlen=RECENT_FILLS)
        self.fill_count = 0
        self.heartbeats: dict[str, m.Heartbeat] = {}
        self.feeds: dict[str, m.FeedStatus] = {}
        self.monitors: dict[str, m.MonitorResult] = {}
        self.exchange: m.ExchangeStatus | None = None
        self.ledger: m.LedgerStatus | None = None
        self.dead_letters = 0
        self._seen_fills: set[str] = set()

    def apply(self, message: m.Message, stream: str, sequence: int) -> None:
        """Fold one stored message."""
        self.own.apply(message, stream, sequence)
        match message:
            case m.IndexTick():
                self.levels[message.symbol] = message
            case m.LadderDefined():
                self._define(message)
            case m.LadderSnapshot() if event := self.events.get(message.event_ticker):
                event.take_snapshot(message)
            case m.FairLadder() if event := self.events.get(message.event_ticker):
                event.take_fair(message)
            case m.Proposal() if event := self.events.get(message.event_ticker):
                event.proposal = message
            case m.Verdict() if event := self.events.get(message.event_ticker):
                event.verdict = message
            case m.Fill():
                self._fill(message)
            case m.ExchangeSettlement() if event := self.events.get(message.event_ticker):
                event.paid[message.ticker] = message
            case m.Settlement() if event := self.events.get(message.event_ticker):
                event.settlements[message.ticker] = message
            case _:
                self._status(message)

    @staticmethod
    def marked_pnl_e6(event: EventView) -> int:
        """Return the P&L if our positions were closed now at the market's own prices.

        A long position is worth the bid and a short one costs the ask (nothing there: the
        worst price), so the figure never flatters. Before settlement nothing is realised.
        """
        rungs = {rung.ticker: rung for rung in event.rungs}
        value_e6 = event.cash_e6
        for ticker, count_e2 in event.held_e2.items():  # of the same fills as the cash
            rung = rungs.get(ticker)
            if count_e2 > 0:
                value_e6 += count_e2 * (rung.bid_e4 if rung and rung.bid_count_e2 else 0)
            else:
                ask_e4 = rung.ask_e4 if rung and rung.ask_count_e2 else PRICE_ONE_E4
                value_e6 += count_e2 * ask_e4
        return value_e6

    def settled_pnl_e6(self, event: EventView) -> int | None:
        """Return the settled P&L, None until every market we traded has been settled."""
        if not event.traded:
            return 0 if event.settlements or event.paid else None
        if not event.traded <= set(event.settlements):
            return None
        return sum(event.settlements[ticker].pnl_e6 for ticker in event.traded)

    def _define(self, message: m.LadderDefined) -> None:
        known = self.events.get(message.event_ticker)
        if known is None or known.definition.ladder_id != message.ladder_id:
            fresh = EventView(message)
            if known is not None:
                fresh.__dict__.update(
                    {k: v for k, v in vars(known).items() if k not in ("definition", "rungs")}
                )
            self.events[message.event_ticker] = fresh

    def _fill(self, message: m.Fill) -> None:
        if message.id in self._seen_fills:
            return
        self._seen_fills.add(message.id)
        self.fills.append(message)
        self.fill_count += 1
        if event := self.events.get(message.event_ticker):
            signed_e2 = message.count_e2 if message.side == "bid" else -message.count_e2
            event.cash_e6 -= signed_e2 * message.price_e4 + message.fee_e6
            event.fees_e6 += message.fee_e6
            event.contracts_e2 += message.count_e2
            event.traded.add(message.ticker)
            event.held_e2[message.ticker] = event.held_e2.get(message.ticker, 0) + signed_e2

    def _status(self, message: m.Message) -> None:
        match message:
            case m.Heartbeat():
                self.heartbeats[message.service] = message
            case m.FeedStatus():
                self.feeds[message.feed] = message
            case m.MonitorResult():
                self.monitors[f"{message.monitor} {message.scope}".removesuffix(" all")] = message
            case m.ExchangeStatus():
                self.exchange = message
            case m.LedgerStatus():
                self.ledger = message
            case m.DeadLetter():
                self.dead_letters += 1
