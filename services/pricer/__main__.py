"""Start the pricer as a process: `python -m services.pricer --config FILE`."""

from libs.common.main import run_service
from services.pricer.app import PricerApp
from services.pricer.config import PricerConfig

if __name__ == "__main__":
    raise SystemExit(run_service(PricerConfig, PricerApp))
