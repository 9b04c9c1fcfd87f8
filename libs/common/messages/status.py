"""How the system is: heartbeats, feeds, monitors, the exchange, dead letters, the kill switch."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from libs.common.messages.base import Message, MoneyE6, Name, Nanoseconds, Text

ServiceState = Literal["CONNECT", "VERIFY", "RECOVER", "READY", "DRAIN", "STOPPED"]


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat.1"):
    """A service lives and its loop turns; `detail` is its own one-line summary.

    `loop_lag_ns` is the latest that its event loop turned since the last heartbeat, in real time.
    """

    service: Name
    instance: Name
    state: ServiceState
    since_ns: Nanoseconds
    loop_lag_ns: int
    detail: Text = ""


class FeedStatus(Message, frozen=True, kw_only=True, tag="feed_status.1"):
    """How one feed is: `newest_ns` is the time of its newest observation, 0 for none yet.

    `failures` counts how often the source was lost since feeds started.
    """

    feed: Name
    ok: bool
    newest_ns: Nanoseconds
    detail: Text
    failures: int = 0


class ExchangeStatus(Message, frozen=True, kw_only=True, tag="exchange_status.1"):
    """Whether the exchange says that it is open and trades."""

    exchange_active: bool
    trading_active: bool
    detail: Text = ""


class Reconciliation(Message, frozen=True, kw_only=True, tag="reconciliation.1"):
    """The broker compared its books with the exchange's: orders, fills, positions, balance.

    `differences` are the first lines of `difference_count`; none means that all agreed.
    """

    differences: tuple[Text, ...]
    difference_count: int
    balance_e6: MoneyE6


class ExchangeSession(Message, frozen=True, kw_only=True, tag="exchange_session.1"):
    """How the broker's calls fare: refused for their key or signature, in a row up to now.

    `accepted_ns` is when the exchange last accepted a call, 0 for never in this life.
    """

    auth_errors: Annotated[int, Meta(ge=0)]
    accepted_ns: Nanoseconds


class MonitorResult(Message, frozen=True, kw_only=True, tag="monitor_result.1"):
    """What a runtime monitor sees; NO_DATA is never OK.

    `scope` is a series family, a feed, or "all". `alerted_ns` is when it last was in ALERT, 0
    for never: what counts alerts of the last half hour counts over restarts too.
    """

    monitor: Name
    scope: Text
    state: Literal["OK", "ALERT", "NO_DATA"]
    value: float | None
    threshold: float | None
    since_ns: Nanoseconds
    evidence: Text
    alerted_ns: Nanoseconds = 0


class LedgerStatus(Message, frozen=True, kw_only=True, tag="ledger_status.1"):
    """Up to which sequence of each stream the ledger is durable."""

    watermarks: dict[str, int]
    rows: int


class DeadLetter(Message, frozen=True, kw_only=True, tag="dead_letter.1"):
    """A message that could not be read, with its payload masked."""

    stream: Name
    subject: Text
    sequence: int
    reason: Text
    payload: Text
    size_bytes: int


class KillSwitch(Struct, frozen=True, kw_only=True, tag_field="type", tag="kill_switch.1"):
    """The value of KV `control/kill_switch`; absent or unreadable counts as engaged."""

    engaged: bool
    reason: Text
    by: Text
    at_ns: Nanoseconds
