"""Time the rebuild of exposure at a restart: read, decode and fold order and fill events.

    python tests/bench/bench_exposure.py [--json OUT] [--events 1000000]

Prints JSON. The aim (issue 5): 1,000,000 events in 10 s. Half of the orders are cancelled, half of
them fill; events settle an hour after the last order of theirs. What is timed is what the service
does with the bytes of ORDERS and FILLS; the bus that brings them is not in it.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from msgspec.structs import replace  # noqa: E402

from libs.common.bus import Stored  # noqa: E402
from libs.common.inbox import read_stored  # noqa: E402
from libs.common.messages import Message, encode  # noqa: E402
from libs.common.topology import stream_of_subject, subject_of  # noqa: E402
from services.risk.sizing.desk import SizingDesk  # noqa: E402
from services.risk.sizing.policy import SizingPolicy  # noqa: E402
from tests.bench.command import parser_of, show  # noqa: E402
from tests.services.risk.builders import NOW, TICKERS, fill, order  # noqa: E402
from tests.services.risk.sizing.messages import intent_of, settlement  # noqa: E402

BATCH = 1_000
ORDERS_PER_EVENT = 400
AIM_S = 10.0


def lives(events: int) -> Iterator[Message]:
    """Yield so many messages: orders of many hourly events, one after the other."""
    placed, rests = intent_of("c"), order("resting", client="c")
    filled, ended = fill(100, client="c"), order("filled", client="c", filled=100)
    for number in range(events // 4):
        hour, rung = divmod(number, ORDERS_PER_EVENT)
        event = f"KXINXU-{hour:06d}"
        own = {
            "event_ticker": event,
            "ticker": f"{event}-{TICKERS[rung % 3][-9:]}",
            "client_order_id": f"c{number}",
        }
        known = own | {"order_id": f"o{number}"}
        yield replace(placed, **own, id=f"p{number}")
        yield replace(rests, **known, id=f"r{number}")
        if number % 2:
            yield replace(placed, **known, id=f"x{number}", action="cancel")
            yield replace(ended, **known, id=f"e{number}", state="cancelled", filled_count_e2=0)
        else:
            yield replace(filled, **known, id=f"f{number}", trade_id=f"t{number}")
            yield replace(ended, **known, id=f"e{number}")
        if rung == ORDERS_PER_EVENT - 1 and hour % 2:
            for ticker in TICKERS:
                paid = settlement(ticker=f"{event}-{ticker[-9:]}")
                yield replace(paid, event_ticker=event)


def batches(events: int) -> Iterator[list[Stored]]:
    """Yield the stored bytes in batches, as a read of a stream brings them."""
    sequences = {"ORDERS": 0, "FILLS": 0}
    batch: list[Stored] = []
    for message in lives(events):
        subject = subject_of(message)
        stream = stream_of_subject(subject)
        sequences[stream] += 1
        batch.append(Stored(subject, sequences[stream], encode(message)))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    arguments = parser.parse_args()
    desk = SizingDesk(SizingPolicy())
    count, spent_s, reading_s, cpu_s = 0, 0.0, 0.0, 0.0
    for batch in batches(arguments.events):
        began, began_cpu = time.perf_counter(), time.thread_time()
        messages = [read_stored(stored, NOW) for stored in batch]
        read = time.perf_counter()
        for stored, message in zip(batch, messages, strict=True):
            desk.apply(message, stream_of_subject(stored.subject), stored.sequence)
        spent_s += time.perf_counter() - began
        reading_s += read - began
        cpu_s += time.thread_time() - began_cpu
        count += len(batch)
    began = time.perf_counter()
    desk.refresh(NOW)
    refreshing_s = time.perf_counter() - began
    found = {
        "aim_s": AIM_S,
        "events": count,
        "rebuild_s": round(spent_s + refreshing_s, 2),
        "of_it_cpu_s": round(cpu_s, 2),
        "of_it_reading_s": round(reading_s, 2),
        "of_it_portfolio_s": round(refreshing_s, 2),
        "events_per_s": round(count / (spent_s + refreshing_s)),
        "loss_at_risk_dollars": sum(desk.portfolio.losses_e6().values()) / 1_000_000,
        "settled_dollars": desk.profit.day_e6(NOW) / 1_000_000,
        "orders_remembered": desk.own.order_count(),
    }
    return show("exposure", found, arguments.json)


if __name__ == "__main__":
    raise SystemExit(main())
