"""Plan one run: which window, which clock, and the configuration of every process; pure but for
reading the bars and choosing free ports.
"""

import uuid
from datetime import date
from pathlib import Path
from typing import Any

from msgspec import Struct

from cli.keys import operator_key_of, write_exchange_key, write_operator_key
from cli.processes import (
    Addresses,
    Plan,
    nats_process,
    plain,
    python_process,
    service_processes,
)
from cli.run_directory import RunDirectory
from lab.market.bars import BarsError
from lab.market.config import PathConfig, build_path
from lab.market.listing import hourly_ladders
from lab.market.path import IndexPath
from lab.simulated import SIMULATED
from libs.common.clock import NS_PER_S, ClockSpec
from libs.common.config import ConfigError, merge
from libs.domain.calendar import CalendarError
from libs.domain.eastern import eastern_date, eastern_datetime
from libs.domain.windows import WindowError, index_targets, next_index_target
from libs.kalshi.signing import REST_PREFIX, WEBSOCKET_PATH

WINDOW_S = 15 * 60
ACCOUNT = "alpha"


class Window(Struct, frozen=True, kw_only=True):
    """The hourly window that a run trades, and the index path behind it."""

    target_ns: int
    path: PathConfig
    origins: dict[str, str]

    @property
    def start_ns(self) -> int:
        """Return T−15 minutes."""
        return self.target_ns - WINDOW_S * NS_PER_S


def choose_window(
    *, seed: int, bars: tuple[Path, ...], day: date | None, hour: int | None
) -> Window:
    """Return the window to trade: the one that the bars cover, else the day and hour given.

    Raises ConfigError when there is no such window.
    """
    path_config = PathConfig(seed=seed, bars=tuple(str(path.resolve()) for path in bars))
    try:
        path = build_path(path_config)
    except BarsError as error:
        raise ConfigError(f"--bars: {error}") from None
    targets = _targets_in_bars(path) if bars else _targets_on(day or date(2026, 10, 2))
    if day is not None:
        targets = [target_ns for target_ns in targets if eastern_date(target_ns) == day]
    wanted = hour if hour is not None else (None if len(targets) == 1 else 12)
    chosen = [
        target_ns
        for target_ns in targets
        if wanted is None or eastern_datetime(target_ns).hour == wanted
    ]
    if not chosen:
        found = ", ".join(f"{eastern_datetime(target_ns):%Y-%m-%d %H:%M}" for target_ns in targets)
        raise ConfigError(
            f"window: expected one that ends at {wanted}:00 ET, found: {found or 'none'}; "
            "choose another --date, --hour or --bars"
        )
    return Window(target_ns=chosen[0], path=path_config, origins=path.origins())


def next_window(seed: int, wall_ns: int) -> Window:
    """Return the window of the next hourly event after a time, on a synthetic index."""
    target_ns = next_index_target("INXU", wall_ns)
    hour = eastern_datetime(target_ns).hour
    return choose_window(seed=seed, bars=(), day=eastern_date(target_ns), hour=hour)


def _targets_on(day: date) -> list[int]:
    try:
        targets = list(index_targets("INXU", day))
    except (CalendarError, WindowError) as error:
        raise ConfigError(f"--date: {error}") from None
    if not targets:
        raise ConfigError(f"--date: expected a trading day, {day} has no hourly event")
    return targets


def _targets_in_bars(path: IndexPath) -> list[int]:
    covered = [span for symbol in path.symbols if (span := path.coverage_ns(symbol)) is not None]
    start_ns = max(span[0] for span in covered)
    end_ns = min(span[1] for span in covered)
    day = eastern_date(start_ns)
    return [
        target_ns
        for target_ns in _targets_on(day)
        if start_ns <= target_ns - WINDOW_S * NS_PER_S and target_ns <= end_ns
    ]


def make_plan(
    run: RunDirectory,
    window: Window,
    clock: ClockSpec,
    overrides: dict[str, dict[str, Any]],
    brokers: int = 1,
) -> Plan:
    """Write the configuration of every process and return how to start them.

    `overrides` are keys of a service's configuration, or of the simulated index's, by name; they
    are put over it key by key. Of several brokers one leads, the others stand by.
    """
    addresses = Addresses.choose(brokers)
    key_id, key_file = _write_keys(run)
    infrastructure = (
        nats_process(run, addresses),
        python_process(
            run, "exchange", "lab.venue", _exchange(run, window, clock, addresses, key_id)
        ),
        python_process(
            run,
            "index",
            "lab.market",
            merge(_index(run, window, clock, addresses), overrides.get("index", {})),
        ),
    )
    own = {
        "feeds": _feeds(run, window, addresses),
        "risk": {"operator_key": _operator_key(run)},
        "broker": _broker(addresses, key_id, key_file),
    }
    own = merge(merge(SIMULATED, own), overrides)
    return Plan(
        run=run,
        target_ns=window.target_ns,
        origins=window.origins,
        clock=clock,
        addresses=addresses,
        infrastructure=infrastructure,
        services=service_processes(run, clock, addresses, own, brokers),
    )


def window_clock(window: Window, speed: float, lead_s: float, wall_ns: int) -> ClockSpec:
    """Return a clock at `speed` that shows the window's start `lead_s` real seconds from now."""
    return ClockSpec(
        rate=speed,
        wall_anchor_ns=wall_ns + round(lead_s * NS_PER_S),
        virtual_anchor_ns=window.start_ns,
    )


def _write_keys(run: RunDirectory) -> tuple[str, Path]:
    """Make our exchange key once per run directory; return its id and private key file."""
    known = list(run.public_keys.glob("*.pub.pem"))
    key_file = run.secrets / "exchange-key.pem"
    if known and key_file.exists():
        return known[0].name.removesuffix(".pub.pem"), key_file
    key_id = str(uuid.uuid4())
    write_exchange_key(run, key_id, key_file)
    return key_id, key_file


def _operator_key(run: RunDirectory) -> str:
    """Return the public half of the run's own operator key, made once."""
    key_file = run.secrets / "operator.pem"
    return operator_key_of(key_file) if key_file.exists() else write_operator_key(key_file)


def _exchange(
    run: RunDirectory, window: Window, clock: ClockSpec, addresses: Addresses, key_id: str
) -> dict[str, Any]:
    return {
        "exchange": {
            "keys_dir": str(run.public_keys),
            "truth_path": str(run.truth_log),
            "port": addresses.exchange,
            "seed": window.path.seed,
            "clock": plain(clock),
            "ladders": [
                plain(one) for one in hourly_ladders(build_path(window.path), window.target_ns)
            ],
            "accounts": {key_id: ACCOUNT},
        },
        "path": plain(window.path),
        "crowd": {"seed": window.path.seed},
    }


def _index(
    run: RunDirectory, window: Window, clock: ClockSpec, addresses: Addresses
) -> dict[str, Any]:
    return {
        "api_key_file": str(run.token("index.key")),
        "port": addresses.index,
        "clock": plain(clock),
        "path": plain(window.path),
    }


def _feeds(run: RunDirectory, window: Window, addresses: Addresses) -> dict[str, Any]:
    return {
        "index_url": f"ws://127.0.0.1:{addresses.index}/indices",
        "index_key_file": str(run.token("index.key")),
        "exchange_rest_url": f"http://127.0.0.1:{addresses.exchange}{REST_PREFIX}",
        "exchange_ws_url": f"ws://127.0.0.1:{addresses.exchange}{WEBSOCKET_PATH}",
        "raw_directory": str(run.root / "raw"),
        "provenance": "replay" if window.path.bars else "synthetic",
    }


def _broker(addresses: Addresses, key_id: str, key_file: Path) -> dict[str, Any]:
    return {
        "exchange_rest_url": f"http://127.0.0.1:{addresses.exchange}{REST_PREFIX}",
        "exchange_ws_url": f"ws://127.0.0.1:{addresses.exchange}{WEBSOCKET_PATH}",
        "key_id": key_id,
        "key_file": str(key_file),
        "account": ACCOUNT,
    }


def parse_day(text: str, option: str = "--date") -> date:
    """Return a date written YYYY-MM-DD; raise ConfigError for anything else."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    # Python takes 20240918 and 2024-W38-3 too.
    if day is None or day.isoformat() != text:
        raise ConfigError(f"{option}: expected YYYY-MM-DD, given {text!r}")
    return day
