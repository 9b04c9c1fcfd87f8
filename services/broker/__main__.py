"""Start the broker: `python -m services.broker --config FILE`."""

from libs.common.main import run_service
from services.broker.app import BrokerApp
from services.broker.config import BrokerConfig

if __name__ == "__main__":
    raise SystemExit(run_service(BrokerConfig, BrokerApp))
