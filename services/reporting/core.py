"""Reporting's state and decisions: what each market settles at, and when that is final.

P&L counts as realised only here, at settlement. A settlement that changes (a late fill, a finer
print) is published again as a correction: the newest per market holds, and its id derives from
what it says, so a restart or a repeated cause adds nothing.
"""

from collections.abc import Iterable

from msgspec import Struct

from libs.common.effects import Effect, Event, Publish, Received, SetTimer, TimerFired
from libs.common.messages import (
    Cause,
    ExchangeSettlement,
    Fill,
    IndexTick,
    LadderDefined,
    LedgerStatus,
    Message,
    OrderIntent,
    Settlement,
    derived_id,
    envelope,
)
from libs.domain.eastern import NS_PER_S as NS_PER_S
from libs.domain.families import family_of_series
from libs.domain.settlement import Fixing, to_grid
from libs.domain.strikes import Rung, StrikeType
from services.reporting.events import Inserted, Recovered, Rewound
from services.reporting.levels import LevelTrack
from services.reporting.positions import Position, difference

STATUS_EVERY_NS = NS_PER_S
RECHECK_NS = 600 * NS_PER_S
"""For so long after its target an event is settled again when a print comes."""
EVENTS_MAX = 2_000
TIMER = "settle:"
NO_LEVEL = "no_level"


class SettlementPolicy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a level is final without a later print, and how old it may be to settle by."""

    grace_s: float = 30.0
    level_age_max_s: float = 300.0

    def __post_init__(self) -> None:
        if not 0 <= self.grace_s <= 3_600:
            raise ValueError(f"grace_s: expected 0 to 3600, got {self.grace_s}")
        if not 0 <= self.level_age_max_s <= 86_400:
            raise ValueError(f"level_age_max_s: expected 0 to 86400, got {self.level_age_max_s}")


class ReportingCore:
    """Fold fills, ladders and levels; settle each traded market once its level is final."""

    def __init__(self, source: str, policy: SettlementPolicy) -> None:
        self._source = source
        self._policy = policy
        self._recovering = True
        self._last_sequence: dict[str, int] = {}
        self._definitions: dict[str, LadderDefined] = {}
        self._traded: dict[str, dict[str, None]] = {}
        self._tracks: dict[str, LevelTrack] = {}
        self._seen_fills: dict[str, set[tuple[str, str]]] = {}
        self._due: set[str] = set()
        self._moved: set[str] = set()
        self._status_ns = -STATUS_EVERY_NS
        self.positions: dict[str, Position] = {}
        self.settlements: dict[str, Settlement] = {}
        self.exchange: dict[str, ExchangeSettlement] = {}
        self.unsettled: dict[str, str] = {}
        """Events past their target that can't be settled yet, with the reason."""

    def handle(self, event: Event) -> list[Effect]:
        """Fold one event; while recovering nothing is published."""
        match event:
            case Received():
                return self._received(event)
            case Recovered():
                self._recovering = False
                effects = self._timers(self._definitions.values(), event.now_ns)
                cause = Cause.first("recovered", self._source, event.now_ns)
                return effects + self._settle_all(self._definitions, cause)
            case Inserted():
                cause = Cause.first("inserted", str(sorted(event.watermarks.items())), event.now_ns)
                due = self._take_due(event.now_ns)
                return self._settle_all(due, cause) + self._ledger_status(event, cause)
            case Rewound():
                self._last_sequence[event.stream] = event.sequence
                return []
            case TimerFired():
                cause = Cause.first("timer", event.key, event.now_ns)
                return self._settle_all([event.key.removeprefix(TIMER)], cause)
        raise AssertionError(f"reporting handles no {type(event).__name__}")

    def differences(self) -> dict[str, str]:
        """Return each market where the exchange's settlement is not ours, and how."""
        found: dict[str, str] = {}
        for ticker, theirs in sorted(self.exchange.items()):
            ours = self.settlements.get(ticker)
            position = self.positions.get(ticker)
            if ours is None:
                continue
            if position is None:
                found[ticker] = "the exchange settled a market in which we know no fill"
            elif text := difference(position, ours.result, theirs):
                found[ticker] = text
        return found

    def _received(self, event: Received) -> list[Effect]:
        if event.sequence <= self._last_sequence.get(event.stream, 0):
            return []
        self._last_sequence[event.stream] = event.sequence
        message = event.message
        self._fold(message)
        if isinstance(message, LadderDefined) and not self._recovering:
            return self._timers([message], event.now_ns)
        return []

    def _fold(self, message: Message) -> None:
        match message:
            case IndexTick():
                self._fold_tick(message)
            case LadderDefined():
                self._fold_definition(message)
            case OrderIntent():
                self._trade(message.event_ticker, message.ticker)
            case Fill():
                self._fold_fill(message)
            case ExchangeSettlement():
                self.exchange[message.ticker] = message
            case Settlement():
                self.settlements[message.ticker] = message

    def _fold_tick(self, tick: IndexTick) -> None:
        self._tracks.setdefault(tick.symbol, LevelTrack()).add(tick)
        self._moved.add(tick.symbol)

    def _fold_definition(self, message: LadderDefined) -> None:
        self._definitions[message.event_ticker] = message
        self._due.add(message.event_ticker)
        while len(self._definitions) > EVENTS_MAX:
            self._forget(min(self._definitions.values(), key=lambda d: d.target_ns).event_ticker)

    def _fold_fill(self, fill: Fill) -> None:
        key = (fill.trade_id, fill.order_id)
        seen = self._seen_fills.setdefault(fill.ticker, set())
        if key in seen:
            return
        seen.add(key)
        self._trade(fill.event_ticker, fill.ticker)
        position = self.positions.get(fill.ticker)
        if position is None:
            position = self.positions[fill.ticker] = Position(
                event_ticker=fill.event_ticker,
                series_ticker=fill.series_ticker,
                ticker=fill.ticker,
            )
        position.take(fill)

    def _trade(self, event_ticker: str, ticker: str) -> None:
        self._traded.setdefault(event_ticker, {})[ticker] = None
        self._due.add(event_ticker)

    def _forget(self, event_ticker: str) -> None:
        del self._definitions[event_ticker]
        for ticker in self._traded.pop(event_ticker, {}):
            self.positions.pop(ticker, None)
            self.settlements.pop(ticker, None)
            self.exchange.pop(ticker, None)
            self._seen_fills.pop(ticker, None)
        self.unsettled.pop(event_ticker, None)

    def _take_due(self, now_ns: int) -> list[str]:
        # A print moves the events whose target it may decide: those just past, those waiting.
        due, self._due = self._due, set()
        moved, self._moved = self._moved, set()
        for event_ticker, defined in self._definitions.items():
            recent = 0 <= now_ns - defined.target_ns <= RECHECK_NS
            if defined.symbol in moved and (recent or event_ticker in self.unsettled):
                due.add(event_ticker)
        return sorted(due)

    def _timers(self, definitions: Iterable[LadderDefined], now_ns: int) -> list[Effect]:
        grace_ns = round(self._policy.grace_s * NS_PER_S)
        return [
            SetTimer(key=TIMER + defined.event_ticker, at_ns=defined.target_ns + grace_ns)
            for defined in definitions
            if defined.symbol and defined.target_ns + grace_ns > now_ns
        ]

    def _settle_all(self, event_tickers: Iterable[str], cause: Cause) -> list[Effect]:
        if self._recovering:
            return []
        return [
            effect for event in event_tickers for effect in self._settle(event, cause)
        ]  # fmt: skip

    def _settle(self, event_ticker: str, cause: Cause) -> list[Effect]:
        defined = self._definitions.get(event_ticker)
        if defined is None or not defined.symbol or cause.now_ns < defined.target_ns:
            return []
        traded = self._traded.get(event_ticker)
        found, reason = self._final_level(defined, cause.now_ns)
        if not traded:
            return []
        if found is None:
            # What was settled stays so: after a restart old prints are no longer at hand.
            if not traded.keys() <= self.settlements.keys():
                self.unsettled[event_ticker] = reason
            return []
        self.unsettled.pop(event_ticker, None)
        effects: list[Effect] = []
        for index, ticker in enumerate(defined.tickers):
            if ticker not in traded:
                continue
            settlement = self._settlement(defined, index, found, cause)
            if settlement is not None and not _same(settlement, self.settlements.get(ticker)):
                self.settlements[ticker] = settlement
                effects.append(Publish(message=settlement))
        return effects

    def _final_level(self, defined: LadderDefined, now_ns: int) -> tuple[Fixing | None, str]:
        track = self._tracks.get(defined.symbol)
        past_grace = now_ns >= defined.target_ns + round(self._policy.grace_s * NS_PER_S)
        if not past_grace and (track is None or track.newest_ns < defined.target_ns):
            return None, "waits_for_print"
        age_max_ns = round(self._policy.level_age_max_s * NS_PER_S)
        found = None if track is None else track.fix(defined.target_ns, age_max_ns)
        return found, "" if found is not None else NO_LEVEL

    def _settlement(
        self, defined: LadderDefined, index: int, found: Fixing, cause: Cause
    ) -> Settlement | None:
        ticker = defined.tickers[index]
        try:
            rung = Rung(
                ticker,
                StrikeType(defined.strike_types[index]),
                defined.floors_e4[index],
                defined.caps_e4[index],
            )
            grid_e4 = family_of_series(defined.series_ticker).grid_e4
        except ValueError as error:  # StrikeError, UnknownFamilyError or a foreign strike type
            self.unsettled[defined.event_ticker] = f"{ticker}: {error}"
            return None
        result = "yes" if rung.settles_yes(to_grid(found.level_e4, grid_e4)) else "no"
        held = self.positions.get(ticker) or Position(
            event_ticker=defined.event_ticker, series_ticker=defined.series_ticker, ticker=ticker
        )
        content = (found.level_e4, found.printed_ns, held.position_e2, held.cost_e6, held.fee_e6)
        return Settlement(
            **envelope(
                cause,
                self._source,
                derived_id("settlement", ticker, result, *content),
                ts_event_ns=defined.target_ns,
            ),
            event_ticker=defined.event_ticker,
            series_ticker=defined.series_ticker,
            ticker=ticker,
            result="yes" if result == "yes" else "no",
            level_e4=found.level_e4,
            level_ns=found.printed_ns,
            fallback=found.fallback or "",
            position_e2=held.position_e2,
            cost_e6=held.cost_e6,
            fee_e6=held.fee_e6,
            pnl_e6=held.pnl_e6(result),
        )

    def _ledger_status(self, event: Inserted, cause: Cause) -> list[Effect]:
        if self._recovering or not event.news or event.now_ns - self._status_ns < STATUS_EVERY_NS:
            return []
        self._status_ns = event.now_ns
        status = LedgerStatus(
            **envelope(cause, self._source, derived_id(cause.id, "ledger_status")),
            watermarks=event.watermarks,
            rows=event.rows,
        )
        return [Publish(message=status)]


def _same(made: Settlement, known: Settlement | None) -> bool:
    return known is not None and known.id == made.id
