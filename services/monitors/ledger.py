"""How far the ledger is behind the streams."""

from collections import deque

from libs.common.messages import LedgerStatus, Message
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import (
    NS_PER_S,
    Newest,
    Reading,
    Whole,
    judged,
    listed,
    nanoseconds,
    no_data,
    seconds,
)

MARK_EVERY_NS = NS_PER_S
MARKS_MAX = 3_600


class LedgerLag(Whole):
    """ALERT when what was in the streams so long ago is not in the ledger yet.

    The lag is the age of the oldest moment of which the ledger lacks something.
    """

    name = "ledger_lag"

    def __init__(self, policy: MonitorsPolicy) -> None:
        self._limit_ns = nanoseconds(policy.ledger_lag_s)
        self._newest: dict[str, int] = {}
        self._marks: deque[tuple[int, dict[str, int]]] = deque(maxlen=MARKS_MAX)
        self._status = Newest(LedgerStatus)

    def seen(self, stream: str, sequence: int) -> None:
        """Note that a stream holds a message; one that lost its end begins anew, lower."""
        if sequence < self._newest.get(stream, 0):
            self._marks.clear()
        self._newest[stream] = sequence

    def fold(self, message: Message) -> None:
        self._status.hear(message)

    def judge(self, now_ns: int) -> Reading:
        if not self._marks or now_ns - self._marks[-1][0] >= MARK_EVERY_NS:
            self._marks.append((now_ns, dict(self._newest)))
        limit_s = seconds(self._limit_ns)
        if not (told := self._status.all()):
            return no_data(limit_s, "the ledger has not reported yet")
        held = told[0].watermarks
        while len(self._marks) > 1 and not _lacking(self._marks[0][1], held):
            self._marks.popleft()
        since_ns, wanted = self._marks[0]
        lacking = _lacking(wanted, held)
        lag_ns = max(0, now_ns - since_ns) if lacking else 0
        texts = [f"{name} {count} behind" for name, count in _lacking(self._newest, held).items()]
        text = listed(texts) or f"{told[0].rows} rows, nothing missing"
        return judged(lag_ns > self._limit_ns, seconds(lag_ns), limit_s, text)


def _lacking(wanted: dict[str, int], held: dict[str, int]) -> dict[str, int]:
    """Return by how many messages the ledger is behind, for each stream in which it is."""
    return {
        stream: sequence - held.get(stream, 0)
        for stream, sequence in wanted.items()
        if sequence > held.get(stream, 0)
    }
