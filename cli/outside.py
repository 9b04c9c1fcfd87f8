"""Runs on an exchange that is not ours: what they need, and their processes.

Everything missing is named at once, and until nothing is missing nothing is started.
"""

import asyncio
import os
import re
import stat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from cli.exchanges import Exchange, chosen_exchange, known_exchanges
from cli.keys import read_operator_key
from cli.processes import Addresses, Plan, nats_process, service_processes, write_nats
from cli.run_directory import RunDirectory, home
from libs.common.bus import BusError
from libs.common.clock import ClockSpec
from libs.common.config import ConfigError
from libs.common.nats_bus import NatsBus
from libs.common.nats_server import NatsServerError, start_nats_server
from libs.common.readiness import all_problems
from libs.common.topology import Service
from libs.domain.calendar import CalendarError
from libs.domain.families import HOURLY_SERIES
from libs.domain.windows import WindowError, next_index_target
from services.broker.modes import Mode, Situation, missing

READ_TIMEOUT_S = 5.0
MODES: dict[str, Mode] = {"sim": "sim", "dry": "dry", "live": "live"}


class Outside(Struct, frozen=True, kw_only=True):
    """The exchange and index of a run, and the files of our keys."""

    rest_url: str
    ws_url: str
    index_url: str
    key_id: str
    key_file: str
    index_key_file: str
    operator_key: str = ""
    """Whose overrides risk takes, in hex; "": whom configs/risk.yaml names."""

    @property
    def run_root(self) -> Path:
        """Return the folder of all runs of this key on this exchange: their log goes on."""
        host = urlsplit(self.rest_url).hostname or "exchange"
        name = re.sub(r"[^A-Za-z0-9.-]", "_", f"live-{host}-{self.key_id[:8]}")
        return home().resolve() / name


class Given(Struct, frozen=True, kw_only=True):
    """What `alpha up` was given about the outside; None: nothing."""

    env: str | None = None
    rest_url: str | None = None
    ws_url: str | None = None
    index_url: str | None = None
    key_id: str | None = None
    key_file: Path | None = None
    index_key_file: Path | None = None
    operator_key_file: Path | None = None
    risks_understood: bool = False

    @property
    def anything(self) -> bool:
        """Return whether any of it was given."""
        return any(getattr(self, name) for name in self.__struct_fields__)


def mode_named(name: str) -> Mode:
    """Return a mode; raise ConfigError for what is none."""
    if name == "paper":
        raise ConfigError("--mode: paper is not built yet; expected sim, dry or live")
    if name not in MODES:
        raise ConfigError(f"--mode: expected sim, dry or live, given {name!r}")
    return MODES[name]


def prepare(mode: Mode, given: Given, wall_ns: int) -> Outside | None:
    """Return the outside of a run, None for the simulated one.

    Raises ConfigError with everything that is missing.
    """
    if mode == "sim" and given.anything:
        raise ConfigError("--mode: expected dry or live with an exchange or keys, given sim")
    if mode == "sim" or (mode == "dry" and not given.anything):
        return None
    problems: list[str] = []
    exchange, index_url = known_exchanges().prod, given.index_url or known_exchanges().index_url
    try:
        exchange = chosen_exchange(given.env, given.rest_url, given.ws_url)
    except ConfigError as error:
        problems.append(f"exchange: {error}")
    outside = _outside(given, exchange, index_url)
    if given.operator_key_file is not None:
        try:
            outside = replace(outside, operator_key=read_operator_key(given.operator_key_file))
        except ConfigError as error:
            problems.append(str(error))
    key_problem = "" if given.key_id else "expected --key-id; "
    situation = Situation(
        mode=mode,
        rest_url=exchange.rest_url,
        ws_url=exchange.ws_url,
        index_url=index_url,
        key_problem=(key_problem + _file_problem(given.key_file, "--key-file")).rstrip("; "),
        index_key_problem=_file_problem(given.index_key_file, "--index-key-file"),
        readiness_problem=_stored_readiness(outside, wall_ns) if mode == "live" else "",
        risks_understood=given.risks_understood,
    )
    problems += missing(situation)
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ConfigError(f"mode {mode} can't start, missing:{lines}")
    return outside


def make_outside_plan(
    run: RunDirectory, outside: Outside, mode: Mode, brokers: int, wall_ns: int
) -> Plan:
    """Write the configuration of every process; no simulator is among them."""
    try:
        target_ns = next_index_target("INXU", wall_ns)
    except (WindowError, CalendarError) as error:
        raise ConfigError(str(error)) from None
    addresses = Addresses.choose(brokers)
    exchange = {"exchange_rest_url": outside.rest_url, "exchange_ws_url": outside.ws_url}
    own: dict[str, dict[str, Any]] = {
        "feeds": {
            **exchange,
            "index_url": outside.index_url,
            "index_key_file": outside.index_key_file,
            "raw_directory": str(run.root / "raw"),
            "provenance": "live",
        },
        "risk": {"mode": mode, **_operator(outside)},
        "broker": {
            **exchange,
            "key_id": outside.key_id,
            "key_file": outside.key_file,
            "mode": mode,
            "risks_understood": mode == "live",
        },
    }
    clock = ClockSpec()
    return Plan(
        run=run,
        target_ns=target_ns,
        origins={},
        clock=clock,
        addresses=addresses,
        infrastructure=(nats_process(run, addresses),),
        services=service_processes(run, clock, addresses, own, brokers),
        outside=True,
    )


def _outside(given: Given, exchange: Exchange, index_url: str) -> Outside:
    return Outside(
        rest_url=exchange.rest_url,
        ws_url=exchange.ws_url,
        index_url=index_url,
        key_id=given.key_id or "",
        key_file=str(given.key_file.resolve()) if given.key_file else "",
        index_key_file=str(given.index_key_file.resolve()) if given.index_key_file else "",
    )


def _operator(outside: Outside) -> dict[str, str]:
    return {"operator_key": outside.operator_key} if outside.operator_key else {}


def _file_problem(path: Path | None, option: str) -> str:
    """Return why a secret file can't be used, "" if it can."""
    if path is None:
        return f"expected {option}"
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        return f"{option}: expected a readable file at {path}, found: {error.strerror}"
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        shown = f"{stat.S_IMODE(mode):04o}"
        return f"{option}: expected a file that only its owner can read, found mode {shown}"
    return ""


def _stored_readiness(outside: Outside, wall_ns: int) -> str:
    """Return why the last run's KV holds no GO for every series, "" if it does.

    The store is opened for a moment by a server of its own: nothing else is up yet.
    """
    run = RunDirectory(outside.run_root)
    if not (run.root / "nats").exists():
        return "no earlier run of this key stored any"
    try:
        server = start_nats_server(write_nats(run, 0), run.configs)
    except NatsServerError as error:
        return str(error)
    try:
        return "; ".join(asyncio.run(_read_readiness(run, server.url, wall_ns)))
    except BusError as error:
        return str(error)
    finally:
        server.stop()


async def _read_readiness(run: RunDirectory, url: str, wall_ns: int) -> list[str]:
    password = run.token(f"nats-{Service.BROKER}.password").read_text(encoding="utf-8")
    bus = await NatsBus.connect(url, Service.BROKER, password)
    try:
        return await all_problems(bus, HOURLY_SERIES, wall_ns, READ_TIMEOUT_S)
    finally:
        await bus.close()
