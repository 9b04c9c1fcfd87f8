"""The edge where messages come in: what can't be read stops here, counted and dead-lettered."""

from libs.common.bus import Bus, Stored
from libs.common.clock import NS_PER_S, Clock
from libs.common.logs import Logger, mask_payload, mask_text
from libs.common.messages import BadMessage, Cause, DeadLetter, Message, decode, envelope
from libs.common.metrics import Metrics
from libs.common.topology import Service, stream_named, stream_of_subject, subject_of

FUTURE_LIMIT_NS = 5 * NS_PER_S
NEAR = 1_000
"""How near a place by time is looked for."""
LETTERS_IN_A_ROW = 5
"""After so many bad messages in a row the rest are only counted, until a good one comes:
a flood of garbage must not fill the dead-letter stream."""


class Refused(Exception):
    """A stored message that nobody may act on; `reason` is one of three codes."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def read_stored(stored: Stored, now_ns: int) -> Message:
    """Return the message; raise `Refused` if it is undecodable, misplaced or future-dated.

    One rule for all who read a stream: what is refused when it comes is not folded later.
    """
    try:
        message = decode(stored.data)
    except BadMessage as error:
        raise Refused("undecodable", str(error)) from None
    if (subject := subject_of(message)) != stored.subject:
        raise Refused("wrong_subject", f"expected on {subject}")
    newest_ns = max(message.ts_event_ns, message.ts_pub_ns)
    ahead_ns = newest_ns - now_ns
    if ahead_ns > FUTURE_LIMIT_NS and not stream_named(stream_of_subject(subject)).timeless:
        raise Refused("future_dated", f"{ahead_ns / NS_PER_S:.1f} s ahead")
    return message


async def place_of(bus: Bus, stream: str, since_ns: int, now_ns: int) -> int:
    """Return a sequence at most `NEAR` before the first message published since a time.

    Found by halving: a stream is in order of publication, nearly. What can't be read counts as new,
    so that the place is rather too early than too late.
    """
    newest = await bus.last_per_subject(stream, stream_named(stream).subjects[0])
    low, high = 0, max((stored.sequence for stored in newest), default=0)
    while high - low > NEAR:
        middle = (low + high) // 2
        found = await bus.read(stream, middle, 1)
        try:
            old = bool(found) and read_stored(found[0], now_ns).ts_pub_ns < since_ns
        except Refused:
            old = False
        low, high = (found[0].sequence, high) if old else (low, middle)
    return low


class Inbox:
    """Open stored messages of one durable: decode, check their place and their time."""

    def __init__(self, metrics: Metrics, log: Logger, clock: Clock) -> None:
        self._metrics = metrics
        self._log = log
        self._clock = clock
        self._bad_in_a_row = 0

    def open(self, stored: Stored, service: Service) -> tuple[Message | None, DeadLetter | None]:
        """Return the message, or None and the dead letter to send (None when limited)."""
        try:
            message = read_stored(stored, self._clock.now_ns())
        except Refused as refused:
            return None, self._refuse(stored, service, refused.reason, refused.detail)
        self._bad_in_a_row = 0
        self._metrics.received_total.labels(stream_of_subject(stored.subject)).inc()
        return message, None

    def _refuse(
        self, stored: Stored, service: Service, reason: str, detail: str
    ) -> DeadLetter | None:
        stream = stream_of_subject(stored.subject)
        self._metrics.bad_total.labels(stream, reason).inc()
        self._bad_in_a_row += 1
        if self._bad_in_a_row > LETTERS_IN_A_ROW:
            return None
        payload, detail = mask_payload(stored.data), mask_text(detail)
        self._log.warning(
            "message refused",
            stream=stream,
            sequence=stored.sequence,
            reason=reason,
            detail=detail,
            payload=payload,
        )
        key = f"{service}|{stream}|{stored.sequence}"
        return DeadLetter(
            **envelope(Cause.first("dead", key, self._clock.now_ns()), service),
            stream=stream,
            subject=stored.subject[:2_000],
            sequence=stored.sequence,
            reason=f"{reason}: {detail}"[:2_000],
            payload=payload,
            size_bytes=len(stored.data),
        )
