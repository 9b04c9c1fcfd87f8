"""What feeds decides: which observations are believed, what is published and when.

Overload conflates: an index level goes out as it comes, a ladder goes out when it changed and at
most once per interval, and at least once a second while its books are vouched for, so that a
reader can tell a quiet market from a dead feed.
"""

from collections.abc import Iterable

from libs.common.clock import NS_PER_S
from libs.common.effects import Effect, Event, Publish, SetTimer, TimerFired
from libs.common.messages import (
    Cause,
    ClockSample,
    ExchangeStatus,
    FeedStatus,
    FeeRules,
    IndexTick,
    derived_id,
    envelope,
)
from libs.kalshi.wire.frames import EventFeeUpdate, Lifecycle
from libs.kalshi.ws import LIFECYCLE
from libs.kalshi.ws_events import (
    BadFrame,
    Delta,
    Gap,
    Snapshot,
    StreamError,
    StreamEvent,
    Subscribed,
    UnknownFrame,
)
from services.feeds.config import FeedsConfig
from services.feeds.events import (
    CLOCK,
    INDEX,
    LADDERS,
    MINUTES,
    STATUS,
    BooksHeard,
    CountRefused,
    DropBooks,
    ExchangeStatusRead,
    FeedAlive,
    FeedFailed,
    FeeFactsRead,
    IndexBar,
    LaddersListed,
    LadderSpec,
    ListLadders,
    MinuteBar,
    ReadFees,
    ResyncBooks,
    SkewMeasured,
    Started,
    WatchBooks,
)
from services.feeds.ladder import SOURCE, Ladder
from services.feeds.minutes import FUTURE_NS, LEVEL_MAX_E4, MINUTE_NS, Minutes
from services.feeds.statuses import MarketStatuses

WATCH_EVERY_NS = NS_PER_S
STATUS_EVERY_NS = 5 * NS_PER_S
FORGET_AFTER_NS = 60 * NS_PER_S
LADDERS_MAX = 64
JUMPS_BELIEVED = 10
"""So many newer bars in a row that agree with one another are a move, not a bad print: else one
bad first level would shut the feed for good."""
RESYNC_EVERY_NS = NS_PER_S
RESYNC_STALE_NS = 5 * NS_PER_S
"""A book that is still in doubt after this is asked for again, whatever was lost on the way."""
FACTS_HASH_LENGTH = 16
WATCH_TIMER = "watch"


class FeedState:
    """How one feed is and what was last said about it."""

    def __init__(self, stale_s: float) -> None:
        self.stale_ns = round(stale_s * NS_PER_S)
        self.newest_ns = 0
        self.losses = 0
        self.well_since_ns = 0
        self.failure = "nothing heard yet"
        self.said: tuple[bool, str] | None = None
        self.said_ns = 0

    def heard(self, newest_ns: int, now_ns: int) -> None:
        """Note an observation: the source is well, whatever it was before."""
        if self.failure:
            self.failure, self.well_since_ns = "", now_ns
        if newest_ns > self.newest_ns:
            self.newest_ns = newest_ns

    def verdict(self, now_ns: int) -> tuple[bool, str]:
        """Return whether it is well, and if not why."""
        if self.failure:
            return False, self.failure
        if now_ns - self.newest_ns > self.stale_ns:
            return False, f"nothing new within {self.stale_ns / NS_PER_S:g} s"
        return True, ""


class FeedsCore:
    """Fold what the sources say; publish what others need."""

    def __init__(self, config: FeedsConfig) -> None:
        self._config = config
        self._interval_ns = round(config.snapshot_every_s * NS_PER_S)
        self._ahead_ns = round(config.discovery_ahead_s * NS_PER_S)
        self._ladders: dict[str, Ladder] = {}
        self._ladder_of: dict[str, Ladder] = {}
        self._last_bar: dict[str, IndexBar] = {}
        self._jumped: dict[str, tuple[IndexBar, int]] = {}
        self._minutes = Minutes(config.index_symbols)
        self._statuses = MarketStatuses(round(config.status_stale_s * NS_PER_S))
        self._feeds = {
            INDEX: FeedState(config.index_stale_s),
            LADDERS: FeedState(config.books_stale_s),
            STATUS: FeedState(config.status_stale_s),
            CLOCK: FeedState(config.status_stale_s),
        }
        if config.needs_minutes:
            self._feeds[MINUTES] = FeedState(config.minutes_stale_s + MINUTE_NS / NS_PER_S)

    def handle(self, event: Event) -> list[Effect]:
        if type(event) is BooksHeard:  # a thousand of these come for one of the others
            return self._books(event)
        match event:
            case IndexBar():
                return self._bar(event)
            case MinuteBar():
                return self._minute(event)
            case Started():
                return self._watch(event.now_ns)
            case TimerFired() if event.key == WATCH_TIMER:
                return self._watch(event.now_ns)
            case TimerFired():
                ladder = self._ladders.get(event.key)
                return self._flush(ladder, event.now_ns) if ladder else []
            case LaddersListed():
                return self._listed(event)
            case FeedAlive():
                feed = self._feeds[event.feed]
                feed.heard(event.heard_ns, event.now_ns)
                feed.losses = max(feed.losses, event.losses)
                return []
            case FeedFailed():
                return self._failed(event)
            case ExchangeStatusRead():
                return self._exchange_status(event)
            case SkewMeasured():
                return self._skew(event)
            case FeeFactsRead():
                return [Publish(message=_fee_rules(event))]
            case _:
                raise AssertionError(f"feeds does not know {type(event).__name__}")

    def summary(self, now_ns: int) -> str:
        """Return one line about all feeds."""
        said = (
            f"{name} {'ok' if feed.verdict(now_ns)[0] else 'NOT OK'}"
            for name, feed in self._feeds.items()
        )
        return ", ".join(said)

    def _bar(self, bar: IndexBar) -> list[Effect]:
        last = self._last_bar.get(bar.symbol)
        refusal = self._refusal(bar, last)
        if refusal is not None:
            return [CountRefused(feed=INDEX, reason=refusal[0], detail=refusal[1])]
        self._last_bar[bar.symbol] = bar
        self._jumped.pop(bar.symbol, None)
        self._feeds[INDEX].heard(bar.end_ns, bar.now_ns)
        cause = Cause.first("bar", f"{bar.symbol}|{bar.end_ns}", bar.now_ns)
        tick = IndexTick(
            **envelope(cause, SOURCE, ts_event_ns=bar.end_ns),
            symbol=bar.symbol,
            level_e4=bar.level_e4,
            bar_start_ns=bar.start_ns,
            bar_end_ns=bar.end_ns,
            recv_ns=bar.now_ns,
            provenance=self._config.provenance,
        )
        return [Publish(message=tick)]

    def _minute(self, bar: MinuteBar) -> list[Effect]:
        if (refusal := self._minutes.take(bar)) is not None:
            return [CountRefused(feed=MINUTES, reason=refusal[0], detail=refusal[1])]
        if (feed := self._feeds.get(MINUTES)) is not None:
            feed.heard(self._minutes.newest_ns, bar.now_ns)
        return []

    def _refusal(self, bar: IndexBar, last: IndexBar | None) -> tuple[str, str] | None:
        """Return the reason and detail for which a bar is not believed."""
        if bar.symbol not in self._config.index_symbols:
            return "unknown_symbol", bar.symbol
        if not 0 < bar.level_e4 <= LEVEL_MAX_E4 or not 0 <= bar.start_ns < bar.end_ns:
            return "impossible", f"level {bar.level_e4}, {bar.start_ns} to {bar.end_ns}"
        if bar.end_ns > bar.now_ns + FUTURE_NS:
            return "future", f"ends {(bar.end_ns - bar.now_ns) / NS_PER_S:.1f} s ahead"
        if last is not None and bar.end_ns <= last.end_ns:
            return "not_newer", f"ends {(last.end_ns - bar.end_ns) / NS_PER_S:.1f} s earlier"
        if last is not None:
            jump = abs(bar.level_e4 / last.level_e4 - 1)
            if jump > self._config.level_jump_max and not self._has_moved(bar):
                return "jump", f"{jump:.0%} from the last level"
        return None

    def _has_moved(self, bar: IndexBar) -> bool:
        """Tell whether a bar far from the last level ends a row of newer ones that agree."""
        other, count = self._jumped.get(bar.symbol, (bar, 0))
        if count and bar.end_ns <= other.end_ns:
            return False
        agrees = abs(bar.level_e4 / other.level_e4 - 1) <= self._config.level_jump_max
        count = count + 1 if agrees else 1
        self._jumped[bar.symbol] = (bar, count)
        return count >= JUMPS_BELIEVED

    def _books(self, heard: BooksHeard) -> list[Effect]:
        effects: list[Effect] = []
        now_ns = heard.now_ns
        touched: dict[Ladder, None] = {}
        doubted: dict[Ladder, None] = {}
        for event in heard.events:
            if type(event) is Delta or type(event) is Snapshot:  # nearly all there are
                ladder = self._ladder_of.get(event.ticker)
                if ladder is None:
                    continue
                touched[ladder] = None
                if doubt := ladder.apply(event):
                    doubted[ladder] = None
                    effects += _resync(ladder, (event.ticker,), now_ns)
                    effects.append(CountRefused(feed=LADDERS, reason="book", detail=doubt))
            else:
                effects += self._besides(event, doubted, now_ns)
        if touched:
            self._feeds[LADDERS].heard(heard.as_of_ns, now_ns)
        for ladder in doubted:  # a book in doubt is news that does not wait
            effects += self._flush(ladder, now_ns)
        for ladder in touched:  # publish now, or when its interval is over
            due_ns = ladder.published_ns + self._interval_ns
            if now_ns >= due_ns:
                effects += self._flush(ladder, now_ns)
            elif ladder.dirty and not ladder.flush_set:
                ladder.flush_set = True
                effects.append(SetTimer(key=ladder.spec.event_ticker, at_ns=due_ns))
        return effects

    def _besides(
        self, event: StreamEvent, doubted: dict[Ladder, None], now_ns: int
    ) -> list[Effect]:
        """Fold what the stream brought besides books; note the ladders that a gap concerns."""
        match event:
            case Lifecycle():
                return self._market_changed(event, now_ns)
            case EventFeeUpdate():
                return [ReadFees()] if event.event_ticker in self._ladders else []
            case Subscribed() | Gap() if event.channel == LIFECYCLE:
                return self._changes_told(event, now_ns)
            case Gap():
                for ladder in self._ladders.values():
                    if ladder.doubt(event.tickers):
                        doubted[ladder] = None
                    ladder.ask(event.tickers, now_ns, 0)  # the stream asks for them
                reason, detail = "gap", event.reason
            case BadFrame():
                reason, detail = "bad_frame", event.reason
            case StreamError():
                reason, detail = "refused", f"{event.code} {event.message}"
            case UnknownFrame():
                reason, detail = "unknown_frame", event.type
            case _:
                return []
        return [CountRefused(feed=LADDERS, reason=reason, detail=detail)]

    def _market_changed(self, change: Lifecycle, now_ns: int) -> list[Effect]:
        """Fold a step in a market's life; what it changes does not wait."""
        ladder = self._ladder_of.get(change.ticker)
        if ladder is None:
            return []
        self._statuses.told(change.ticker, change.event_type, now_ns)
        return [*self._tell_inactive([ladder], now_ns), ListLadders()]

    def _changes_told(self, event: Subscribed | Gap, now_ns: int) -> list[Effect]:
        """Begin anew to know which markets trade: changes are told of from now on, or no more."""
        effects: list[Effect] = [ListLadders()]
        if isinstance(event, Gap):
            effects.append(CountRefused(feed=LADDERS, reason="status_gap", detail=event.reason))
        if isinstance(event, Gap) and event.ended:
            self._statuses.lost()
        else:
            self._statuses.watched(now_ns)
        return [*effects, *self._tell_inactive(self._ladders.values(), now_ns)]

    def _tell_inactive(self, ladders: Iterable[Ladder], now_ns: int) -> list[Effect]:
        """Publish those of the ladders of which other markets trade than was said last."""
        effects: list[Effect] = []
        for ladder in ladders:
            spec = ladder.spec
            if now_ns >= spec.close_ns:
                inactive: tuple[int, ...] | None = tuple(range(len(ladder.tickers)))
            else:
                inactive = self._statuses.inactive(spec.event_ticker, ladder.tickers, now_ns)
            if inactive != ladder.inactive:
                ladder.inactive, ladder.dirty = inactive, True
                if ladder.published_count:
                    effects += self._flush(ladder, now_ns)
        return effects

    def _flush(self, ladder: Ladder, now_ns: int) -> list[Effect]:
        ladder.flush_set = False
        if not ladder.dirty:
            return []
        effects: list[Effect] = []
        if crossed := ladder.crossed():
            ladder.doubt(crossed)
            effects += _resync(ladder, crossed, now_ns)
            effects.append(
                CountRefused(feed=LADDERS, reason="crossed", detail=", ".join(crossed[:5]))
            )
        key = f"{ladder.ladder_id}|{now_ns}|{ladder.published_count}"
        cause = Cause.first("ladder", key, now_ns)
        heard_ns = self._feeds[LADDERS].newest_ns
        snapshot = ladder.snapshot(cause, cause.id, heard_ns, self._config.provenance)
        ladder.dirty = False
        ladder.published_ns = now_ns
        ladder.published_count += 1
        return [*effects, Publish(message=snapshot)]

    def _watch(self, now_ns: int) -> list[Effect]:
        """Once a second: vouch for quiet books, tell how the feeds are, forget past events."""
        effects: list[Effect] = [SetTimer(key=WATCH_TIMER, at_ns=now_ns + WATCH_EVERY_NS)]
        books = self._feeds[LADDERS]
        alive, _ = books.verdict(now_ns)
        settled = alive and now_ns - books.well_since_ns >= RESYNC_STALE_NS
        if self._statuses.was_set_back(now_ns):
            self._statuses.watched(now_ns)
            effects.append(ListLadders())
        effects += self._tell_inactive(self._ladders.values(), now_ns)
        for ladder in list(self._ladders.values()):
            if now_ns > ladder.spec.target_ns + FORGET_AFTER_NS:
                effects += self._forget(ladder)
                self._statuses.forget(ladder.tickers, ladder.spec.event_ticker)
            elif alive and now_ns - ladder.published_ns >= WATCH_EVERY_NS:
                ladder.dirty = True
                effects += self._flush(ladder, now_ns)
            if settled and ladder.spec.event_ticker in self._ladders and ladder.stale:
                effects += _resync(ladder, ladder.stale_tickers(), now_ns, RESYNC_STALE_NS)
        for name, feed in self._feeds.items():
            effects += self._say(name, feed, now_ns)
        return effects

    def _say(self, name: str, feed: FeedState, now_ns: int) -> list[Effect]:
        verdict = feed.verdict(now_ns)
        if feed.said == verdict and now_ns - feed.said_ns < STATUS_EVERY_NS:
            return []
        feed.said, feed.said_ns = verdict, now_ns
        cause = Cause.first("feed", f"{name}|{now_ns}", now_ns)
        status = FeedStatus(
            **envelope(cause, SOURCE),
            feed=name,
            ok=verdict[0],
            newest_ns=feed.newest_ns,
            detail=verdict[1][:500],
            failures=feed.losses,
        )
        return [Publish(message=status)]

    def _listed(self, event: LaddersListed) -> list[Effect]:
        effects: list[Effect] = []
        for spec in event.ladders:
            if not event.now_ns < spec.target_ns <= event.now_ns + self._ahead_ns:
                continue
            known = self._ladders.get(spec.event_ticker)
            if known is None and len(self._ladders) >= LADDERS_MAX:
                detail = f"{LADDERS_MAX} ladders are followed already"
                effects.append(CountRefused(feed=LADDERS, reason="too_many", detail=detail))
                continue
            if not {self._ladder_of.get(rung.ticker) for rung in spec.rungs} <= {None, known}:
                detail = f"{spec.event_ticker} has a market of another event"
                effects.append(CountRefused(feed=LADDERS, reason="shared_market", detail=detail))
                continue
            if known is None or known.spec != spec:
                if known is not None:
                    effects += self._forget(known)
                effects += self._follow(spec, event.now_ns)
            ladder, inactive = self._ladders[spec.event_ticker], event.inactive
            self._statuses.listed(
                spec.event_ticker, ladder.tickers, inactive, event.asked_ns, event.now_ns
            )
            effects += self._tell_inactive([ladder], event.now_ns)
        return effects

    def _follow(self, spec: LadderSpec, now_ns: int) -> list[Effect]:
        ladder = Ladder(spec)
        self._ladders[spec.event_ticker] = ladder
        for ticker in ladder.tickers:
            self._ladder_of[ticker] = ladder
        ladder.ask(ladder.tickers, now_ns, 0)
        cause = Cause.first("listed", f"{ladder.ladder_id}|{now_ns}", now_ns)
        definition = ladder.definition(cause, derived_id(cause.id, "definition"))
        return [Publish(message=definition), WatchBooks(tickers=ladder.tickers)]

    def _forget(self, ladder: Ladder) -> list[Effect]:
        del self._ladders[ladder.spec.event_ticker]
        for ticker in ladder.tickers:
            del self._ladder_of[ticker]
        return [DropBooks(tickers=ladder.tickers)]

    def _failed(self, event: FeedFailed) -> list[Effect]:
        feed = self._feeds[event.feed]
        feed.failure = event.detail or "failed"
        feed.losses = max(feed.losses, event.losses)
        effects = self._say(event.feed, feed, event.now_ns)
        if event.feed == LADDERS:
            for ladder in self._ladders.values():
                ladder.doubt()
                ladder.ask(ladder.tickers, event.now_ns, 0)
                effects += self._flush(ladder, event.now_ns)
        return effects

    def _exchange_status(self, event: ExchangeStatusRead) -> list[Effect]:
        self._feeds[STATUS].heard(event.now_ns, event.now_ns)
        cause = Cause.first("exchange", str(event.now_ns), event.now_ns)
        status = ExchangeStatus(
            **envelope(cause, SOURCE),
            exchange_active=event.exchange_active,
            trading_active=event.trading_active,
        )
        return [Publish(message=status)]

    def _skew(self, event: SkewMeasured) -> list[Effect]:
        self._feeds[CLOCK].heard(event.now_ns, event.now_ns)
        cause = Cause.first("skew", f"{event.reference}|{event.now_ns}", event.now_ns)
        sample = ClockSample(
            **envelope(cause, SOURCE),
            reference=event.reference,
            skew_ns=event.skew_ns,
            uncertainty_ns=event.uncertainty_ns,
        )
        return [Publish(message=sample)]


def _fee_rules(read: FeeFactsRead) -> FeeRules:
    facts = [read.fee_type, repr(read.fee_multiplier), read.contract_terms_url]
    for one in read.changes:
        facts += [one.event_ticker, str(one.from_ns), repr(one.fee_type), repr(one.fee_multiplier)]
    cause = Cause.first("fee_facts", f"{read.series_ticker}|{read.now_ns}", read.now_ns)
    return FeeRules(
        **envelope(cause, SOURCE),
        series_ticker=read.series_ticker,
        fee_type=read.fee_type,
        fee_multiplier=read.fee_multiplier,
        contract_terms_url=read.contract_terms_url,
        facts_hash=derived_id(read.series_ticker, *facts)[:FACTS_HASH_LENGTH],
        changes=read.changes,
    )


def _resync(
    ladder: Ladder, tickers: tuple[str, ...], now_ns: int, every_ns: int = RESYNC_EVERY_NS
) -> list[Effect]:
    """Ask for these books anew, unless that was done a moment ago: no storm of requests."""
    asked = ladder.ask(tickers, now_ns, every_ns)
    return [ResyncBooks(tickers=asked)] if asked else []
