"""What a run against simulated markets sets otherwise than `configs/`, by service."""

from typing import Any

from libs.common.topology import Service

SIMULATED: dict[str, dict[str, Any]] = {
    # A simulated market proves nothing about its own age: any calibration will do.
    Service.PRICER: {"policy": {"calibration_age_days_max": None}},
    # Simulated money may climb the size ladder; the pilot's clamp holds all the same.
    Service.RISK: {"mode": "sim", "policy": {"sizing": {"size_ladder": {"stage": "B"}}}},
}
