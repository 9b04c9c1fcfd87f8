"""Time orderbook_delta frames on their way into feeds' books: KalshiStream, then FeedsCore.

    python tests/bench/bench_frames.py [--json OUT] [--frames 100000] [--rounds 5]

Prints JSON; the aim is 100,000 frames a second on one core (issue 3). Beside it, in turns on the
same tape, stands the least that anyone does: `json.loads` and a dict of floats, without a check.
Each figure is the best of its rounds in processor time, which other processes disturb least. At
the end all books must agree with one another.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from libs.common.effects import Publish, SetTimer, TimerFired  # noqa: E402
from libs.common.messages import LadderSnapshot, PriceRange  # noqa: E402
from libs.domain.strikes import Rung, StrikeType  # noqa: E402
from libs.kalshi.wire.frames import decode_frame  # noqa: E402
from libs.kalshi.ws import BOOKS, KalshiStream  # noqa: E402
from libs.kalshi.ws_session import TICK_EVERY_NS  # noqa: E402
from services.feeds.config import FeedsConfig  # noqa: E402
from services.feeds.core import FeedsCore  # noqa: E402
from services.feeds.events import BooksHeard, LaddersListed, LadderSpec  # noqa: E402
from tests.bench.command import parser_of, show  # noqa: E402

FRAMES_PER_S_MIN = 100_000
EVENT = "KXINXU-26OCT02H1100"
TARGET_NS = 1_790_953_200_000_000_000
START_NS = TARGET_NS - 900_000_000_000
MARKET_ID = "f5ed38e2-0991-4c8f-817e-08c4fd9cbfdb"
FRAME_EVERY_NS = 10_000
"""On the tape's own clock: the books see what 100,000 frames a second would look like."""
STRIKES_E4 = tuple(78_399_999 + 100_000 * index for index in range(60))
TICKERS = tuple(f"{EVENT}-T{strike / 10_000:.4f}" for strike in STRIKES_E4)
Tape = list[str]


def frame(kind: str, seq: int, at_ms: int, **message: Any) -> str:
    """Return one frame as the exchange writes it, newline included."""
    fields = {"type": kind, "sid": 1, "seq": seq, "sending_ts_ms": at_ms + 1, "msg": message}
    return json.dumps(fields, separators=(",", ":")) + "\n"


def snapshots() -> Tape:
    """Return the frames that begin every book, each with one level a side."""
    return [
        frame(
            "orderbook_snapshot",
            seq,
            START_NS // 1_000_000,
            market_ticker=ticker,
            market_id=MARKET_ID,
            clock=seq,
            yes_dollars_fp=[["0.0100", "50.00"]],
            no_dollars_fp=[["0.9900", "50.00"]],
        )
        for seq, ticker in enumerate(TICKERS, 1)
    ]


def deltas(count: int, seed: int = 7) -> Tape:
    """Return changes of whole and fractional counts on both sides that never cross a book."""
    rng = random.Random(seed)
    resting: dict[tuple[str, str, int], int] = {}
    tape = []
    for index in range(count):
        ticker, side = rng.choice(TICKERS), rng.choice(("yes", "no"))
        middle = 2 + TICKERS.index(ticker) % 96
        cents = rng.randint(1, middle - 1) if side == "yes" else rng.randint(middle, 99)
        key = (ticker, side, cents)
        held = resting.get(key, 0)
        if held and rng.random() < 0.5:
            change = -held if rng.random() < 0.5 else -rng.randint(1, held)
        else:
            change = rng.choice((100, 500, 1_000, 25_000, rng.randint(1, 100_000)))
        resting[key] = held + change
        at_ms = (START_NS + index * FRAME_EVERY_NS) // 1_000_000
        tape.append(
            frame(
                "orderbook_delta",
                len(TICKERS) + 1 + index,
                at_ms,
                market_ticker=ticker,
                market_id=MARKET_ID,
                clock=len(TICKERS) + 1 + index,
                price_dollars=f"{cents / 100:.4f}",
                delta_fp=f"{change / 100:.2f}",
                side=side,
                ts="2026-10-02T14:45:00.123Z",
                ts_ms=at_ms,
            )
        )
    return tape


def connected() -> KalshiStream:
    """Return a stream that is subscribed to the tape's books and has their snapshots."""
    stream = KalshiStream(use_yes_price=True)
    stream.want(BOOKS, TICKERS, now_ns=START_NS)
    stream.on_connected(START_NS)
    stream.on_text(
        '{"type":"subscribed","id":1,"msg":{"channel":"orderbook_delta","sid":1}}', START_NS
    )
    return stream


class Feed:
    """feeds without its sockets: stream, core, and the core's timers on the tape's clock."""

    def __init__(self) -> None:
        self.core = FeedsCore(
            FeedsConfig(
                service="feeds",
                nats_url="",
                nats_password_file="",
                admin_token_file="",
                index_url="",
                index_key_file="",
                exchange_rest_url="",
                exchange_ws_url="",
                raw_directory="",
                provenance="synthetic",
            )
        )
        rungs = tuple(
            Rung(ticker, StrikeType.GREATER, strike)
            for ticker, strike in zip(TICKERS, STRIKES_E4, strict=True)
        )
        spec = LadderSpec(
            event_ticker=EVENT,
            series_ticker="KXINXU",
            family="INXU",
            symbol="I:SPX",
            kind="nested",
            target_ns=TARGET_NS,
            close_ns=TARGET_NS,
            rungs=rungs,
            price_ranges=(PriceRange(0, 10_000, 100),),
        )
        self.timers: dict[str, int] = {}
        self.due_ns = self.tick_ns = START_NS
        self.published: list[LadderSnapshot] = []
        listed = LaddersListed(now_ns=START_NS, ladders=(spec,), inactive=(), asked_ns=START_NS)
        self.perform(self.core.handle(listed))
        self.stream = connected()
        for text in snapshots():
            self.hear(text, START_NS)
        self.published.clear()

    def hear(self, text: str, now_ns: int) -> None:
        """Take one frame, as the session and feeds' adapter do."""
        if events := self.stream.on_text(text, now_ns):
            heard = BooksHeard(now_ns=now_ns, events=tuple(events), as_of_ns=now_ns)
            if effects := self.core.handle(heard):
                self.perform(effects)
        if now_ns >= self.tick_ns:
            self.tick_ns = now_ns + TICK_EVERY_NS
            self.stream.on_tick(now_ns)
        if now_ns >= self.due_ns:
            self.fire(now_ns)

    def fire(self, now_ns: int) -> None:
        """Let the timers that are due go off."""
        due = [key for key, at_ns in self.timers.items() if at_ns <= now_ns]
        for key in due:
            fired = TimerFired(now_ns=now_ns, key=key, at_ns=self.timers.pop(key))
            self.perform(self.core.handle(fired))
        self.due_ns = min(self.timers.values(), default=2**63)

    def perform(self, effects: list[Any]) -> None:
        """Keep what would be published; anything that doubts a book would spoil the figure."""
        for effect in effects:
            if isinstance(effect, SetTimer):
                self.timers[effect.key] = effect.at_ns
                self.due_ns = min(self.due_ns, effect.at_ns)
            elif isinstance(effect, Publish) and isinstance(effect.message, LadderSnapshot):
                self.published.append(effect.message)
            elif type(effect).__name__ in ("CountRefused", "ResyncBooks"):
                raise AssertionError(f"the tape was doubted: {effect}")


Naive = dict[tuple[str, str], dict[float, float]]


def naive(tape: Tape) -> Naive:
    """Apply the tape with json.loads and floats."""
    books: Naive = {(ticker, side): {} for ticker in TICKERS for side in ("yes", "no")}
    for text in tape:
        message = json.loads(text)["msg"]
        side = books[message["market_ticker"], message["side"]]
        price = float(message["price_dollars"])
        left = side.get(price, 0.0) + float(message["delta_fp"])
        if left > 0.005:
            side[price] = left
        else:
            side.pop(price, None)
    return books


def check(feed: Feed, books: Naive) -> None:
    """Compare the published tops with the naive books."""
    feed.fire(feed.due_ns)
    shown = feed.published[-1]
    assert shown.stale == (), f"expected whole books, got {shown.stale} stale"
    for index, ticker in enumerate(TICKERS):
        bids = books[ticker, "yes"]
        bids[0.01] = bids.get(0.01, 0.0) + 50.0
        best = max(bids)
        found = (shown.bid_price_e4[index], shown.bid_count_e2[index])
        expected = (round(best * 10_000), round(bids[best] * 100))
        assert found == expected, f"{ticker}: expected bid {expected}, got {found}"


def rate(run: Callable[[], object], frames: int) -> tuple[float, object]:
    """Return frames a second of processor time, and what the run returned."""
    began = time.process_time()
    result = run()
    return frames / (time.process_time() - began), result


def measure(frames: int, rounds: int) -> dict[str, float | int | str]:
    """Return frames a second: the reference, decoding alone, the stream, and the whole way."""
    tape = deltas(frames)
    best = {"json_loads_dict": 0.0, "decoded": 0.0, "streamed": 0.0, "decoded_and_applied": 0.0}
    published = 0
    for _ in range(rounds):
        feed, stream = Feed(), connected()
        for text in snapshots():
            stream.on_text(text, START_NS)

        def decode() -> None:
            for text in tape:
                decode_frame(text)

        def follow(stream: KalshiStream = stream) -> None:
            for text in tape:
                stream.on_text(text, START_NS)

        def apply(feed: Feed = feed) -> None:
            now_ns = START_NS
            for text in tape:
                now_ns += FRAME_EVERY_NS
                feed.hear(text, now_ns)

        reference, books = rate(lambda: naive(tape), frames)
        found = {
            "json_loads_dict": reference,
            "decoded": rate(decode, frames)[0],
            "streamed": rate(follow, frames)[0],
            "decoded_and_applied": rate(apply, frames)[0],
        }
        assert stream.dropped_count == 0, "expected every frame of the tape in sequence"
        assert isinstance(books, dict)
        published = len(feed.published)
        check(feed, books)
        best = {name: max(best[name], value) for name, value in found.items()}
    ratio = best["decoded_and_applied"] / best["json_loads_dict"]
    return {
        "frames": frames,
        "rounds": rounds,
        "markets": len(TICKERS),
        "frame_bytes_mean": round(sum(map(len, tape)) / frames),
        "ladders_published": published,
        **{f"{name}_per_s": round(value) for name, value in best.items()},
        "decoded_and_applied_per_s_min": FRAMES_PER_S_MIN,
        "ratio_to_json_loads_dict": round(ratio, 2),
    }


def main() -> int:
    """Measure, print and write; return the exit code."""
    parser = parser_of(__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = measure(options.frames, options.rounds)
    return show("frames", found, options.json)


if __name__ == "__main__":
    raise SystemExit(main())
