"""Start risk as a process: `python -m services.risk --config FILE`."""

import os

# Sizing's matrices are small: handing them to threads costs more than it gives.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from libs.common.main import run_service
from services.risk.app import RiskApp
from services.risk.config import RiskConfig

if __name__ == "__main__":
    raise SystemExit(run_service(RiskConfig, RiskApp))
