"""Time the kill switch: from the operator's call to zero resting, confirmed by reading back.

    python tests/bench/bench_kill_switch.py [--json OUT] [--rounds 10]

Real: a broker process, a NATS server and the simulated exchange at the Advanced tier's limits, on
loopback. 100 orders rest on 50 markets (the broker quotes a side of a market at most once). The
aim (issue 3): at most 250 ms beyond what the rate limit itself costs. Cancelling takes one call
of two tokens for the whole account, and the account is quiet before: the limit costs nothing.
"""

import asyncio
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from cli.run_directory import free_ports  # noqa: E402
from lab.exchange.ladders import LadderConfig  # noqa: E402
from proto import broker_pb2 as pb  # noqa: E402
from tests.bench.command import parser_of, show  # noqa: E402
from tests.nats_fixture import NatsRig  # noqa: E402
from tests.services.broker.processes import processes  # noqa: E402
from tests.services.broker.rig import EVENT, SERIES, TARGET_NS, quote  # noqa: E402
from tests.services.broker.stack import until  # noqa: E402

MARKETS = 50
BEYOND_MS_MAX = 250.0
REST_S = 4.0
"""Between rounds, so that each begins with the tokens of a quiet account."""
LADDER = LadderConfig(
    series=SERIES, target_ns=TARGET_NS, centre_e4=68_000_000, step_e4=100_000, rungs=MARKETS + 1
)


async def measure(rounds: int) -> dict[str, Any]:
    """Return milliseconds from each call to its confirmation."""
    took: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        nats = NatsRig(Path(folder) / "nats")
        nats.start()
        await nats.provision()
        changes = {"ladders": (LADDER,), "tier": "advanced"}
        try:
            async with processes(Path(folder) / "run", nats, free_ports(1), **changes) as brokers:
                running = brokers.running
                tickers = [one.spec.ticker for one in running.server.engine.event_markets(EVENT)]
                quotes = [quote(ticker, "bid", 3_000, 100) for ticker in tickers[:MARKETS]]
                quotes += [quote(ticker, "ask", 7_000, 100) for ticker in tickers[:MARKETS]]
                brokers.start()
                await brokers.ready()
                for _ in range(rounds):
                    await brokers.release()
                    while len(running.resting()) < len(quotes):  # in as many goes as the limit asks
                        await brokers.give(*quotes)
                        await asyncio.sleep(1.0)
                    await asyncio.sleep(REST_S)
                    asked = pb.KillSwitchRequest(reason="bench", by="bench")
                    reply = await brokers.ask("EngageKillSwitch", asked)
                    assert reply.confirmed_zero, reply
                    assert running.resting() == {}, "confirmed, but not so"
                    took.append(reply.elapsed_ms)
                    await until(lambda: running.resting() == {}, "nothing at rest")
        finally:
            nats.kill()
    took.sort()
    return {
        "orders": 2 * MARKETS,
        "markets": MARKETS,
        "tier": "advanced",
        "rounds": rounds,
        "rate_limit_costs_ms": 0.0,
        "confirmed_zero_ms_p50": round(statistics.median(took), 1),
        "confirmed_zero_ms_worst": round(took[-1], 1),
        "confirmed_zero_ms_max": BEYOND_MS_MAX,
    }


def main() -> int:
    """Measure, print and write; return the exit code."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    found = asyncio.run(measure(options.rounds))
    return show("kill_switch", found, options.json)


if __name__ == "__main__":
    raise SystemExit(main())
