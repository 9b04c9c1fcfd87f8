"""Start monitors: `python -m services.monitors --config FILE`."""

from libs.common.main import run_service
from services.monitors.app import MonitorsApp
from services.monitors.config import MonitorsConfig

if __name__ == "__main__":
    raise SystemExit(run_service(MonitorsConfig, MonitorsApp))
