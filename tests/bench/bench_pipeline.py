"""Time a tick's way to a signed order on the simulator's socket, beside a null pipeline.

    python tests/bench/bench_pipeline.py [--json OUT] [--seconds 30] [--rate 500]
        [--key rsa|ed25519]

The source sends `rate` bars a second over the Massive protocol. Real: feeds → pricer → risk →
broker (all six services run), until the signed request to place or amend an order has reached the
simulated exchange's socket. Null: as many processes and hops that do nothing but decode, encode
and publish over core NATS, with the same sockets at both ends. Both in one run, one after the
other; the aim (issue 2) is p50 within 1.5 times the null pipeline, p99 within 3 times.
"""

import asyncio
import json
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, Literal, get_args

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import msgspec  # noqa: E402
import numpy as np  # noqa: E402

from cli.broker_admin import release_kill_switch  # noqa: E402
from cli.keys import write_exchange_key  # noqa: E402
from cli.plan import choose_window, make_plan, window_clock  # noqa: E402
from cli.processes import Plan  # noqa: E402
from cli.run_directory import RunDirectory, free_ports  # noqa: E402
from cli.stack import Stack  # noqa: E402
from cli.supervisor import ProcessSpec, Supervisor  # noqa: E402
from cli.watcher import Watcher  # noqa: E402
from libs.common import messages as m  # noqa: E402
from tests.bench.command import parser_of, show  # noqa: E402

Key = Literal["rsa", "ed25519"]
PARTS = Path(__file__).with_name("pipeline_parts.py")
WARM_UP_S = 4.0
STAGES = 4
HOPS = ("to_feeds", "to_pricer", "to_risk", "to_broker", "to_exchange")
# Every tick may move the quotes: the policy's patience is what this does not measure.
IMPATIENT: dict[str, dict[str, Any]] = {
    "pricer": {
        "policy": {
            "min_rest_s": 0.02,
            "books_settle_s": 0.0001,
            "quotes": {"requote_gain_share": 0.0, "ev_entry_margin_e6": 0},
        }
    }
}


def part(run: RunDirectory, name: str, *arguments: str) -> ProcessSpec:
    """Return one of the benchmark's own processes."""
    return ProcessSpec(
        name=name,
        arguments=(sys.executable, str(PARTS), *arguments),
        log_file=run.logs / f"{name}.log",
        restart=False,
    )


def plan_run(root: Path, rate: float, key: Key) -> tuple[Plan, Path]:
    """Plan a window at real speed whose index is the benchmark's own source."""
    run = RunDirectory.create(root)
    write_exchange_key(run, str(uuid.uuid4()), run.secrets / "exchange-key.pem", key)
    window = choose_window(seed=1, bars=(), day=None, hour=None)
    clock = window_clock(window, 1.0, -30.0, time.time_ns())
    plan = make_plan(run, window, clock, IMPATIENT)
    config = json.loads((run.configs / "exchange.yaml").read_text())
    config["exchange"]["tier"] = "prestige"
    run.write_config("exchange", config)
    sent = root / "sent.txt"
    clock_json = msgspec.json.encode(clock).decode()
    source = part(
        run,
        "index",
        "source",
        str(plan.addresses.index),
        str(rate),
        str(sent),
        clock_json,
        "I:SPX,I:NDX",
    )
    infrastructure = tuple(source if s.name == "index" else s for s in plan.infrastructure)
    return msgspec.structs.replace(plan, infrastructure=infrastructure), sent


async def real(
    root: Path, rate: float, seconds: float, key: Key
) -> tuple[list[float], dict[str, float]]:
    """Return milliseconds from a bar's leaving to its order's arrival at the exchange, and
    the median of each hop on the way.
    """
    plan, sent = plan_run(root, rate, key)
    clock = plan.clock.build()
    stack = Stack(plan)
    try:
        await stack.start()
        await release_kill_switch(plan.run, plan.addresses.admin, "bench")
        await asyncio.sleep(WARM_UP_S)
        from_ns = clock.now_ns()
        await asyncio.sleep(seconds)
        watcher = await Watcher.connect(plan.run, plan.addresses.nats_url, clock)
        streams = ("TICKS", "PROPOSALS", "VERDICTS", "ORDERS")
        messages = {x.id: x for stream in streams for x in await watcher.all_of(stream)}
        await watcher.close()
    finally:
        await stack.stop()
    assert plan.clock.wall_anchor_ns is not None, "a window's clock is anchored"
    assert plan.clock.virtual_anchor_ns is not None, "a window's clock is anchored"
    shift_ns = plan.clock.virtual_anchor_ns - plan.clock.wall_anchor_ns
    left = {}
    for line in sent.read_text().splitlines():
        symbol, end_ns, wall_ns = line.split()
        left[m.derived_id("bar", f"{symbol}|{end_ns}")] = int(wall_ns) + shift_ns
    came = _arrivals(plan.run.truth_log)
    times = []
    for intent in messages.values():
        if isinstance(intent, m.OrderIntent):
            way = _way(intent, messages, left, came)
            if way is not None and way[0] >= from_ns:
                times.append(way)
    hops = np.diff(np.array(times, dtype=np.int64), axis=1) / 1e6 if times else np.zeros((0, 5))
    medians = (
        dict(zip(HOPS, np.median(hops, axis=0).round(3).tolist(), strict=True)) if times else {}
    )
    return [(way[-1] - way[0]) / 1e6 for way in times], medians


def _way(
    intent: m.OrderIntent,
    messages: dict[str, m.Message],
    left: dict[str, int],
    came: dict[tuple[str, str], list[int]],
) -> list[int] | None:
    """Return the times at which one order's cause left the source, was published, decided …"""
    tick, verdict = messages.get(intent.correlation_id), messages.get(intent.verdict_id)
    if not isinstance(verdict, m.Verdict) or tick is None or tick.id not in left:
        return None
    proposal = messages.get(verdict.proposal_id)
    arrivals = came.get((intent.action, intent.client_order_id), [])
    after = [at_ns for at_ns in arrivals if at_ns >= intent.ts_pub_ns]
    if proposal is None or not after:
        return None
    decided = (tick.ts_pub_ns, proposal.ts_pub_ns, verdict.ts_pub_ns, intent.ts_pub_ns)
    return [left[tick.id], *decided, min(after)]


def _arrivals(truth_log: Path) -> dict[tuple[str, str], list[int]]:
    """Return when the requests of our orders and amends reached the exchange's socket."""
    received: dict[int, int] = {}
    came: dict[tuple[str, str], list[int]] = {}
    actions = {"order": "place", "amend": "amend"}
    for row in map(json.loads, truth_log.read_text().splitlines()):
        if row["kind"] == "request":
            received[row["n"]] = row["received_ns"]
        elif row["kind"] in actions and row["account"] == "alpha":
            key = (actions[row["kind"]], row["client_order_id"])
            came.setdefault(key, []).append(received[row["request"]])
    return came


async def null(root: Path, rate: float, seconds: float) -> list[float]:
    """Return milliseconds through the null pipeline, over a core NATS of its own."""
    run = RunDirectory.create(root)
    nats_port, source_port, sink_port = free_ports(3)
    nats_url, log, sent = f"nats://127.0.0.1:{nats_port}", root / "came.txt", root / "sent.txt"
    supervisor = Supervisor(ROOT, {"PYTHONPATH": str(ROOT), "PATH": ""})
    server = Path(sys.executable).parent / "nats-server"
    specs = [
        ProcessSpec(
            name="nats",
            arguments=(str(server), "-a", "127.0.0.1", "-p", str(nats_port)),
            log_file=run.logs / "nats.log",
        ),
        part(run, "sink", "sink", str(sink_port), str(log)),
        part(run, "source", "source", str(source_port), str(rate), str(sent), "{}", "I:SPX"),
    ]
    url = f"http://127.0.0.1:{sink_port}/"
    last = part(run, "post", "post", nats_url, f"hop.{STAGES - 1}", url)
    middle = [
        part(run, f"stage{n}", "stage", nats_url, f"hop.{n}", f"hop.{n + 1}")
        for n in range(1, STAGES - 1)
    ]
    first = part(run, "stage0", "stage", nats_url, "-", "hop.1", f"ws://127.0.0.1:{source_port}")
    try:
        for spec in specs:
            await supervisor.start(spec)
        await asyncio.sleep(1.5)
        for spec in (last, *middle):
            await supervisor.start(spec)
        await asyncio.sleep(1.5)
        await supervisor.start(first)
        await asyncio.sleep(WARM_UP_S + seconds)
    finally:
        await supervisor.stop()
    left = [int(line.split()[2]) for line in sent.read_text().splitlines() if line.count(" ") == 2]
    found = []
    for line in log.read_text().splitlines():
        number, came_ns = (int(word) for word in line.split())
        if number >= rate * WARM_UP_S and number < len(left):
            found.append((came_ns - left[number]) / 1e6)
    return found


def summary(milliseconds: list[float]) -> dict[str, float | int]:
    """Return the count, p50 and p99."""
    if not milliseconds:
        return {"n": 0}
    p50, p99 = (float(value) for value in np.percentile(milliseconds, (50, 99)))
    return {"n": len(milliseconds), "p50_ms": round(p50, 3), "p99_ms": round(p99, 3)}


async def measure(rate: float, seconds: float, key: Key) -> dict[str, Any]:
    """Run both and compare."""
    with tempfile.TemporaryDirectory() as folder:
        one = summary(await null(Path(folder) / "null", rate, seconds))
        found, hops = await real(Path(folder) / "real", rate, seconds, key)
        two = summary(found)
    ratios = {
        f"ratio_{name}": round(two[f"{name}_ms"] / one[f"{name}_ms"], 2)
        for name in ("p50", "p99")
        if one["n"] and two["n"]
    }
    return {
        "key": key,
        "rate_per_s": rate,
        "seconds": seconds,
        "null": one,
        "tick_to_order": two,
        "hops_ms_p50": hops,
        **ratios,
        "ratio_p50_max": 1.5,
        "ratio_p99_max": 3.0,
    }


def main() -> int:
    """Measure, print and write; return the exit code."""
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--key", choices=get_args(Key), default="rsa")
    options = parser.parse_args()
    values = asyncio.run(measure(options.rate, options.seconds, options.key))
    return show("pipeline", values, options.json)


if __name__ == "__main__":
    raise SystemExit(main())
