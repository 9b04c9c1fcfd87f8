"""Time a broker's restart with many orders in the log, to the moment it accepts verdicts.

    python tests/bench/bench_recovery.py [--json OUT] [--orders 10000] [--rounds 3]

Real: a NATS server whose ORDERS holds for each order an intent to place, an update at rest, an
intent to cancel and its end, a fill for every tenth, and twenty orders that still rest; the
broker is killed, and started again. The aim (issue 3): at most 5 s with 10,000 orders. The same
restart with twenty orders in the log is told beside it: that is Python's own start.
"""

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from msgspec.structs import replace  # noqa: E402

from cli.run_directory import free_ports  # noqa: E402
from libs.common import messages as m  # noqa: E402
from libs.common.topology import Service, subject_of  # noqa: E402
from tests.bench.command import parser_of, show  # noqa: E402
from tests.nats_fixture import NatsRig  # noqa: E402
from tests.services.broker.processes import left, processes  # noqa: E402
from tests.services.broker.rig import EVENT, quote  # noqa: E402
from tests.services.broker.stack import until  # noqa: E402

PAST = [f"KXINXU-26OCT{day}H{hour}00" for day in range(19, 24) for hour in range(10, 17)]
UNDER_WAY = 200
READY_S_MAX = 5.0


def lives(orders: int, resting: list[m.Message]) -> Iterator[m.Message]:
    """Yield the messages of so many orders that ended, after the pattern of one that rests."""
    intent = next(one for one in resting if isinstance(one, m.OrderIntent))
    update = next(one for one in resting if isinstance(one, m.OrderUpdate))
    for number in range(orders):
        event = PAST[number % len(PAST)]
        order: dict[str, Any] = {
            "client_order_id": m.derived_id("bench", number),
            "event_ticker": event,
            "ticker": f"{event}-T{6700 + number % 40}9.9999",
        }
        order_id, verdict_id = f"order-{number}", f"verdict-{number // 4}"
        place = {**order, "verdict_id": verdict_id, "id": f"place-{number}"}
        yield replace(intent, **place)
        rests = {**order, "order_id": order_id}
        yield replace(update, **rests, id=f"rest-{number}")
        yield replace(intent, **place | {"id": f"cancel-{number}", "action": "cancel"})
        filled_e2 = 100 if number % 10 == 0 else 0
        if filled_e2:
            yield m.Fill(
                **{name: getattr(update, name) for name in m.Message.__struct_fields__[1:]},
                id=f"fill-{number}",
                **rests,
                trade_id=f"trade-{number}",
                series_ticker=update.series_ticker,
                side=update.side,
                price_e4=update.price_e4,
                count_e2=filled_e2,
                is_taker=False,
                fee_e6=0,
                exchange_ns=update.exchange_ns,
            )
        end = {"state": "cancelled", "filled_count_e2": filled_e2, "remaining_count_e2": 0}
        yield replace(update, **rests, **end, id=f"end-{number}")


async def write(nats: NatsRig, messages: Iterator[m.Message]) -> int:
    """Store the messages in ORDERS and FILLS; return how many."""
    bus = await nats.connect(Service.BROKER)
    count = 0
    under_way: list[asyncio.Future[int]] = []
    for message in messages:
        under_way.append(bus.publish(subject_of(message), m.encode(message), message_id=message.id))
        count += 1
        if len(under_way) >= UNDER_WAY:
            await asyncio.gather(*under_way)
            under_way.clear()
    await asyncio.gather(*under_way)
    await bus.close()
    return count


async def restart(brokers: Any, dead: Any) -> tuple[float, Any]:
    """Kill a broker and start its successor; return the seconds until it accepts verdicts."""
    dead.send_signal(signal.SIGKILL)
    await left(dead, 5)
    began_s = time.monotonic()
    born = brokers.start()
    await brokers.ready()
    return time.monotonic() - began_s, born


async def measure(orders: int, rounds: int) -> dict[str, Any]:
    """Return the seconds of restarts with a short and with a long log."""
    with tempfile.TemporaryDirectory() as folder:
        nats = NatsRig(Path(folder) / "nats")
        nats.start()
        await nats.provision()
        try:
            async with processes(Path(folder) / "run", nats, free_ports(1)) as brokers:
                running = brokers.running
                tickers = [one.spec.ticker for one in running.server.engine.event_markets(EVENT)][
                    :10
                ]
                quotes = [quote(ticker, "bid", 3_000, 100) for ticker in tickers]
                quotes += [quote(ticker, "ask", 7_000, 100) for ticker in tickers]
                broker = brokers.start()
                await brokers.ready()
                await brokers.release()
                await brokers.give(*quotes)
                await until(lambda: len(running.resting()) == len(quotes), "the quotes at rest")
                short, long = [], []
                for _ in range(rounds):
                    took_s, broker = await restart(brokers, broker)
                    short.append(took_s)
                log = await brokers.log("ORDERS", m.OrderIntent)
                log += await brokers.log("ORDERS", m.OrderUpdate)
                count = await write(nats, lives(orders, log))
                for _ in range(rounds):
                    took_s, broker = await restart(brokers, broker)
                    long.append(took_s)
        finally:
            nats.kill()
    return {
        "orders": orders,
        "messages": count,
        "rounds": rounds,
        "few_orders_s": [round(one, 2) for one in sorted(short)],
        "many_orders_s": [round(one, 2) for one in sorted(long)],
        "many_orders_s_max": READY_S_MAX,
    }


def main() -> int:
    """Measure, print and write; return the exit code."""
    parser = parser_of(__doc__)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found = asyncio.run(measure(options.orders, options.rounds))
    return show("recovery", found, options.json)


if __name__ == "__main__":
    raise SystemExit(main())
