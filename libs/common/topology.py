"""The one table of who says what to whom: subjects, streams, durables, buckets, rights.

What provision creates, the NATS users and permissions, the table in `docs/topology.md` and the
tests of them all come from here. Subject strings exist nowhere else.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache

from msgspec import Struct

from libs.common import messages as m
from libs.domain.tickers import encode_token

MINUTE_S = 60
DAY_S = 86_400
MIB = 1 << 20


class Service(StrEnum):
    """Everything that has a NATS user of its own."""

    FEEDS = "feeds"
    PRICER = "pricer"
    RISK = "risk"
    BROKER = "broker"
    MONITORS = "monitors"
    REPORTING = "reporting"
    CONSOLE = "console"
    """The operator's terminal view: reads everything, writes nothing."""
    PROVISION = "provision"
    """The one-shot set-up: the only user with stream rights."""


SERVICES = (
    Service.FEEDS,
    Service.PRICER,
    Service.RISK,
    Service.BROKER,
    Service.MONITORS,
    Service.REPORTING,
)
"""The long-running services, in the order of the data's way."""


class Stream(Struct, frozen=True, kw_only=True):
    """A JetStream stream. `durable_writes` are fsynced before the acknowledgement."""

    name: str
    subjects: tuple[str, ...]
    durable_writes: bool
    max_age_s: int
    max_bytes: int
    duplicate_window_s: int = 2 * MINUTE_S
    refuse_when_full: bool = False
    """Refuse new messages at the limit instead of dropping the oldest: nothing is lost silently."""
    timeless: bool = False
    """Its messages count whatever the clock of who said them or of who reads them: what was ordered
    and filled is exposure, and to drop it would be to forget that."""


STREAMS: tuple[Stream, ...] = (
    Stream(
        name="TICKS",
        subjects=("ticks.>",),
        durable_writes=False,
        max_age_s=2 * DAY_S,
        max_bytes=1024 * MIB,
    ),
    Stream(
        name="LADDERS",
        subjects=("ladders.>",),
        durable_writes=False,
        max_age_s=2 * DAY_S,
        max_bytes=2048 * MIB,
    ),
    Stream(
        name="PROPOSALS",
        subjects=("proposals.>",),
        durable_writes=False,
        max_age_s=7 * DAY_S,
        max_bytes=1024 * MIB,
    ),
    Stream(
        name="VERDICTS",
        subjects=("verdicts.>",),
        durable_writes=True,
        max_age_s=30 * DAY_S,
        max_bytes=1024 * MIB,
        duplicate_window_s=10 * MINUTE_S,
    ),
    Stream(
        name="ORDERS",
        subjects=("orders.>",),
        durable_writes=True,
        max_age_s=90 * DAY_S,
        max_bytes=2048 * MIB,
        duplicate_window_s=30 * MINUTE_S,
        refuse_when_full=True,
        timeless=True,
    ),
    Stream(
        name="FILLS",
        subjects=("fills.>",),
        durable_writes=True,
        max_age_s=365 * DAY_S,
        max_bytes=1024 * MIB,
        duplicate_window_s=30 * MINUTE_S,
        refuse_when_full=True,
        timeless=True,
    ),
    Stream(
        name="STATUS",
        subjects=("status.>",),
        durable_writes=False,
        max_age_s=7 * DAY_S,
        max_bytes=2048 * MIB,
    ),
    Stream(
        name="DEAD",
        subjects=("dead.>",),
        durable_writes=True,
        max_age_s=30 * DAY_S,
        max_bytes=256 * MIB,
    ),
)


_STREAM_OF_NAME = {stream.name: stream for stream in STREAMS}
_STREAM_OF_HEAD = {stream.subjects[0].partition(".")[0]: stream.name for stream in STREAMS}


class Subject(Struct, frozen=True, kw_only=True):
    """One family of subjects: its pattern, its owner, its readers, what it carries."""

    pattern: str
    stream: str
    writers: tuple[Service, ...]
    readers: tuple[Service, ...]
    carries: tuple[type[m.Message], ...]


_F, _P, _R, _B, _M, _L = SERVICES

SUBJECTS: tuple[Subject, ...] = (
    Subject(
        pattern="ticks.index.*",
        stream="TICKS",
        writers=(_F,),
        readers=(_P, _M, _L),
        carries=(m.IndexTick,),
    ),
    Subject(
        pattern="ticks.clock",
        stream="TICKS",
        writers=(_F,),
        readers=(_R, _M, _L),
        carries=(m.ClockSample,),
    ),
    Subject(
        pattern="ladders.definition.*.*",
        stream="LADDERS",
        writers=(_F,),
        readers=(_P, _R, _M, _L),
        carries=(m.LadderDefined,),
    ),
    Subject(
        pattern="ladders.market.*.*",
        stream="LADDERS",
        writers=(_F,),
        readers=(_P, _R, _M, _L),
        carries=(m.LadderSnapshot,),
    ),
    Subject(
        pattern="ladders.fair.*.*",
        stream="LADDERS",
        writers=(_P,),
        readers=(_R, _M, _L),
        carries=(m.FairLadder,),
    ),
    Subject(
        pattern="proposals.*.*",
        stream="PROPOSALS",
        writers=(_P,),
        readers=(_R, _M, _L),
        carries=(m.Proposal,),
    ),
    Subject(
        pattern="verdicts.*.*",
        stream="VERDICTS",
        writers=(_R,),
        readers=(_B, _M, _L),
        carries=(m.Verdict,),
    ),
    Subject(
        pattern="orders.epoch",
        stream="ORDERS",
        writers=(_B,),
        readers=(_P, _R, _M, _L),
        carries=(m.BrokerEpoch,),
    ),
    Subject(
        pattern="orders.*.*",
        stream="ORDERS",
        writers=(_B,),
        readers=(_P, _R, _M, _L),
        carries=(m.OrderIntent, m.OrderUpdate),
    ),
    Subject(
        pattern="fills.*.*",
        stream="FILLS",
        writers=(_B,),
        readers=(_R, _M, _L),
        carries=(m.Fill, m.ExchangeSettlement),
    ),
    Subject(
        pattern="status.settlement.*.*",
        stream="STATUS",
        writers=(_L,),
        readers=(_M,),
        carries=(m.Settlement,),
    ),
    Subject(
        pattern="status.ledger",
        stream="STATUS",
        writers=(_L,),
        readers=(_R, _M),
        carries=(m.LedgerStatus,),
    ),
    Subject(
        pattern="status.heartbeat.{service}",
        stream="STATUS",
        writers=SERVICES,
        readers=(_R, _M, _L),
        carries=(m.Heartbeat,),
    ),
    Subject(
        pattern="status.feed.*",
        stream="STATUS",
        writers=(_F,),
        readers=(_R, _M, _L),
        carries=(m.FeedStatus,),
    ),
    Subject(
        pattern="status.exchange",
        stream="STATUS",
        writers=(_F,),
        readers=(_R, _M, _L),
        carries=(m.ExchangeStatus,),
    ),
    Subject(
        pattern="status.reconciliation",
        stream="STATUS",
        writers=(_B,),
        readers=(_M, _L),
        carries=(m.Reconciliation,),
    ),
    Subject(
        pattern="status.session",
        stream="STATUS",
        writers=(_B,),
        readers=(_M, _L),
        carries=(m.ExchangeSession,),
    ),
    # Before the monitors' results: who starts again reads in this order, and must know that the
    # latch was lifted before it counts who alerted of late.
    Subject(
        pattern="status.panic",
        stream="STATUS",
        writers=(_R,),
        readers=(_R, _M, _L),
        carries=(m.PanicLatch,),
    ),
    Subject(
        pattern="status.monitor.*.*",
        stream="STATUS",
        writers=(_M,),
        readers=(_R, _M, _L),
        carries=(m.MonitorResult,),
    ),
    Subject(
        pattern="status.readiness.*",
        stream="STATUS",
        writers=(_L,),
        readers=(_R, _M),
        carries=(m.SeriesReadiness,),
    ),
    Subject(
        pattern="status.evidence.*",
        stream="STATUS",
        writers=(_L,),
        readers=(_R, _M),
        carries=(m.SettledEvidence,),
    ),
    Subject(
        pattern="status.rules.*",
        stream="STATUS",
        writers=(_F,),
        readers=(_R, _M, _L),
        carries=(m.FeeRules,),
    ),
    Subject(
        pattern="status.override.*",
        stream="STATUS",
        writers=(_R,),
        readers=(_R, _M, _L),
        carries=(m.Override,),
    ),
    Subject(
        pattern="dead.{service}.*",
        stream="DEAD",
        writers=SERVICES,
        readers=(_M, _L),
        carries=(m.DeadLetter,),
    ),
)


class Bucket(Struct, frozen=True, kw_only=True):
    """A key-value bucket: small shared state, written by compare-and-set."""

    name: str
    writers: tuple[Service, ...]
    readers: tuple[Service, ...]
    ttl_s: int = 0


BUCKETS: tuple[Bucket, ...] = (
    Bucket(name="control", writers=(_B,), readers=SERVICES),
    Bucket(name="lease", writers=(_B,), readers=(_B, _M), ttl_s=10),
    Bucket(name="readiness", writers=(_L,), readers=(_R, _B)),
    Bucket(name="calibration", writers=(_P,), readers=(_P, _R)),
)
KILL_SWITCH_KEY = "kill_switch"
LEASE_KEY = "broker"

SIGN_WEBSOCKET = "sign.websocket"
"""Request/reply: feeds asks the broker for the headers of one WebSocket handshake."""


class Request(Struct, frozen=True, kw_only=True):
    """A question that services may ask one other; never on the hot path."""

    subject: str
    server: Service
    clients: tuple[Service, ...]


REQUESTS: tuple[Request, ...] = (
    Request(subject=SIGN_WEBSOCKET, server=Service.BROKER, clients=(Service.FEEDS,)),
)

_CONFLATED_STREAMS = frozenset({"TICKS", "LADDERS", "STATUS", "PROPOSALS", "VERDICTS"})
"""Streams in which the newest message per subject says it all."""


class Durable(Struct, frozen=True, kw_only=True):
    """A service's own place in a stream.

    A conflated durable starts at the newest message per subject and acknowledges a whole
    batch at once: overload drops the old values, it never queues them.
    """

    service: Service
    stream: str
    subjects: tuple[str, ...]
    conflated: bool
    ack_wait_s: int = 10
    max_ack_pending: int = 4_096
    max_deliver: int = -1
    """Never silently undelivered: a message that can't be handled is dead-lettered by us."""

    @property
    def name(self) -> str:
        """Return the name that provision gives it and its service binds to."""
        return f"{self.service}-{self.stream}"


def _durables() -> tuple[Durable, ...]:
    """Derive each service's durables from the readers of the subjects.

    Reporting has none: its place in a stream is the ledger's own watermark.
    """
    rows: list[Durable] = []
    for service in SERVICES:
        if service is Service.REPORTING:
            continue
        for stream in STREAMS:
            patterns = tuple(
                wildcard(subject.pattern)
                for subject in SUBJECTS
                if subject.stream == stream.name and service in subject.readers
            )
            if patterns:
                conflated = stream.name in _CONFLATED_STREAMS
                rows.append(
                    Durable(
                        service=service,
                        stream=stream.name,
                        subjects=patterns,
                        conflated=conflated,
                    )
                )
    return tuple(rows)


def wildcard(pattern: str) -> str:
    """Return the subject filter of a pattern, any service in place of `{service}`."""
    return pattern.replace("{service}", "*")


DURABLES: tuple[Durable, ...] = _durables()


def stream_named(name: str) -> Stream:
    """Return the stream of that name; raise KeyError otherwise."""
    return _STREAM_OF_NAME[name]


def durables_of(service: Service) -> tuple[Durable, ...]:
    """Return the durables that a service binds to."""
    return tuple(durable for durable in DURABLES if durable.service is service)


def streams_read_by(service: Service) -> tuple[str, ...]:
    """Return the names of the streams that a service may read back."""
    if service is Service.CONSOLE:
        return tuple(stream.name for stream in STREAMS)
    reads = {subject.stream for subject in SUBJECTS if service in subject.readers}
    if service is Service.BROKER:  # the broker recovers from what it wrote itself
        reads |= {"ORDERS", "FILLS"}
    if service is Service.RISK:  # what it allowed and may still become orders
        reads |= {"VERDICTS"}
    if service is Service.REPORTING:
        reads = {stream.name for stream in STREAMS}
    return tuple(stream.name for stream in STREAMS if stream.name in reads)


def _token(text: str) -> str:
    return encode_token(text)


_ROUTES: dict[type[m.Message], Callable[..., str]] = {
    m.IndexTick: lambda x: f"ticks.index.{_token(x.symbol)}",
    m.ClockSample: lambda _: "ticks.clock",
    m.LadderDefined: lambda x: f"ladders.definition.{_event(x)}",
    m.LadderSnapshot: lambda x: f"ladders.market.{_event(x)}",
    m.FairLadder: lambda x: f"ladders.fair.{_event(x)}",
    m.Proposal: lambda x: f"proposals.{_event(x)}",
    m.Verdict: lambda x: f"verdicts.{_event(x)}",
    m.BrokerEpoch: lambda _: "orders.epoch",
    m.OrderIntent: lambda x: f"orders.{_event(x)}",
    m.OrderUpdate: lambda x: f"orders.{_event(x)}",
    m.Fill: lambda x: f"fills.{_event(x)}",
    m.ExchangeSettlement: lambda x: f"fills.{_event(x)}",
    m.Settlement: lambda x: f"status.settlement.{_event(x)}",
    m.LedgerStatus: lambda _: "status.ledger",
    m.Heartbeat: lambda x: f"status.heartbeat.{_token(x.service)}",
    m.FeedStatus: lambda x: f"status.feed.{_token(x.feed)}",
    m.ExchangeStatus: lambda _: "status.exchange",
    m.Reconciliation: lambda _: "status.reconciliation",
    m.SeriesReadiness: lambda x: f"status.readiness.{_token(x.series_ticker)}",
    m.SettledEvidence: lambda x: f"status.evidence.{_token(x.series_ticker)}",
    m.FeeRules: lambda x: f"status.rules.{_token(x.series_ticker)}",
    m.Override: lambda x: f"status.override.{_token(x.nonce)}",
    m.PanicLatch: lambda _: "status.panic",
    m.ExchangeSession: lambda _: "status.session",
    m.MonitorResult: lambda x: f"status.monitor.{_token(x.monitor)}.{_token(x.scope)}",
    m.DeadLetter: lambda x: f"dead.{_token(x.source)}.{_token(x.stream)}",
}
assert set(_ROUTES) == set(m.MESSAGE_TYPES), "every message has one subject"
ORDERS_EPOCH = "orders.epoch"


def _event(message: m.Message) -> str:
    return _event_tokens(message.series_ticker, message.event_ticker)  # type: ignore[attr-defined]


@lru_cache(maxsize=4_096)
def _event_tokens(series_ticker: str, event_ticker: str) -> str:
    return f"{_token(series_ticker)}.{_token(event_ticker)}"


def subject_of(message: m.Message) -> str:
    """Return the subject that a message is published on."""
    return _ROUTES[type(message)](message)


def stream_of_subject(subject: str) -> str:
    """Return the stream that stores a subject of ours; raise KeyError for a foreign one."""
    return _STREAM_OF_HEAD[subject.partition(".")[0]]
