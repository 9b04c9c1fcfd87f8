"""The WebSocket protocol without a socket: text frames in, typed events and commands out.

    wanted ──on_connected──► subscribe sent ──subscribed──► live ──gap, bad frame──► stale
      ▲                                                      ▲                        │
      └── on_disconnected, terminal error 10 or 25           └──── snapshot ◄─────────┘ get_snapshot

`seq` counts the messages of one subscription over all its markets (kalshi-api.md §3), so a gap
makes every book of the subscription stale; their deltas are dropped until a snapshot comes.

What is lost last shows with the next message only, which a quiet market may owe us for hours. So
a quiet subscription of books is asked for the snapshot of one market after the other: its `seq`
tells of the loss, and no answer is one.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from libs.domain.money import PRICE_ONE_E4
from libs.kalshi.fields import NS_PER_MS
from libs.kalshi.wire import frames as wire
from libs.kalshi.ws_events import (
    BadFrame,
    Command,
    Delta,
    Gap,
    Reconnect,
    Snapshot,
    StreamError,
    StreamEvent,
    Subscribed,
    UnknownFrame,
)

BOOKS = "orderbook_delta"
LIFECYCLE = "market_lifecycle_v2"
SEQUENCED = frozenset({BOOKS, "trade", LIFECYCLE, "order_group_updates"})
TERMINAL_CODES = frozenset({10, 25})
UNKNOWN_SID_CODE = 7
TRANSIENT_CODES = frozenset({1, 18, 27})

TICKERS_PER_COMMAND = 500
PENDING_MAX = 1000
FAULTS_MAX = 3
FAULT_MEMORY_NS = 30_000_000_000
REQUEST_GAP_NS = 200_000_000
ANSWER_TIMEOUT_NS = 5_000_000_000
SNAPSHOT_WAIT_NS = 1_000_000_000
SNAPSHOT_WAIT_MAX_NS = 30_000_000_000
QUIET_NS = 1_000_000_000
SHOWN_CHARACTERS = 120

_encode = msgspec.json.Encoder().encode


class _Asked(NamedTuple):
    """A command that awaits its answer; `sid` is the subscription that it was about."""

    kind: str
    channel: str | None
    sid: int | None


class _Channel:
    """What is wanted of one channel, and its subscription on this connection."""

    __slots__ = (
        "all_markets",
        "asked",
        "awaiting",
        "checked_ns",
        "checks",
        "fault_at_ns",
        "faults",
        "heard_ns",
        "last_request_ns",
        "last_text",
        "name",
        "next_seq",
        "refused",
        "retry_at_ns",
        "retry_wait_ns",
        "sent_ms",
        "sid",
        "subscribed_at_ns",
        "tickers",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.all_markets = False
        self.tickers: dict[str, None] = {}
        self.faults = 0
        self.fault_at_ns = 0
        self.checks = 0
        self.forget()

    def forget(self) -> None:
        """Begin without a subscription; every book awaits a snapshot."""
        self.sid: int | None = None
        self.subscribed_at_ns: int | None = None
        self.asked: dict[str, None] = {}
        self.next_seq = 1
        self.last_text: str | bytes | None = None
        self.heard_ns = 0
        self.sent_ms: int | None = None
        self.checked_ns = 0
        self.refused = False
        self.awaiting: dict[str, None] = dict(self.tickers) if self.name == BOOKS else {}
        self.last_request_ns = 0
        self.retry_at_ns = 0
        self.retry_wait_ns = SNAPSHOT_WAIT_NS

    @property
    def is_wanted(self) -> bool:
        return self.all_markets or bool(self.tickers)


class KalshiStream:
    """The state of our subscriptions over any number of connections; no I/O, no clock.

    With `use_yes_price` (sent explicitly, never left to the default) both sides of a book come
    in YES prices; without it NO levels come in their own price and are turned here.
    """

    def __init__(self, *, use_yes_price: bool = True) -> None:
        self._use_yes_price = use_yes_price
        self._channels: dict[str, _Channel] = {}
        self._by_sid: dict[int, _Channel] = {}
        self._pending: dict[int, _Asked] = {}
        self._last_id = 0
        self._connected = False
        self.dropped_count = 0
        self._handlers: dict[type, Callable[[Any, str | bytes, int], list[StreamEvent]]] = {
            wire.DeltaFrame: self._on_delta,
            wire.SnapshotFrame: self._on_snapshot,
            wire.SubscribedFrame: self._on_subscribed,
            wire.UnsubscribedFrame: self._on_unsubscribed,
            wire.OkFrame: self._on_ok,
            wire.ErrorFrame: self._on_error,
        }

    # What is wanted

    def want(self, channel: str, tickers: Iterable[str] = (), *, now_ns: int) -> list[StreamEvent]:
        """Subscribe to markets of a channel, or to all of it when no tickers are given."""
        state = self._channels.setdefault(channel, _Channel(channel))
        names = list(tickers)
        if channel == BOOKS and not names:
            raise ValueError(f"{BOOKS}: expected market tickers, it has no 'all'")
        was_wanted = state.is_wanted
        state.all_markets = state.all_markets or not names
        fresh = [name for name in names if name not in state.tickers]
        state.tickers.update(dict.fromkeys(fresh))
        if channel == BOOKS:
            state.awaiting.update(dict.fromkeys(fresh))
        if not self._connected:
            return []
        if state.sid is not None:
            return self._add_markets(state, fresh, now_ns)
        if was_wanted and not state.refused:
            return []  # the rest is added when the first subscribe is answered
        state.refused = False
        return self._subscribe(state, now_ns)

    def drop(self, channel: str, tickers: Iterable[str]) -> list[StreamEvent]:
        """Stop wanting some markets of a channel."""
        state = self._channels.get(channel)
        gone = [] if state is None else [name for name in tickers if name in state.tickers]
        if state is None or not gone:
            return []
        for name in gone:
            del state.tickers[name]
            state.awaiting.pop(name, None)
        if state.sid is None:
            return []
        return self._delete_markets(state, [name for name in gone if name in state.asked])

    def is_stale(self, ticker: str) -> bool:
        """Tell whether the book of a market is not known to be whole and in sequence."""
        books = self._channels.get(BOOKS)
        return books is None or ticker not in books.tickers or ticker in books.awaiting

    def heard_ns(self, channel: str) -> int | None:
        """Return when a subscription last spoke, None while there is none.

        What is true of its books then is true of all that was heard: nothing before is missing.
        """
        state = self._channels.get(channel)
        return None if state is None or state.sid is None else state.heard_ns

    def books_sent_ns(self) -> int | None:
        """Return when the exchange sent the last message of the books, by its own clock."""
        state = self._channels.get(BOOKS)
        return None if state is None or state.sent_ms is None else state.sent_ms * NS_PER_MS

    # The connection

    def on_connected(self, now_ns: int) -> list[StreamEvent]:
        """Subscribe to everything wanted on a new connection."""
        self._connected = True
        self._by_sid.clear()
        self._pending.clear()
        events: list[StreamEvent] = []
        for state in self._channels.values():
            state.forget()
            state.faults = 0
            if state.is_wanted:
                events += self._subscribe(state, now_ns)
        return events

    def on_disconnected(self, reason: str) -> list[StreamEvent]:
        """Report every channel as gapped; nothing is known until the next connection."""
        self._connected = False
        self._by_sid.clear()
        self._pending.clear()
        events: list[StreamEvent] = []
        for state in self._channels.values():
            state.forget()
            if state.is_wanted:
                events.append(Gap(state.name, tuple(state.awaiting), reason, ended=True))
        return events

    def on_tick(self, now_ns: int) -> list[StreamEvent]:
        """Repeat what was not answered; call it a few times a second."""
        events: list[StreamEvent] = []
        for state in self._channels.values() if self._connected else ():
            if state.refused or not state.is_wanted:
                continue
            if state.sid is None:
                asked_ns = state.subscribed_at_ns
                if asked_ns is not None and now_ns - asked_ns >= ANSWER_TIMEOUT_NS:
                    return [*events, Reconnect(f"no answer to subscribe {state.name}")]
            elif state.awaiting and now_ns >= state.retry_at_ns:
                events += self._request_snapshots(state, now_ns)
            elif state.name == BOOKS:
                events += self._check_quiet(state, now_ns)
        return events

    def probe(self) -> Command:
        """Return a command whose answer shows that the exchange still hears us."""
        return self._command(_Asked("probe", None, None), "list_subscriptions")

    def on_text(self, text: str | bytes, now_ns: int) -> list[StreamEvent]:
        """Take one frame. Never raises on what the frame holds."""
        try:
            frame = wire.decode_frame(text)
        except (ValueError, RecursionError) as error:
            return self._on_unreadable(text, str(error), now_ns)
        handler = self._handlers.get(type(frame))
        if handler is not None:
            return handler(frame, text, now_ns)
        return self._on_passed_on(frame, text, now_ns)

    # Frames

    def _on_delta(
        self, frame: wire.DeltaFrame, text: str | bytes, now_ns: int
    ) -> list[StreamEvent]:
        channel = self._by_sid.get(frame.sid)
        if channel is None or channel.name != BOOKS:
            self.dropped_count += 1
            return []
        channel.sent_ms = frame.sent_ms
        events = self._sequence(channel, frame.seq, text, now_ns)
        message = frame.msg
        ticker = message.market_ticker
        if events is None or ticker in channel.awaiting or ticker not in channel.tickers:
            self.dropped_count += 1
            return events or []
        is_yes = message.side == "yes"
        price_e4 = message.price_e4
        if not is_yes and not self._use_yes_price:
            price_e4 = PRICE_ONE_E4 - price_e4
        events.append(
            Delta(
                ticker,
                "bid" if is_yes else "ask",
                price_e4,
                message.change_e2,
                frame.sid,
                frame.seq,
                message.clock,
                message.at_ns,
                message.client_order_id,
            )
        )
        return events

    def _on_snapshot(
        self, frame: wire.SnapshotFrame, text: str | bytes, now_ns: int
    ) -> list[StreamEvent]:
        self._answered(frame.id)
        channel = self._by_sid.get(frame.sid)
        if channel is None or channel.name != BOOKS:
            self.dropped_count += 1
            return []
        channel.sent_ms = frame.sent_ms
        events = self._sequence(channel, frame.seq, text, now_ns)
        message = frame.msg
        ticker = message.market_ticker
        if events is None or ticker not in channel.tickers:
            self.dropped_count += 1
            return events or []
        channel.awaiting.pop(ticker, None)
        channel.retry_wait_ns = SNAPSHOT_WAIT_NS
        asks = message.no
        if not self._use_yes_price:
            asks = tuple((PRICE_ONE_E4 - price_e4, count_e2) for price_e4, count_e2 in asks)
        events.append(Snapshot(ticker, message.yes, asks, frame.sid, frame.seq, message.clock))
        return events

    def _on_passed_on(self, frame: Any, text: str | bytes, now_ns: int) -> list[StreamEvent]:
        channel = self._by_sid.get(frame.sid)
        if channel is None:
            self.dropped_count += 1
            return []
        seq = getattr(frame, "seq", None)
        events = [] if seq is None else self._sequence(channel, seq, text, now_ns)
        if events is None:
            self.dropped_count += 1
            return []
        events.append(frame.msg)
        return events

    def _on_subscribed(
        self, frame: wire.SubscribedFrame, text: str | bytes, now_ns: int
    ) -> list[StreamEvent]:
        self._answered(frame.id)
        channel = self._channels.get(frame.msg.channel)
        if channel is None or not self._connected or channel.sid == frame.msg.sid:
            return []
        replaced: list[StreamEvent] = []
        if channel.sid is not None:  # what the old subscription would have said is lost
            self._by_sid.pop(channel.sid, None)
            channel.awaiting = dict(channel.tickers) if channel.name == BOOKS else {}
            tickers = tuple(channel.awaiting)
            replaced = [Gap(channel.name, tickers, "subscribed anew", ended=True)]
        channel.sid = frame.msg.sid
        channel.next_seq = 1
        channel.last_text = None
        channel.heard_ns = now_ns
        channel.retry_at_ns = now_ns + channel.retry_wait_ns
        self._by_sid[frame.msg.sid] = channel
        missing = [name for name in channel.tickers if name not in channel.asked]
        surplus = [name for name in channel.asked if name not in channel.tickers]
        return [
            *replaced,
            Subscribed(channel.name, frame.msg.sid),
            *self._add_markets(channel, missing, now_ns),
            *self._delete_markets(channel, surplus),
        ]

    def _on_unsubscribed(
        self, frame: wire.UnsubscribedFrame, text: str | bytes, now_ns: int
    ) -> list[StreamEvent]:
        """Take up a subscription again that we never gave up."""
        self._answered(frame.id)
        channel = self._by_sid.get(frame.sid)
        return [] if channel is None else self._resubscribe(channel, "unsubscribed", now_ns)

    def _on_ok(self, frame: wire.OkFrame, text: str | bytes, now_ns: int) -> list[StreamEvent]:
        asked = self._answered(frame.id)
        if asked is not None and asked.kind == "probe":
            return self._check_subscriptions(frame.msg, now_ns)
        return self._account(frame.sid, frame.seq, text, now_ns)

    def _on_error(
        self, frame: wire.ErrorFrame, text: str | bytes, now_ns: int
    ) -> list[StreamEvent]:
        asked = self._answered(frame.id)
        channel = self._by_sid.get(frame.sid) if frame.sid is not None else None
        if channel is None and asked is not None and asked.channel is not None:
            channel = self._channels.get(asked.channel)
        message = frame.msg
        tickers = message.market_tickers or ()
        if message.market_ticker is not None:
            tickers = (*tickers, message.market_ticker)
        name = None if channel is None else channel.name
        events: list[StreamEvent] = [StreamError(message.code, message.msg, name, tickers)]
        if message.code in TERMINAL_CODES:
            if channel is None and frame.sid is not None:
                return events  # of a subscription that we already left
            if channel is None:
                return [*events, Reconnect(f"error {message.code} without a subscription")]
            return events + self._resubscribe(channel, f"error {message.code}", now_ns)
        if asked is not None and channel is not None:
            is_ours = asked.sid is not None and asked.sid == channel.sid
            if message.code == UNKNOWN_SID_CODE and is_ours:
                return events + self._resubscribe(channel, "error 7", now_ns)
            channel.heard_ns = now_ns
            # A refusal that repeating cannot change; the others run into the answer timeout.
            if asked.kind == "subscribe":
                channel.refused = channel.sid is None and message.code not in TRANSIENT_CODES
        return events + self._account(frame.sid, frame.seq, text, now_ns)

    def _on_unreadable(self, text: str | bytes, reason: str, now_ns: int) -> list[StreamEvent]:
        shown = text[:SHOWN_CHARACTERS]
        shown_text = shown.decode("utf-8", "replace") if isinstance(shown, bytes) else shown
        envelope = wire.decode_envelope(text)
        if envelope is None:
            return [BadFrame(reason, shown_text)]
        events = self._account(envelope.sid, envelope.seq, text, now_ns)
        if envelope.type not in wire.KNOWN_TYPES:
            return [UnknownFrame(envelope.type[:SHOWN_CHARACTERS]), *events]
        channel = self._by_sid.get(envelope.sid) if envelope.sid is not None else None
        if channel is not None:
            events += self._lose(channel, "unreadable frame", now_ns)
        return [BadFrame(reason, shown_text), *events]

    # Sequence and recovery

    def _account(
        self, sid: int | None, seq: int | None, text: str | bytes, now_ns: int
    ) -> list[StreamEvent]:
        channel = self._by_sid.get(sid) if sid is not None else None
        if channel is None or seq is None or channel.name not in SEQUENCED:
            return []
        return self._sequence(channel, seq, text, now_ns) or []

    def _sequence(
        self, channel: _Channel, seq: int, text: str | bytes, now_ns: int
    ) -> list[StreamEvent] | None:
        """Check the order; return what a gap brings about, or None for an exact repetition."""
        channel.heard_ns = now_ns
        if seq == channel.next_seq:
            channel.next_seq = seq + 1
            channel.last_text = text
            return []
        if seq == channel.next_seq - 1 and text == channel.last_text:
            return None
        expected = channel.next_seq
        channel.next_seq = seq + 1
        channel.last_text = text
        return self._lose(channel, f"expected seq {expected}, got {seq}", now_ns)

    def _lose(self, channel: _Channel, reason: str, now_ns: int) -> list[StreamEvent]:
        """Mark all books of a channel stale and ask for snapshots, at a bounded rate."""
        if channel.name != BOOKS:
            return [Gap(channel.name, (), reason)]
        channel.awaiting = dict(channel.tickers)
        gap = Gap(channel.name, tuple(channel.awaiting), reason)
        if now_ns - channel.last_request_ns < REQUEST_GAP_NS:
            channel.retry_at_ns = channel.last_request_ns + REQUEST_GAP_NS
            return [gap]
        return [gap, *self._request_snapshots(channel, now_ns)]

    def _request_snapshots(self, channel: _Channel, now_ns: int) -> list[StreamEvent]:
        channel.last_request_ns = now_ns
        channel.retry_at_ns = now_ns + channel.retry_wait_ns
        channel.retry_wait_ns = min(2 * channel.retry_wait_ns, SNAPSHOT_WAIT_MAX_NS)
        return self._update(channel, "get_snapshot", list(channel.awaiting))

    def _check_quiet(self, channel: _Channel, now_ns: int) -> list[StreamEvent]:
        """Ask a quiet subscription for one book; give it up when it does not answer."""
        if channel.checked_ns > channel.heard_ns:
            if now_ns - channel.checked_ns < ANSWER_TIMEOUT_NS:
                return []
            return self._resubscribe(channel, "no answer to get_snapshot", now_ns)
        if now_ns - channel.heard_ns < QUIET_NS:
            return []
        sound = [name for name in channel.tickers if name not in channel.awaiting]
        if not sound:
            return []
        channel.checked_ns = now_ns
        channel.checks += 1
        return self._update(channel, "get_snapshot", [sound[channel.checks % len(sound)]])

    def _resubscribe(self, channel: _Channel, reason: str, now_ns: int) -> list[StreamEvent]:
        if channel.sid is not None:
            self._by_sid.pop(channel.sid, None)
        recent = now_ns - channel.fault_at_ns < FAULT_MEMORY_NS
        faults = channel.faults + 1 if recent else 1
        channel.forget()
        channel.faults, channel.fault_at_ns = faults, now_ns
        tickers = tuple(channel.awaiting)
        events: list[StreamEvent] = [Gap(channel.name, tickers, reason, ended=True)]
        if faults > FAULTS_MAX:
            return [*events, Reconnect(f"{channel.name}: {faults} faults within 30 s, {reason}")]
        return events + (self._subscribe(channel, now_ns) if channel.is_wanted else [])

    def _check_subscriptions(self, listing: msgspec.Raw, now_ns: int) -> list[StreamEvent]:
        """Take up again what the exchange no longer has in its list."""
        try:
            held = msgspec.json.decode(listing, type=list[wire.SubscribedMessage])
        except (ValueError, RecursionError):
            return []
        sids = {one.sid for one in held}
        lost = [state for sid, state in self._by_sid.items() if sid not in sids]
        events: list[StreamEvent] = []
        for state in lost:
            events += self._resubscribe(state, "subscription no longer listed", now_ns)
        return events

    # Commands

    def _subscribe(self, channel: _Channel, now_ns: int) -> list[StreamEvent]:
        channel.subscribed_at_ns = now_ns
        params: dict[str, Any] = {"channels": [channel.name]}
        if channel.name == BOOKS:
            params["use_yes_price"] = self._use_yes_price
        if not channel.all_markets:
            first = list(channel.tickers)[:TICKERS_PER_COMMAND]
            channel.asked.update(dict.fromkeys(first))
            params["market_tickers"] = first
        return [self._command(_Asked("subscribe", channel.name, None), "subscribe", params)]

    def _add_markets(
        self, channel: _Channel, tickers: Sequence[str], now_ns: int
    ) -> list[StreamEvent]:
        if channel.all_markets or not tickers:
            return []
        channel.asked.update(dict.fromkeys(tickers))
        channel.retry_wait_ns = SNAPSHOT_WAIT_NS
        channel.retry_at_ns = now_ns + channel.retry_wait_ns
        return self._update(channel, "add_markets", tickers)

    def _delete_markets(self, channel: _Channel, tickers: Sequence[str]) -> list[StreamEvent]:
        for name in tickers:
            channel.asked.pop(name, None)
        return self._update(channel, "delete_markets", tickers)

    def _update(self, channel: _Channel, action: str, tickers: Sequence[str]) -> list[StreamEvent]:
        assert channel.sid is not None, f"{action} on {channel.name} without a subscription"
        commands: list[StreamEvent] = []
        for first in range(0, len(tickers), TICKERS_PER_COMMAND):
            params = {
                "sids": [channel.sid],
                "market_tickers": tickers[first : first + TICKERS_PER_COMMAND],
                "action": action,
            }
            asked = _Asked(action, channel.name, channel.sid)
            commands.append(self._command(asked, "update_subscription", params))
        return commands

    def _command(self, asked: _Asked, name: str, params: dict[str, Any] | None = None) -> Command:
        self._last_id += 1
        if len(self._pending) >= PENDING_MAX:
            del self._pending[next(iter(self._pending))]
        self._pending[self._last_id] = asked
        command: dict[str, Any] = {"id": self._last_id, "cmd": name}
        if params is not None:
            command["params"] = params
        return Command(_encode(command).decode())

    def _answered(self, command_id: int | None) -> _Asked | None:
        return None if command_id is None else self._pending.pop(command_id, None)
