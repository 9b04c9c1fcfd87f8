"""The index simulator as a program: one path, served over the Massive protocol."""

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence

from msgspec import Struct

from lab.market.bars import BarsError
from lab.market.config import PathConfig, build_path
from lab.market.faults import FaultError, parse_faults
from lab.market.massive import MassiveServer
from libs.common.clock import Clock, ClockSpec
from libs.common.config import ConfigError, load_config, read_secret


class IndexConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to run the index simulator; `faults` are forms like "silence@+120s:5s"."""

    api_key_file: str
    host: str = "127.0.0.1"
    port: int = 0
    clock: ClockSpec = ClockSpec()
    path: PathConfig = PathConfig()
    faults: tuple[str, ...] = ()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def serve(
    config: IndexConfig,
    clock: Clock,
    stop: asyncio.Event | None = None,
    say: Callable[[str], None] = _say,
) -> None:
    """Serve until `stop` is set; `say` hears one line when ready, with URL and origins.

    Raises ConfigError, BarsError, FaultError, or OSError when the port is taken.
    """
    key = read_secret(config.api_key_file, "api_key_file")
    faults = parse_faults(config.faults)
    path = build_path(config.path)
    async with MassiveServer(
        path, clock, key, host=config.host, port=config.port, faults=faults
    ) as server:
        origins = "; ".join(f"{symbol} {text}" for symbol, text in path.origins().items())
        say(f"index simulator ready at {server.url}: {origins}")
        await server.run_until(stop or asyncio.Event())


async def run_index(config: IndexConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises as `serve`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(config, config.clock.build(), stop)


def main(arguments: Sequence[str]) -> int:
    """Run `--config FILE` until SIGTERM; return the exit status, 2 with one line on bad input."""
    if len(arguments) != 2 or arguments[0] != "--config":
        sys.stderr.write("expected: python -m lab.market --config FILE\n")
        return 2
    try:
        asyncio.run(run_index(load_config([arguments[1]], IndexConfig)))
    except (ConfigError, BarsError, FaultError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"index simulator: expected a free address to listen on, found {error}\n")
        return 2
    return 0
