"""`alpha sim exchange` and `alpha sim index`: the simulated outside, in the foreground."""

import asyncio
import time
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from cli.plan import choose_window, listed_ladders, parse_day, window_clock
from lab.exchange.auth import KeysError
from lab.exchange.config import ExchangeConfig, Tier
from lab.exchange.truth import TruthLogError
from lab.market.bars import BarsError
from lab.market.config import PathConfig
from lab.market.crowd import CrowdConfig
from lab.market.faults import FaultError
from lab.market.index_app import IndexConfig, run_index
from lab.venue import VenueConfig, serve
from libs.common.clock import ClockSpec
from libs.common.config import ConfigError
from libs.domain.eastern import eastern_date, eastern_datetime
from libs.domain.windows import next_index_target

simulators = typer.Typer(
    help="Run the simulated exchange or index in the foreground.", no_args_is_help=True
)

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 for a free one.")]
Seed = Annotated[int, typer.Option(help="Repeats the index path and the participants.")]
Bars = Annotated[list[Path] | None, typer.Option(help="Parquet file of real minute bars.")]
Day = Annotated[str | None, typer.Option("--date", help="Trading day, YYYY-MM-DD; default next.")]
Hour = Annotated[int | None, typer.Option(min=10, max=16, help="Target hour, Eastern time.")]
Speed = Annotated[
    float | None,
    typer.Option(min=0.1, max=60, help="Start 15 minutes before the target, times real time."),
]


@simulators.command()
def exchange(
    keys: Annotated[Path, typer.Option(help="Folder with a <key id>.pub.pem for each API key.")],
    host: Host = "127.0.0.1",
    port: Port = 0,
    seed: Seed = 1,
    truth: Annotated[Path, typer.Option(help="New file for its own log.")] = Path("truth.jsonl"),
    tier: Annotated[Tier, typer.Option(help="Rate limits of the accounts.")] = "advanced",
    crowd: Annotated[bool, typer.Option(help="Let other participants quote and take.")] = True,
    bars: Bars = None,
    day: Day = None,
    hour: Hour = None,
    speed: Speed = None,
) -> None:
    """Serve Kalshi's REST and WebSocket; prints one line with the URL when it is ready."""
    path, target_ns, clock = _surroundings(seed, bars, day, hour, speed)
    config = VenueConfig(
        exchange=ExchangeConfig(
            keys_dir=str(keys),
            truth_path=str(truth),
            host=host,
            port=port,
            seed=seed,
            tier=tier,
            clock=clock,
            ladders=listed_ladders(path, target_ns),
        ),
        path=path,
        crowd=CrowdConfig(seed=seed) if crowd else None,
    )
    try:
        asyncio.run(serve(config))
    except (KeysError, TruthLogError, BarsError) as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"--port: expected a free one, {host}:{port}: {error}") from None


@simulators.command()
def index(
    key_file: Annotated[Path, typer.Option(help="File with the API key that clients show.")],
    host: Host = "127.0.0.1",
    port: Port = 0,
    seed: Seed = 1,
    bars: Bars = None,
    day: Day = None,
    hour: Hour = None,
    speed: Speed = None,
    fault: Annotated[
        list[str] | None, typer.Option(help='E.g. "silence@+120s:5s", "garbage@+60s".')
    ] = None,
) -> None:
    """Serve the Massive indices WebSocket; prints one line with the URL when it is ready."""
    path, _, clock = _surroundings(seed, bars, day, hour, speed)
    config = IndexConfig(
        api_key_file=str(key_file),
        host=host,
        port=port,
        clock=clock,
        path=path,
        faults=tuple(fault or ()),
    )
    try:
        asyncio.run(run_index(config))
    except (BarsError, FaultError) as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"--port: expected a free one, {host}:{port}: {error}") from None


def _surroundings(
    seed: int, bars: list[Path] | None, day: str | None, hour: int | None, speed: float | None
) -> tuple[PathConfig, int, ClockSpec]:
    """Return the path, the target and the clock that the options ask for."""
    chosen: date | None = parse_day(day) if day else None
    if not bars and chosen is None and speed is None:
        target_ns = next_index_target("INXU", time.time_ns())
        chosen, hour = eastern_date(target_ns), eastern_datetime(target_ns).hour
        window = choose_window(seed=seed, bars=(), day=chosen, hour=hour)
        return window.path, window.target_ns, ClockSpec()
    window = choose_window(seed=seed, bars=tuple(bars or ()), day=chosen, hour=hour)
    return window.path, window.target_ns, window_clock(window, speed or 1.0, 0.0, time.time_ns())
