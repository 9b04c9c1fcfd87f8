"""Whatever a connection loses, repeats or garbles: a book that is not stale is right."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from libs.kalshi.ws import BOOKS, KalshiStream
from libs.kalshi.ws_events import Command, Delta, Gap, Reconnect, Snapshot, StreamEvent

TICKERS = ("T1", "T2", "T3")
S = 1_000_000_000
Book = dict[tuple[str, int], int]


def encode(**fields: Any) -> str:
    return msgspec.json.encode(fields).decode()


class FeedMachine(RuleBasedStateMachine):
    """A true exchange with one subscription, a lossy line, and a consumer that keeps books."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = KalshiStream()
        self.truth: dict[str, Book] = {ticker: {} for ticker in TICKERS}
        self.held: dict[str, Book] = {}
        self.now_ns = 0
        self.sid = 0
        self.seq = 0
        self.open = False
        self.behind: set[str] = set()
        self.line: list[str] = []
        self.last_frame = ""
        self.stream.want(BOOKS, TICKERS, now_ns=0)
        self.connect()

    def connect(self) -> None:
        self.line.clear()
        self.take(self.stream.on_disconnected("machine"))
        self.take(self.stream.on_connected(self.now_ns))

    def take(self, events: list[StreamEvent]) -> None:
        for event in events:
            if isinstance(event, Snapshot):
                self.held[event.ticker] = {("bid", p): c for p, c in event.bids} | {
                    ("ask", p): c for p, c in event.asks
                }
            elif isinstance(event, Delta):
                book = self.held[event.ticker]
                key = (event.side, event.price_e4)
                book[key] = book.get(key, 0) + event.change_e2
                if book[key] == 0:
                    del book[key]
            elif isinstance(event, Gap):
                for ticker in event.tickers:
                    self.held.pop(ticker, None)
            elif isinstance(event, Command):
                self.obey(msgspec.json.decode(event.text))
            elif isinstance(event, Reconnect):
                self.connect()

    def obey(self, command: dict[str, Any]) -> None:
        if command["cmd"] == "subscribe":
            self.sid += 1
            self.seq = 0
            self.open = True
            msg = {"channel": BOOKS, "sid": self.sid}
            self.line.append(encode(type="subscribed", id=command["id"], msg=msg))
        if command["cmd"] == "list_subscriptions":
            held = [{"channel": BOOKS, "sid": self.sid}] if self.open else []
            self.line.append(encode(type="ok", id=command["id"], msg=held))
        if command["cmd"] in ("subscribe", "update_subscription") and self.open:
            for ticker in command["params"]["market_tickers"]:
                self.send_snapshot(ticker)

    def send_snapshot(self, ticker: str) -> None:
        msg: dict[str, Any] = {"market_ticker": ticker, "market_id": "m", "clock": 0}
        for side, name in (("bid", "yes_dollars_fp"), ("ask", "no_dollars_fp")):
            levels = [
                [f"{price / 10_000:.4f}", f"{count / 100:.2f}"]
                for (own, price), count in self.truth[ticker].items()
                if own == side
            ]
            if levels:
                msg[name] = levels
        self.push("orderbook_snapshot", msg)

    def push(self, kind: str, msg: dict[str, Any]) -> None:
        self.seq += 1
        self.line.append(encode(type=kind, sid=self.sid, seq=self.seq, msg=msg))

    def receive(self, frame: str) -> None:
        self.last_frame = frame
        self.take(self.stream.on_text(frame, self.now_ns))

    @rule(
        ticker=st.sampled_from(TICKERS),
        side=st.sampled_from(["bid", "ask"]),
        cents=st.integers(1, 5),
        change=st.integers(-300, 300).filter(bool),
    )
    def trade_happens(self, ticker: str, side: str, cents: int, change: int) -> None:
        key = (side, cents * 100)
        book = self.truth[ticker]
        change = max(change, -book.get(key, 0))
        if change == 0:
            return
        book[key] = book.get(key, 0) + change
        if book[key] == 0:
            del book[key]
        if self.open:
            msg = {
                "market_ticker": ticker,
                "market_id": "m",
                "clock": 1,
                "price_dollars": f"{cents / 100:.4f}",
                "delta_fp": f"{change / 100:.2f}",
                "side": "yes" if side == "bid" else "no",
            }
            self.push("orderbook_delta", msg)

    @precondition(lambda self: self.line)
    @rule(count=st.integers(1, 10))
    def deliver(self, count: int) -> None:
        for _ in range(min(count, len(self.line))):
            if self.line:
                self.receive(self.line.pop(0))

    @precondition(lambda self: self.line)
    @rule()
    def lose_one(self) -> None:
        self.line.pop(0)

    @precondition(lambda self: self.line)
    @rule()
    def garble_one(self) -> None:
        frame = self.line.pop(0)
        self.receive(frame[: len(frame) // 2])

    @precondition(lambda self: self.line)
    @rule()
    def spoil_a_value(self) -> None:
        self.receive(self.line.pop(0).replace("market_ticker", "market_trader"))

    @precondition(lambda self: self.last_frame)
    @rule()
    def repeat(self) -> None:
        self.receive(self.last_frame)

    @precondition(lambda self: len(self.line) > 1)
    @rule()
    def swap_two(self) -> None:
        self.line[0], self.line[1] = self.line[1], self.line[0]

    @rule(code=st.sampled_from([10, 25]))
    def end_subscription(self, code: int) -> None:
        self.open = False
        self.line.append(encode(type="error", sid=self.sid, msg={"code": code, "msg": "m"}))

    @rule()
    def lose_connection(self) -> None:
        self.open = False
        self.connect()

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.now_ns += seconds * S
        self.take(self.stream.on_tick(self.now_ns))

    @invariant()
    def a_fresh_book_that_has_caught_up_is_the_truth(self) -> None:
        for ticker in TICKERS:
            assert self.stream.is_stale(ticker) == (ticker not in self.held)
            if not self.line and ticker in self.held and self.open:
                lost_tail = self.stream._channels[BOOKS].next_seq != self.seq + 1
                assert lost_tail or self.held[ticker] == self.truth[ticker]

    def settle(self) -> None:
        """Let a working line run for a while, with the session's ticks and probes."""
        for _ in range(10):
            self.now_ns += 31 * S
            self.take(self.stream.on_tick(self.now_ns))
            self.take([self.stream.probe()])
            for _ in range(1000):
                if not self.line:
                    break
                self.receive(self.line.pop(0))
        assert not self.line

    def teardown(self) -> None:
        """On a line that works again, everything becomes fresh and right, tails included."""
        self.settle()
        assert self.open
        assert self.held == self.truth


FeedMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestFeedMachine = FeedMachine.TestCase


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "sid", "seq", "id", "msg", "market_ticker", "price_dollars"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)
KINDS = st.sampled_from(
    ["orderbook_delta", "orderbook_snapshot", "ok", "error", "subscribed", "unsubscribed", "fill",
     "trade", "ticker", "user_order", "market_lifecycle_v2", "event_fee_update", "nonsense"]
)  # fmt: skip


def fed() -> KalshiStream:
    stream = KalshiStream()
    stream.want(BOOKS, TICKERS, now_ns=0)
    stream.on_connected(0)
    stream.on_text('{"type":"subscribed","id":1,"msg":{"channel":"orderbook_delta","sid":1}}', 0)
    return stream


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=200) | st.text(max_size=200), max_size=5))
def test_any_bytes_give_events_only(frames: list[bytes | str]) -> None:
    stream = fed()
    for frame in frames:
        assert isinstance(stream.on_text(frame, 0), list)


@settings(max_examples=300)
@given(st.lists(st.tuples(KINDS, st.integers(0, 3), st.integers(0, 5), JSON), max_size=6))
def test_any_json_gives_events_only(frames: list[tuple[str, int, int, Any]]) -> None:
    stream = fed()
    for kind, sid, seq, msg in frames:
        frame = encode(type=kind, sid=sid, seq=seq, id=1, msg=msg)
        assert isinstance(stream.on_text(frame, 0), list)
        assert isinstance(stream.on_tick(S), list)
