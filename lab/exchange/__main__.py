"""`python -m lab.exchange --config FILE`: the bare exchange simulator, without participants."""

import argparse
import sys
from pathlib import Path

import uvloop

from lab.exchange.app import run
from lab.exchange.auth import KeysError
from lab.exchange.config import ExchangeConfig
from lab.exchange.truth import TruthLogError
from libs.common.config import ConfigError, load_config


def main() -> int:
    """Run until told to stop; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lab.exchange", description=__doc__)
    parser.add_argument("--config", required=True, type=Path, help="YAML file (ExchangeConfig)")
    arguments = parser.parse_args()
    try:
        config = load_config([arguments.config], ExchangeConfig)
        uvloop.run(run(config, config.clock.build(), sys.stdout))
    except (ConfigError, KeysError, TruthLogError) as error:
        sys.stderr.write(f"exchange: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(
            f"exchange: expected to listen on the configured host and port, got: {error};"
            " choose another port\n"
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
