"""The newest of everything that gates look at, per event, per series or for all. Pure."""

from typing import TypeVar

from libs.common.messages import (
    Cause,
    ClockSample,
    ExchangeStatus,
    FairLadder,
    FeedStatus,
    FeeRules,
    Heartbeat,
    LadderDefined,
    LadderSnapshot,
    LedgerStatus,
    Message,
    SeriesReadiness,
    SettledEvidence,
)
from libs.domain.eastern import NS_PER_HOUR
from services.risk.events import KillSwitchRead

T = TypeVar("T")

EVENTS_MAX = 1_024
SERIES_MAX = 256
REFERENCES_MAX = 64


class Inputs:
    """What was said last; `fold` says whose GO may have lost its ground by it."""

    def __init__(self) -> None:
        self.rungs: dict[str, dict[str, int]] = {}
        self.ladder_ids: dict[str, str] = {}
        self.targets_ns: dict[str, int] = {}
        self.levels_ns: dict[str, int] = {}
        self.books: dict[str, LadderSnapshot] = {}
        self.heartbeats: dict[str, Heartbeat] = {}
        self.clock_samples: dict[str, ClockSample] = {}
        self.exchange: ExchangeStatus | None = None
        self.kill_switch: KillSwitchRead | None = None
        self.readiness: dict[str, SeriesReadiness] = {}
        self.evidence: dict[str, SettledEvidence] = {}
        self.fee_rules: dict[str, FeeRules] = {}
        self.feeds: dict[str, FeedStatus] = {}
        self.ledger_ns: int | None = None

    def fold(self, message: Message, cause: Cause) -> str | None:
        """Remember a message; return the event to look at again, "" for all, None for none."""
        match message:
            case LadderDefined():
                if self.see_event(message.event_ticker, message.target_ns, cause.now_ns):
                    rungs = {ticker: rung for rung, ticker in enumerate(message.tickers)}
                    self.rungs[message.event_ticker] = rungs
                    self.ladder_ids[message.event_ticker] = message.ladder_id
            case LadderSnapshot():
                return self._books(message, cause.now_ns)
            case FairLadder():
                if self.see_event(message.event_ticker, message.target_ns, cause.now_ns):
                    self.level_known(message.event_ticker, message.level_ns)
            case Heartbeat():
                self.heartbeats[message.service] = message
            case ClockSample():
                _keep(self.clock_samples, message.reference, message, REFERENCES_MAX)
                return ""
            case ExchangeStatus():
                self.exchange = message
                return ""
            case FeedStatus():
                _keep(self.feeds, message.feed, message, REFERENCES_MAX)
                return None if message.ok else ""
            case LedgerStatus():
                self.ledger_ns = max(self.ledger_ns or 0, message.ts_event_ns)
            case SeriesReadiness():
                _keep(self.readiness, message.series_ticker, message, SERIES_MAX)
                return ""
            case SettledEvidence():
                _keep(self.evidence, message.series_ticker, message, SERIES_MAX)
                return ""
            case FeeRules():
                _keep(self.fee_rules, message.series_ticker, message, SERIES_MAX)
                return ""
            case _:
                pass
        return None

    def level_known(self, event_ticker: str, level_ns: int) -> None:
        """Remember the newest receive time of a level behind an event's prices; 0 is none."""
        if level_ns > self.levels_ns.get(event_ticker, 0):
            self.levels_ns[event_ticker] = level_ns

    def see_event(self, event_ticker: str, target_ns: int, now_ns: int) -> bool:
        """Make room for an event, forget past ones; return False when there is no room."""
        if event_ticker not in self.targets_ns:
            past = [name for name, at in self.targets_ns.items() if at < now_ns - NS_PER_HOUR]
            for name in past:
                tables = self.targets_ns, self.rungs, self.ladder_ids, self.levels_ns, self.books
                for table in tables:
                    table.pop(name, None)
            if len(self.targets_ns) >= EVENTS_MAX:
                return False
        self.targets_ns[event_ticker] = target_ns
        return True

    def gap_tickers(self, event_ticker: str, quoted: tuple[str, ...]) -> tuple[str, ...]:
        """Return the quoted markets whose book has a gap; all of them if rungs are unknown."""
        snapshot = self.books.get(event_ticker)
        if snapshot is None or not snapshot.stale:
            return ()
        rungs = self.rungs.get(event_ticker)
        if rungs is None or max(snapshot.stale) >= len(rungs):
            return quoted
        return tuple(ticker for ticker in quoted if rungs.get(ticker) in snapshot.stale)

    def inactive_tickers(self, event_ticker: str) -> tuple[str, ...] | None:
        """Return an event's markets that don't trade; None when that is not known."""
        snapshot = self.books.get(event_ticker)
        if snapshot is None or snapshot.inactive is None:
            return None
        if not snapshot.inactive:
            return ()
        tickers = tuple(self.rungs.get(event_ticker, ()))
        is_same = self.ladder_ids.get(event_ticker) == snapshot.ladder_id
        if not is_same or max(snapshot.inactive) >= len(tickers):
            return None
        return tuple(tickers[rung] for rung in snapshot.inactive)

    def exits_e4(self, event_ticker: str, ticker: str) -> tuple[int, int] | None:
        """Return the best bid and ask of a market; None when its book is not known."""
        snapshot = self.books.get(event_ticker)
        rung = self.rungs.get(event_ticker, {}).get(ticker)
        if snapshot is None or rung is None or rung >= len(snapshot.bid_price_e4):
            return None
        return snapshot.bid_price_e4[rung], snapshot.ask_price_e4[rung]

    def _books(self, snapshot: LadderSnapshot, now_ns: int) -> str | None:
        event_ticker = snapshot.event_ticker
        known = self.books.get(event_ticker)
        if known is not None and snapshot.recv_ns < known.recv_ns:
            return None
        if self.see_event(event_ticker, snapshot.target_ns, now_ns):
            self.books[event_ticker] = snapshot
        changed = known is None or known.inactive != snapshot.inactive
        return event_ticker if snapshot.stale or changed else None


def _keep(table: dict[str, T], key: str, value: T, most: int) -> None:
    if key in table or len(table) < most:
        table[key] = value
