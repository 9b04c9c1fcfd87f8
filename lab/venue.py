"""The whole outside of one run: the simulated exchange, its other participants, settlement.

`python -m lab.venue --config FILE` prints one ready line with the URL and runs until SIGTERM.
"""

import argparse
import sys

import uvloop
from msgspec import Struct

from lab.exchange.app import run
from lab.exchange.auth import KeysError
from lab.exchange.config import ExchangeConfig
from lab.exchange.engine import Engine
from lab.exchange.ladders import build_ladder
from lab.exchange.truth import TruthLogError
from lab.market.bars import BarsError
from lab.market.config import PathConfig, build_path
from lab.market.crowd import CrowdConfig
from lab.market.flow import Flow, open_accounts
from lab.market.path import IndexPath
from libs.common.config import ConfigError, load_config


class VenueConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An exchange, the index path that it settles on, and the crowd (None: an empty market)."""

    exchange: ExchangeConfig
    path: PathConfig = PathConfig()
    crowd: CrowdConfig | None = CrowdConfig()


class Crowd:
    """The other participants of all listed events."""

    def __init__(self, config: CrowdConfig, path: IndexPath, event_tickers: list[str]) -> None:
        self._config = config
        self._path = path
        self._waiting = event_tickers
        self._flows: list[Flow] = []

    def step(self, engine: Engine, now_ns: int) -> None:
        """Let everybody act once; they arrive with the first step."""
        if self._waiting:
            open_accounts(engine, self._config)
            self._flows = [
                Flow(engine, ticker, self._path, self._config) for ticker in self._waiting
            ]
            self._waiting = []
        for flow in self._flows:
            flow.step(engine, now_ns)


async def serve(config: VenueConfig) -> None:
    """Run the venue until told to stop. Raises BarsError, KeysError, TruthLogError, OSError."""
    path = build_path(config.path)
    events = [build_ladder(ladder).event.ticker for ladder in config.exchange.ladders]
    crowd = Crowd(config.crowd, path, events) if config.crowd is not None else None
    clock = config.exchange.clock.build()
    await run(config.exchange, clock, sys.stdout, flow=crowd, settlement_level=path.level_e4)


def main() -> int:
    """Run until told to stop; return the exit code, 2 with one line on bad input."""
    parser = argparse.ArgumentParser(prog="python -m lab.venue", description=__doc__)
    parser.add_argument("--config", required=True, help="YAML file (VenueConfig)")
    arguments = parser.parse_args()
    try:
        uvloop.run(serve(load_config([arguments.config], VenueConfig)))
    except (ConfigError, KeysError, TruthLogError, BarsError) as error:
        sys.stderr.write(f"venue: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"venue: expected to listen on the configured address, got: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
