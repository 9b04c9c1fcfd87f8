"""What `alpha sim` runs: the simulated exchange or index in this process."""

import time
from pathlib import Path
from typing import get_args

import uvloop
from msgspec import Struct

from cli.plan import choose_window, parse_day, window_clock
from cli.run_directory import new_truth_log
from lab.exchange.auth import KeysError
from lab.exchange.config import ExchangeConfig, Tier
from lab.exchange.faults import load_scenario
from lab.exchange.ladders import LadderConfig
from lab.exchange.routes import OPERATIONS
from lab.exchange.truth import TruthLogError
from lab.market.bars import BarsError
from lab.market.config import PathConfig, build_path
from lab.market.crowd import CrowdConfig
from lab.market.faults import FaultError
from lab.market.index_app import IndexConfig, run_index
from lab.market.listing import hourly_ladders, range_ladder
from lab.venue import VenueConfig, serve
from libs.common.clock import ClockSpec
from libs.common.config import ConfigError
from libs.domain.eastern import NS_PER_HOUR, NS_PER_MINUTE
from libs.domain.tickers import TickerError, format_event_ticker

# A live simulator lists a day of hours, the first of them far enough ahead to trade in.
LIVE_HOURS = 24
LIVE_LEAD_NS = 15 * NS_PER_MINUTE


class When(Struct, frozen=True, kw_only=True):
    """Which path and window a simulator shows; without day, bars and speed now, around the clock.

    Then every hour has its event, also at night and on Sundays, and the index never rests.
    """

    seed: int
    bars: tuple[Path, ...]
    day: str | None
    hour: int | None
    speed: float | None


class OnDemand(Struct, frozen=True, kw_only=True):
    """Where the exchange's faults come from: a scenario file, an admin endpoint, neither."""

    scenario: Path | None = None
    admin_port: int | None = None
    admin_token_file: Path | None = None


def run_exchange(
    when: When,
    *,
    keys: Path,
    host: str,
    port: int,
    truth: Path | None,
    tier: str,
    crowd: bool,
    history_kept_s: float,
    faults: OnDemand,
) -> None:
    """Serve the exchange until SIGTERM; raise ConfigError."""
    if (faults.admin_port is None) != (faults.admin_token_file is None):
        raise ConfigError("--admin-port, --admin-token-file: expected both or none, given one")
    scenario = load_scenario(faults.scenario, OPERATIONS) if faults.scenario else ()
    shown = _surroundings(when)
    known = {name: name for name in get_args(Tier)}
    if tier not in known:
        raise ConfigError(f"--tier: expected one of {', '.join(known)}, given {tier!r}")
    if truth is None:
        truth = new_truth_log(time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
    config = VenueConfig(
        exchange=ExchangeConfig(
            keys_dir=str(keys),
            truth_path=str(truth),
            host=host,
            port=port,
            seed=when.seed,
            tier=known[tier],
            clock=shown.clock,
            ladders=shown.ladders(),
            wall_signatures=True,
            history_kept_s=history_kept_s,
            faults=scenario,
            admin_port=faults.admin_port,
            admin_token_file=str(faults.admin_token_file or ""),
        ),
        path=shown.path,
        crowd=CrowdConfig(seed=when.seed) if crowd else None,
    )
    try:
        uvloop.run(serve(config))
    except (KeysError, TruthLogError, BarsError) as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(
            f"--host, --port, --admin-port: expected to listen at {host}:{port}, found: {error}"
        ) from None


def run_index_simulator(
    when: When, *, key_file: Path, host: str, port: int, faults: tuple[str, ...]
) -> None:
    """Serve the index until SIGTERM; raise ConfigError."""
    shown = _surroundings(when)
    config = IndexConfig(
        api_key_file=str(key_file),
        host=host,
        port=port,
        clock=shown.clock,
        path=shown.path,
        faults=faults,
    )
    try:
        uvloop.run(run_index(config))
    except (BarsError, FaultError) as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"--port: expected a free one, {host}:{port}: {error}") from None


def live_targets(wall_ns: int) -> tuple[int, ...]:
    """Return the hours of a day from now; an hour that a clock change repeats has no ticker."""
    first_ns = -(-(wall_ns + LIVE_LEAD_NS) // NS_PER_HOUR) * NS_PER_HOUR
    hours = (first_ns + hour * NS_PER_HOUR for hour in range(LIVE_HOURS))
    return tuple(target_ns for target_ns in hours if _has_ticker(target_ns))


class _Surroundings(Struct, frozen=True, kw_only=True):
    """An index path, the targets of the hourly events on it, the clock, and what lists first."""

    path: PathConfig
    targets_ns: tuple[int, ...]
    clock: ClockSpec

    def ladders(self) -> tuple[LadderConfig, ...]:
        """Return the hourly ladders of every target and one range ladder, open until the last."""
        path = build_path(self.path)
        hourly = [
            ladder for target_ns in self.targets_ns for ladder in hourly_ladders(path, target_ns)
        ]
        return (*hourly, range_ladder(path, self.targets_ns[0], self.targets_ns[-1]))


def _surroundings(when: When) -> _Surroundings:
    if not when.bars and when.day is None and when.speed is None:
        return _Surroundings(
            path=PathConfig(seed=when.seed, around_the_clock=True),
            targets_ns=live_targets(time.time_ns()),
            clock=ClockSpec(),
        )
    day = parse_day(when.day) if when.day else None
    window = choose_window(seed=when.seed, bars=when.bars, day=day, hour=when.hour)
    clock = window_clock(window, when.speed or 1.0, 0.0, time.time_ns())
    return _Surroundings(path=window.path, targets_ns=(window.target_ns,), clock=clock)


def _has_ticker(target_ns: int) -> bool:
    try:
        format_event_ticker("KXINXU", target_ns)
    except TickerError:
        return False
    return True
