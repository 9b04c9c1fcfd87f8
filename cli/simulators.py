"""What `alpha sim` runs: the simulated exchange or index in this process."""

import asyncio
import time
from pathlib import Path
from typing import get_args

from msgspec import Struct

from cli.plan import choose_window, listed_ladders, next_window, parse_day, window_clock
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


class When(Struct, frozen=True, kw_only=True):
    """Which path and window a simulator shows; without day, bars and speed the next one, live."""

    seed: int
    bars: tuple[Path, ...]
    day: str | None
    hour: int | None
    speed: float | None


def run_exchange(
    when: When, *, keys: Path, host: str, port: int, truth: Path, tier: str, crowd: bool
) -> None:
    """Serve the exchange until SIGTERM; raise ConfigError."""
    path, target_ns, clock = _surroundings(when)
    known = {name: name for name in get_args(Tier)}
    if tier not in known:
        raise ConfigError(f"--tier: expected one of {', '.join(known)}, given {tier!r}")
    config = VenueConfig(
        exchange=ExchangeConfig(
            keys_dir=str(keys),
            truth_path=str(truth),
            host=host,
            port=port,
            seed=when.seed,
            tier=known[tier],
            clock=clock,
            ladders=listed_ladders(path, target_ns),
        ),
        path=path,
        crowd=CrowdConfig(seed=when.seed) if crowd else None,
    )
    try:
        asyncio.run(serve(config))
    except (KeysError, TruthLogError, BarsError) as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"--port: expected a free one, {host}:{port}: {error}") from None


def run_index_simulator(
    when: When, *, key_file: Path, host: str, port: int, faults: tuple[str, ...]
) -> None:
    """Serve the index until SIGTERM; raise ConfigError."""
    path, _, clock = _surroundings(when)
    config = IndexConfig(
        api_key_file=str(key_file), host=host, port=port, clock=clock, path=path, faults=faults
    )
    try:
        asyncio.run(run_index(config))
    except (BarsError, FaultError) as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"--port: expected a free one, {host}:{port}: {error}") from None


def _surroundings(when: When) -> tuple[PathConfig, int, ClockSpec]:
    if not when.bars and when.day is None and when.speed is None:
        window = next_window(when.seed, time.time_ns())
        return window.path, window.target_ns, ClockSpec()
    day = parse_day(when.day) if when.day else None
    window = choose_window(seed=when.seed, bars=when.bars, day=day, hour=when.hour)
    clock = window_clock(window, when.speed or 1.0, 0.0, time.time_ns())
    return window.path, window.target_ns, clock
