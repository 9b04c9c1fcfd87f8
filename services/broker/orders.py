"""One order and what each fact makes of it. Pure: time is an argument.

Filled counts only grow, whatever order news comes in. What says that an order *ended* is
believed at once; what says that it *rests* is believed only from a read begun long enough after
the last write, since reads lag (kalshi-api.md §2.3).
"""

from dataclasses import dataclass, field

from libs.common.messages import OPEN_STATES, OrderIntent, OrderState, OrderUpdate, Side
from services.broker.events import Call, ExchangeOrder, OrderAnswer
from services.broker.transitions import ENDED, Trigger, next_state

Key = tuple[str, Side]
"""A market's ticker and a side of its YES book: at most one quote each."""

_EXPIRY = "ExpiryCancel"
_PLAIN: frozenset[OrderState] = frozenset({"resting", "partially_filled"})


@dataclass(slots=True, kw_only=True)
class Order:
    """An order of ours. `count_e2` is its total: what is filled and what may still rest."""

    client_order_id: str
    event_ticker: str
    series_ticker: str
    ticker: str
    side: Side
    price_e4: int
    count_e2: int
    expiration_ns: int
    verdict_id: str
    intent_id: str
    correlation_id: str
    order_group_id: str = ""
    state: OrderState = "intent"
    order_id: str = ""
    filled_e2: int = 0
    fills_e2: int = 0
    """The sum of the fills that are published: never above `filled_e2`, equal when all are in."""
    in_flight: Call | None = None
    amend_price_e4: int | None = None
    amend_total_e2: int | None = None
    """What an amend asked for, until its answer or a read says what became of it."""
    amend_refused: bool = False
    cancel_asked: bool = False
    settled_ns: int = 0
    """When the last write's answer came or its outcome was lost, or the state last changed."""
    rested_ns: int = 0
    """When something last said that it rests."""
    lost_ns: int = 0
    missing_since_ns: int = 0
    missing_reads: int = 0
    retry_ns: int = 0
    exchange_ns: int = 0
    unanswered: bool = False
    """Folded from the log: an intent to change it whose outcome the log does not prove."""
    foreign: bool = False
    """Found at the exchange without an intent of ours: to be cancelled."""
    writes: int = 0
    updates: int = 0
    last_trigger: str = ""
    last_reason: str = ""
    key: Key = field(init=False)
    """The market and side that it quotes."""

    def __post_init__(self) -> None:
        self.key = (self.ticker, self.side)

    @classmethod
    def from_intent(cls, intent: OrderIntent) -> "Order":
        """Return the order that an intent to place names."""
        assert intent.action == "place", f"expected an intent to place, got {intent.action}"
        return cls(
            client_order_id=intent.client_order_id,
            event_ticker=intent.event_ticker,
            series_ticker=intent.series_ticker,
            ticker=intent.ticker,
            side=intent.side,
            price_e4=intent.price_e4,
            count_e2=intent.count_e2,
            expiration_ns=intent.expiration_ns,
            verdict_id=intent.verdict_id,
            intent_id=intent.id,
            correlation_id=intent.correlation_id,
            order_group_id=intent.order_group_id,
            settled_ns=intent.ts_pub_ns,
        )

    @property
    def is_open(self) -> bool:
        """Tell whether it rests or may come to rest."""
        return self.state in OPEN_STATES

    @property
    def total_max_e2(self) -> int:
        """Return the largest total it may have, an unresolved amend included."""
        return max(self.count_e2, self.amend_total_e2 or 0)

    def face(self) -> tuple[object, ...]:
        """Return what the outside sees of it: when this changes, an update is due."""
        return self.state, self.order_id, self.price_e4, self.count_e2, self.filled_e2

    def apply(self, trigger: Trigger, now_ns: int, reason: str = "") -> None:
        """Take one row of the table; raise `IllegalTransition` if there is none."""
        before = self.state
        self.state = next_state(before, trigger)
        self.last_trigger, self.last_reason = trigger, reason
        if self.state != before:
            self.settled_ns = now_ns
        if self.state == "unknown" and (before != "unknown" or trigger is Trigger.LOSE):
            self.lost_ns = self.settled_ns = now_ns
            self.missing_reads = self.missing_since_ns = 0
        if self.state in ENDED:
            self.amend_price_e4 = self.amend_total_e2 = None

    def begin_waits_anew(self, now_ns: int) -> None:
        """Count what seems to lie ahead as of just now: the clock was set back."""
        if max(self.settled_ns, self.lost_ns, self.missing_since_ns, self.retry_ns) > now_ns:
            self.settled_ns = min(self.settled_ns, now_ns)
            self.lost_ns = min(self.lost_ns, now_ns)
            self.retry_ns = min(self.retry_ns, now_ns)
            self.missing_reads = self.missing_since_ns = 0

    def wait_longer(self, by_ns: int) -> None:
        """Date all that waits are counted from later: the clock was set forward."""
        self.settled_ns += by_ns
        self.lost_ns += by_ns if self.lost_ns else 0
        self.missing_since_ns += by_ns if self.missing_since_ns else 0
        self.retry_ns += by_ns if self.retry_ns else 0

    def saw_filled(self, filled_e2: int, now_ns: int, reason: str) -> None:
        """Take a total of fills that someone reports; a smaller one is old news."""
        if filled_e2 <= self.filled_e2:
            return
        self._sent_by_another(now_ns)
        self.filled_e2 = filled_e2
        if filled_e2 > self.total_max_e2:  # it is larger than we know: an amend landed late
            trigger = Trigger.REAPPEAR if self.state in ENDED else Trigger.LOSE
            self.apply(trigger, now_ns, f"{reason} beyond its count")
        else:
            whole = filled_e2 == self.total_max_e2
            self.apply(Trigger.FILL_ALL if whole else Trigger.FILL_PART, now_ns, reason)

    def _sent_by_another(self, now_ns: int) -> None:
        """Lose an order that is at the exchange before we sent it.

        Ids derive from verdicts: a broker that deposed us while we were stopped sends the same.
        """
        if self.state == "intent":
            self.apply(Trigger.LOSE, now_ns, "sent by another broker")

    # Answers of writes

    def answered(self, answer: OrderAnswer, now_ns: int, retry_after_ns: int) -> None:
        """Take the outcome of the write in flight."""
        assert self.in_flight == answer.call, f"no {answer.call} in flight: {self.in_flight}"
        self.in_flight = None
        self.settled_ns = now_ns
        self.exchange_ns = max(self.exchange_ns, answer.exchange_ns)
        reason = f"{answer.call} {answer.outcome} {answer.code}".strip()
        if answer.call == "place":
            self._placed(answer, now_ns, reason)
        elif answer.outcome in ("not_sent", "rate_limited"):
            self.retry_ns = now_ns + retry_after_ns
            if answer.call == "amend":
                self.amend_price_e4 = self.amend_total_e2 = None
        elif answer.call == "amend":
            self._amended(answer, now_ns, reason)
        elif answer.outcome == "accepted" and answer.reduced_e2 == self.count_e2 - self.filled_e2:
            self.apply(Trigger.CANCEL, now_ns, reason)
        else:  # a 404, or less cancelled than we thought rested: that hides a fill, so look it up
            self.retry_ns = now_ns + retry_after_ns
            self.apply(Trigger.LOSE, now_ns, reason)

    def _placed(self, answer: OrderAnswer, now_ns: int, reason: str) -> None:
        if answer.outcome in ("not_sent", "rate_limited"):
            if self.state in ("intent", "submitted"):  # else another broker sent it meanwhile
                self.apply(Trigger.WITHHOLD, now_ns, reason)
        elif answer.outcome == "refused":
            # "Exists already" proves that this id was taken: by a request of ours that landed.
            landed = answer.code == "order_already_exists" or self.state != "submitted"
            self.apply(Trigger.LOSE if landed else Trigger.REFUSE, now_ns, reason)
        elif answer.outcome == "unknown":
            self.apply(Trigger.LOSE, now_ns, reason)
        else:
            assert answer.order_id, "an accepted order has an id"
            self.order_id = answer.order_id
            self.saw_filled(answer.filled_e2 or 0, now_ns, reason)
            if self.state in ENDED:
                return
            if answer.remaining_e2 == 0 and self.filled_e2 < self.count_e2:
                self.apply(Trigger.CANCEL, now_ns, f"{reason} self-trade")
            else:
                self._rests(now_ns, reason)

    def _amended(self, answer: OrderAnswer, now_ns: int, reason: str) -> None:
        price_e4, total_e2 = self.amend_price_e4, self.amend_total_e2
        if self.state in ENDED:
            return
        if answer.outcome == "refused" and answer.code != "not_found":
            # Proof that it rests as it was: let go of it by a cancel, do not try again.
            self.amend_refused = True
            self.amend_price_e4 = self.amend_total_e2 = None
        elif answer.outcome != "accepted" or not self._rests_as_asked(answer):
            self.apply(Trigger.LOSE, now_ns, reason)  # gone, lost, or matched: read what it is
        else:
            assert price_e4 is not None, "an amend is in flight"
            assert total_e2 is not None, "an amend is in flight"
            self.order_id = answer.order_id or self.order_id
            self.price_e4, self.count_e2 = price_e4, total_e2
            self.amend_price_e4 = self.amend_total_e2 = None
            if self.filled_e2 >= self.count_e2:
                self.apply(Trigger.FILL_ALL, now_ns, reason)
            else:
                self._rests(now_ns, reason)

    def _rests_as_asked(self, answer: OrderAnswer) -> bool:
        """Tell whether an accepted amend left at rest what it asked for.

        The exchange leaves the counts out when nothing matched and the size stayed
        (openapi AmendOrderV2Response).
        """
        if answer.filled_e2:
            return False
        if answer.remaining_e2 is None:
            return self.amend_total_e2 == self.count_e2
        return answer.remaining_e2 > 0

    def _rests(self, now_ns: int, reason: str) -> None:
        self.rested_ns = now_ns
        self.apply(Trigger.REST_PART if self.filled_e2 else Trigger.REST, now_ns, reason)

    # What the exchange shows

    def shown_by_frame(self, shown: ExchangeOrder, now_ns: int) -> None:
        """Take a frame: its end and its fills count, that it "rests" may be old."""
        self._learn(shown)
        self._sent_by_another(now_ns)
        if self._ended(shown, now_ns, "frame"):
            return
        self.saw_filled(shown.filled_e2, now_ns, "frame")
        if self.state == "rejected":  # no news of an order that was never taken can be old
            self._rests(now_ns, "frame")

    def shown_by_read(
        self,
        shown: ExchangeOrder,
        started_ns: int,
        now_ns: int,
        *,
        stale_ns: int,
        late_ns: int,
        ghost_ns: int,
    ) -> None:
        """Take an order of a read that was begun at `started_ns`.

        `late_ns` is how long after its outcome was lost an amend may still land and change what
        was read.
        """
        self._learn(shown)
        self._sent_by_another(now_ns)
        self.missing_reads = self.missing_since_ns = 0
        if self._ended(shown, now_ns, "read"):
            return
        if self.state in ENDED:
            if started_ns >= self.settled_ns + ghost_ns and shown.status == "resting":
                self.apply(Trigger.REAPPEAR, now_ns, "read")
            return
        wait_ns = late_ns if self.amend_total_e2 is not None else stale_ns
        fresh = started_ns >= self.settled_ns + wait_ns and self.in_flight is None
        if not fresh or shown.status != "resting":
            self.saw_filled(shown.filled_e2, now_ns, "read")
            return
        self.price_e4 = shown.price_e4
        self.count_e2 = shown.filled_e2 + shown.remaining_e2
        self.filled_e2 = max(self.filled_e2, shown.filled_e2)
        self.amend_price_e4 = self.amend_total_e2 = None
        if self.filled_e2 >= self.count_e2:  # the fills were told faster than the order
            self.apply(Trigger.FILL_ALL, now_ns, "read")
        else:
            self._rests(now_ns, "read")

    def missed_by_read(self, started_ns: int, now_ns: int, stale_ns: int) -> bool:
        """Take a complete read without this order; tell whether the read counts."""
        if self.in_flight is not None or started_ns < self.settled_ns + stale_ns:
            return False
        if self.state in ("resting", "partially_filled"):
            self.apply(Trigger.LOSE, now_ns, "missing from a read")
            return False
        self.missing_reads += 1
        self.missing_since_ns = self.missing_since_ns or started_ns
        return True

    def _learn(self, shown: ExchangeOrder) -> None:
        assert shown.ticker == self.ticker, f"{self.client_order_id} is not in {shown.ticker}"
        self.order_id = shown.order_id
        self.exchange_ns = max(self.exchange_ns, shown.changed_ns)

    def _ended(self, shown: ExchangeOrder, now_ns: int, source: str) -> bool:
        reason = f"{source} {shown.status} {shown.reason}".strip()
        if shown.status == "executed" and shown.filled_e2 > 0:
            self.filled_e2 = max(self.filled_e2, shown.filled_e2)
            self.count_e2 = self.filled_e2
            self.apply(Trigger.FILL_ALL, now_ns, reason)
            return True
        if shown.status != "canceled":
            return False
        self.filled_e2 = max(self.filled_e2, shown.filled_e2)
        by_time = 0 < self.expiration_ns <= now_ns and not self.cancel_asked
        expired = shown.reason == _EXPIRY or (not shown.reason and by_time)
        self.apply(Trigger.EXPIRE if expired else Trigger.CANCEL, now_ns, reason)
        return True

    # The log

    def folded(self, update: OrderUpdate) -> None:
        """Take over what an earlier life of this service published about it."""
        self.state = update.state
        self.order_id = update.order_id or self.order_id
        self.price_e4, self.count_e2 = update.price_e4, update.count_e2
        self.filled_e2 = max(self.filled_e2, update.filled_count_e2)
        self.exchange_ns = max(self.exchange_ns, update.exchange_ns)
        self.settled_ns = max(self.settled_ns, update.ts_pub_ns)
        if self.state in _PLAIN:
            self.rested_ns = max(self.rested_ns, update.ts_pub_ns)
        self.updates += 1
        if (self.price_e4, self.count_e2) == (self.amend_price_e4, self.amend_total_e2):
            self.amend_price_e4 = self.amend_total_e2 = None
            self.unanswered = self.cancel_asked
        if self.state in ENDED:
            self.amend_price_e4 = self.amend_total_e2 = None

    def folded_intent(self, intent: OrderIntent) -> None:
        """Take over an earlier intent to amend or cancel it: its outcome is not proved."""
        self.unanswered = True
        self.writes += 1
        if intent.action == "cancel":
            self.cancel_asked = True
        else:
            self.amend_price_e4, self.amend_total_e2 = intent.price_e4, intent.count_e2

    @property
    def in_doubt(self) -> bool:
        """Tell whether the log alone can't say what the exchange holds of it."""
        return self.is_open and (self.unanswered or self.state not in _PLAIN)
