"""Run reporting: `python -m services.reporting --config FILE`."""

from libs.common.main import run_service
from services.reporting.app import ReportingApp
from services.reporting.config import ReportingConfig

if __name__ == "__main__":
    raise SystemExit(run_service(ReportingConfig, ReportingApp))
