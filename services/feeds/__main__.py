"""Start feeds: `python -m services.feeds --config FILE`."""

from libs.common.main import run_service
from services.feeds.app import FeedsApp
from services.feeds.config import FeedsConfig

if __name__ == "__main__":
    raise SystemExit(run_service(FeedsConfig, FeedsApp))
