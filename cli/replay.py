"""`alpha replay`: the live cores driven from a capture or from bars."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console

from cli.errors import OperatingError
from cli.processes import write_nats
from cli.run_directory import RunDirectory
from lab.backtest.spans import Bars, Span, find_spans
from lab.backtest.world import World
from lab.capture.errors import CaptureError
from lab.capture.format import CaptureReader
from lab.drive.carrier import Carrier, MakeCarrier, memory_carrier
from lab.drive.config import DriveConfig, load_drive
from lab.drive.cores import load_calibrations
from lab.drive.nats_carrier import NatsCarrier
from lab.market.bars import BarsError
from lab.replay.run import PACE_NS, Pace, Replay, ReplayResult, at_speed
from libs.common.bus import BusError
from libs.common.clock import NS_PER_S
from libs.common.config import ConfigError
from libs.common.nats_server import NatsServerError, start_nats_server
from libs.common.provision import provision
from libs.common.topology import SERVICES, Service
from services.pricer.calibration import Calibration, CalibrationError

BUSES = ("memory", "nats")
SPEED_MAX = 10_000.0
TOLD_EVERY_S = 2.0


def replay(
    capture: Path, speed: str, bus: str, seed: int, console: Console, *, as_json: bool
) -> None:
    """Replay and tell; raise ConfigError or OperatingError in one line."""
    pace = _telling(at_speed(_speed(speed)))
    if bus not in BUSES:
        raise ConfigError(f"--bus: expected {' or '.join(BUSES)}, given {bus!r}")
    try:
        config = load_drive("replay")
        calibrations = load_calibrations(config)
        with _carrier(bus) as carrier:
            given = _Given(
                config=config,
                calibrations=calibrations,
                seed=seed,
                carrier=carrier,
                bus=bus,
                pace=pace,
            )
            if capture.suffix == ".jsonl" or list(capture.glob("*.jsonl")):
                raise ConfigError(
                    f"{capture}: expected a capture, found raw copies; make one of them with"
                    " `alpha export --raw --run FOLDER --day DAY --out FILE`"
                )
            if capture.is_dir() or capture.suffix == ".parquet":
                found = _replay_bars(find_spans([capture], seed, None, None), given)
            else:
                found = _replay_capture(capture, given)
    except (CaptureError, BarsError, CalibrationError) as error:
        raise ConfigError(str(error)) from None
    except (BusError, NatsServerError) as error:
        raise OperatingError(f"NATS: {error}") from None
    if as_json:
        console.print_json(data=msgspec.to_builtins(found))
        return
    for line in _lines(found):
        console.print(line, highlight=False, soft_wrap=True)


class _Given(Struct, frozen=True, kw_only=True, eq=False):
    """What a replay runs with, whatever it replays."""

    config: DriveConfig
    calibrations: dict[str, Calibration]
    seed: int
    carrier: MakeCarrier
    bus: str
    pace: Pace


def _replay_capture(path: Path, given: _Given) -> ReplayResult:
    with CaptureReader(path) as reader:
        run = Replay(
            reader, given.config, given.calibrations, seed=given.seed, carrier=given.carrier
        )
        return run.run(given.bus, given.pace)


def _replay_bars(bars: Bars, given: _Given) -> ReplayResult:
    """Drive the cores as a backtest does, without a ledger."""
    if not bars.spans:
        raise ConfigError("expected at least one window in the bars, found none")
    began_s = time.perf_counter()
    start_ns = bars.spans[0].start_ns - NS_PER_S
    world = World(
        given.config,
        given.calibrations,
        None,
        start_ns=start_ns,
        seed=given.seed,
        carrier=given.carrier,
    )

    def progress(span: Span, now_ns: int) -> None:
        del span
        given.pace(now_ns)

    for span in bars.spans:
        world.run(span, progress, PACE_NS)
    world.close()
    took_s = time.perf_counter() - began_s
    done = world.done()
    reporting: Any = world.services[Service.REPORTING].core
    seconds = sum((span.targets_ns[-1] - span.start_ns) / NS_PER_S for span in bars.spans)
    return ReplayResult(
        capture=", ".join(span.source for span in bars.spans),
        kind="bars",
        bus=given.bus,
        seed=given.seed,
        inputs=world.market.events,
        messages=world.services.published,
        effects=world.effects.count,
        effects_digest=world.effects.digest,
        orders=done.orders,
        fills=done.fills,
        settled_pnl_e6=sum(one.pnl_e6 for one in reporting.settlements.values()),
        unsettled=dict(reporting.unsettled),
        refused_inputs=world.market.refused,
        market_seconds=seconds,
        took_s=round(took_s, 3),
        inputs_per_s=round(world.market.events / took_s, 1),
    )


@contextmanager
def _carrier(bus: str) -> Iterator[MakeCarrier]:
    """Yield what makes the bus; a NATS server lives as long as that."""
    if bus == "memory":
        yield memory_carrier
        return
    made: list[NatsCarrier] = []
    with tempfile.TemporaryDirectory(prefix="alpha-replay-") as folder:
        run = RunDirectory.create(Path(folder))
        server = start_nats_server(write_nats(run, 0), run.configs)
        try:
            secrets = {
                service: run.token(f"nats-{service}.password").read_text(encoding="utf-8")
                for service in (*SERVICES, Service.PROVISION)
            }
            asyncio.run(provision(server.url, secrets.pop(Service.PROVISION)))

            def make(now_ns: Callable[[], int]) -> Carrier:
                del now_ns
                made.append(NatsCarrier(server.url, secrets))
                return made[-1]

            yield make
        finally:
            for carrier in made:
                carrier.close()
            server.stop()


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed <= SPEED_MAX:
        raise ConfigError(f"--speed: expected max, or above 0 to {SPEED_MAX:g}, given {text!r}")
    return speed


def _telling(pace: Pace) -> Pace:
    """Return a pace that tells on standard error how far it is, every two seconds."""
    began_ns, told_s = -1, time.monotonic()

    def telling(now_ns: int) -> None:
        nonlocal began_ns, told_s
        began_ns = now_ns if began_ns < 0 else began_ns
        if time.monotonic() - told_s >= TOLD_EVERY_S:
            told_s = time.monotonic()
            print(f"{(now_ns - began_ns) / NS_PER_S:.0f} s of the capture", file=sys.stderr)
        pace(now_ns)

    return telling


def _lines(found: ReplayResult) -> list[str]:
    lines = [
        f"{found.capture} ({found.kind}) over {found.bus}, seed {found.seed}",
        f"{found.inputs} inputs, {found.messages} messages, {found.effects} effects: digest "
        f"{found.effects_digest}",
        f"orders {found.orders}, fills {found.fills}, settled P&L "
        f"${found.settled_pnl_e6 / 1e6:,.2f} (what others would have done is not known)",
        f"{found.market_seconds:.0f} s in {found.took_s:.2f} s, {found.inputs_per_s:,.0f} inputs/s",
    ]
    lines += [f"unsettled: {event}: {why}" for event, why in found.unsettled.items()]
    lines += [f"refused input: {what}: {count}" for what, count in found.refused_inputs.items()]
    return lines
