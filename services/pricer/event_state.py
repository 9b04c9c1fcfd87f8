"""What the pricer knows of one event, and which inputs forbid it to quote."""

from msgspec import Struct
from numpy import float64
from numpy.typing import NDArray

from libs.common.messages import IndexTick, LadderDefined, LadderSnapshot, Quote
from libs.common.own_orders import OwnOrders
from libs.domain.distributions import Scored
from libs.domain.eastern import NS_PER_MINUTE
from libs.domain.windows import Window
from services.pricer.calibration import Calibration
from services.pricer.ladder import Books, PricedLadder
from services.pricer.models.contract import Target
from services.pricer.policy import PricerPolicy, seconds_ns

NO_WINDOW = "not_a_target"
OUTSIDE_WINDOW = "outside_window"
PAST_TARGET = "past_target"
CALIBRATION_MISSING = "calibration_missing"
CALIBRATION_STALE = "calibration_stale"
LADDER_REFUSED = "ladder_refused"
LADDER_MISMATCH = "ladder_mismatch"
STALE_LEVEL = "stale_level"
STALE_BOOKS = "stale_books"
BOOK_GAP = "book_gap"
MARKETS_INACTIVE = "markets_inactive"
NON_MONOTONE = "non_monotone_ladder"
NO_EDGE = "no_edge"


class Forecast(Struct, frozen=True, eq=False):
    """The model's distribution with each rung's probability, shape (rungs,)."""

    distribution: Scored
    probabilities: NDArray[float64]


class EventState:
    """One event: its ladder, newest books, and the proposal that stands for it."""

    def __init__(
        self,
        definition: LadderDefined,
        ladder: PricedLadder | None,
        window: Window | None,
        target: Target | None,
    ) -> None:
        self.definition = definition
        self.ladder = ladder
        self.window = window
        self.target = target
        self.snapshot: LadderSnapshot | None = None
        self.quotes: tuple[Quote, ...] = ()
        self.reasons: tuple[str, ...] | None = None
        self.expires_ns = 0
        self.proposed_ns = 0
        self.changed_ns = 0
        self.fair_ns = 0
        self.timer_ns = 0
        self.contradictions = 0
        """How often the books that `books` returned last contradict themselves."""
        self._books: Books | None = None
        self._books_key: tuple[str, int] | None = None

    def books(self, own: OwnOrders) -> Books | None:
        """Return the books of others, worked out again only when they or our orders changed."""
        if self.snapshot is None or self.ladder is None:
            return None
        event_ticker = self.definition.event_ticker
        key = (self.snapshot.id, own.last_sequence("ORDERS"))
        if key != self._books_key:
            self._books = self.ladder.books_of_others(self.snapshot, own.resting_e2(event_ticker))
            self.contradictions = self.ladder.contradictions(self._books)
            self._books_key = key
        return self._books

    def market(self, own: OwnOrders, policy: PricerPolicy, now_ns: int) -> tuple[float, ...]:
        """Return what others' quotes say each rung is worth; empty unless the books are fresh."""
        if books_reasons(self, policy, now_ns):
            return ()
        books = self.books(own)
        assert books is not None, "missing books are a reason"
        assert self.ladder is not None, "no ladder, no books"
        found = self.ladder.market(books)
        # Quotes have four decimals: more would only make the message longer.
        return () if found is None else tuple(found.clip(0.0, 1.0).round(5).tolist())

    def books_settled(self, own: OwnOrders, policy: PricerPolicy) -> bool:
        """Return whether the snapshot shows the market after our own last change.

        An older one may still show an order that is gone, which we would then outbid.
        """
        changed_ns = own.changed_ns(self.definition.event_ticker)
        if changed_ns == 0 or self.snapshot is None:
            return True
        return self.snapshot.recv_ns >= changed_ns + seconds_ns(policy.books_settle_s)


def window_reason(state: EventState, policy: PricerPolicy, now_ns: int) -> str | None:
    """Return why the clock forbids quotes, None while the window is open."""
    window = state.window
    if window is None:
        return NO_WINDOW
    if now_ns >= window.target_ns:
        return PAST_TARGET
    closes_ns = window.closes_ns - seconds_ns(policy.index_ops.cancel_buffer_s)
    return None if window.opens_ns <= now_ns < closes_ns else OUTSIDE_WINDOW


def level_age_limit_ns(state: EventState, policy: PricerPolicy, now_ns: int) -> int:
    """Return how old the level may be by our receive clock when a proposal goes out."""
    last_minute = state.definition.target_ns - now_ns <= NS_PER_MINUTE
    tight, wide = policy.level_age_last_minute_s_max, policy.level_age_s_max
    return seconds_ns(tight if last_minute else wide)


def input_reasons(
    state: EventState,
    tick: IndexTick | None,
    calibration: Calibration | None,
    policy: PricerPolicy,
    now_ns: int,
) -> list[str]:
    """Return every input that is missing, stale or wrong; an empty list lets the event quote.

    An input from ahead of our clock is as stale as an old one: the clock was set back.
    """
    reasons = []
    if calibration is None:
        reasons.append(CALIBRATION_MISSING)
    elif policy.calibration_age_days_max is not None and not (
        0.0 <= calibration.age_days(now_ns) <= policy.calibration_age_days_max
    ):  # data from ahead of our clock would know the outcome
        reasons.append(CALIBRATION_STALE)
    if state.ladder is None:
        reasons.append(LADDER_REFUSED)
    if (
        tick is None
        or abs(now_ns - tick.recv_ns) > seconds_ns(policy.level_age_s_max)
        or tick.recv_ns - tick.bar_end_ns > seconds_ns(policy.level_late_s_max)
    ):  # a delayed source sends old levels on time: they are old all the same
        reasons.append(STALE_LEVEL)
    return reasons + books_reasons(state, policy, now_ns)


def books_reasons(state: EventState, policy: PricerPolicy, now_ns: int) -> list[str]:
    """Return why the newest books can't be used."""
    reasons, snapshot = [], state.snapshot
    if snapshot is None or abs(now_ns - snapshot.recv_ns) > seconds_ns(policy.books_age_s_max):
        reasons.append(STALE_BOOKS)
    if snapshot is not None:
        if snapshot.ladder_id != state.definition.ladder_id:
            reasons.append(LADDER_MISMATCH)
        if snapshot.stale:
            reasons.append(BOOK_GAP)
        if snapshot.inactive is None or len(snapshot.inactive) == len(snapshot.bid_price_e4):
            reasons.append(MARKETS_INACTIVE)
    return reasons
