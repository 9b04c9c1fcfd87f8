"""Start a service as a process: read its configuration, connect, run, tell why it ended."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import uvloop

from libs.common.bus import BusError
from libs.common.config import ConfigError, ServiceConfig, load_config, read_secret
from libs.common.nats_bus import NatsBus
from libs.common.runner import App, Fatal, Runner, install_signals

ConfigType = TypeVar("ConfigType", bound=ServiceConfig)

EXIT_CONFIG = 2
EXIT_OPERATING = 3


def run_service(
    config_type: type[ConfigType],
    make_app: Callable[[ConfigType], App],
    arguments: Sequence[str] | None = None,
) -> int:
    """Run one service until it is told to stop; return the process's exit code.

    0 after an orderly end, 2 for a configuration that can't be used, 3 when it could not go
    on. Every failure is one line on standard error.
    """
    parser = argparse.ArgumentParser(description=(make_app.__doc__ or "").strip().split("\n")[0])
    parser.add_argument(
        "--config",
        action="append",
        required=True,
        metavar="FILE",
        help="YAML configuration; may be given again, a later file wins key by key",
    )
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config, config_type)
        app = make_app(config)
        uvloop.run(_serve(app, config))
    except ConfigError as error:
        print(f"{config_type.__name__}: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_CONFIG
    except (BusError, Fatal, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_OPERATING
    return 0


async def _serve(app: App, config: ServiceConfig) -> None:
    password = read_secret(config.nats_password_file, "nats_password_file")
    bus = await NatsBus.connect(config.nats_url, app.service, password)
    runner = Runner(app, bus, config.clock.build(), config)
    bus.fatal.add_done_callback(runner.context.fail_with)
    install_signals(runner)
    await runner.run()
