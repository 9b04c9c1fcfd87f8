"""Start risk as a process: `python -m services.risk --config FILE`."""

from libs.common.main import run_service
from services.risk.app import RiskApp
from services.risk.config import RiskConfig

if __name__ == "__main__":
    raise SystemExit(run_service(RiskConfig, RiskApp))
