"""What a run against simulated markets sets otherwise than `configs/`, by service."""

from typing import Any

from libs.common.topology import Service

SIMULATED: dict[str, dict[str, Any]] = {
    # A simulated market proves nothing about its own age: any calibration will do.
    Service.PRICER: {"policy": {"calibration_age_days_max": None}},
    # Simulated money may climb the size ladder; the pilot's clamp holds all the same.
    Service.RISK: {"mode": "sim", "policy": {"sizing": {"size_ladder": {"stage": "B"}}}},
}

NEVER = 1_000


def at_speed(rate: float) -> dict[str, dict[str, Any]]:
    """Return what a run sets otherwise whose clock is faster than real time.

    There a machine's own hiccup is an alert, and three of them would end the trading day: they
    are shown, and don't latch it.
    """
    if rate <= 1:
        return {}
    never = {"policy": {"gates": {"panic_monitors_min": NEVER}}}
    return {Service.RISK: never, Service.MONITORS: never}
