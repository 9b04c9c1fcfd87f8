"""Ask the processes of a run how they are."""

import asyncio
from collections.abc import Mapping

from cli.processes import is_broker
from libs.common.admin import probe_health

PROBE_TIMEOUT_S = 1.0


async def health_of(admin_ports: Mapping[str, int]) -> dict[str, str]:
    """Return SERVING, STANDBY, NOT_SERVING or UNREACHABLE for each process, by name."""
    probes = [probe_health(f"127.0.0.1:{port}", PROBE_TIMEOUT_S) for port in admin_ports.values()]
    return dict(zip(admin_ports, await asyncio.gather(*probes), strict=True))


def all_ready(health: Mapping[str, str]) -> bool:
    """Return whether every service does its work: one broker leads, the others stand by."""
    brokers = [state for name, state in health.items() if is_broker(name)]
    others = [state for name, state in health.items() if not is_broker(name)]
    ready = all(state == "SERVING" for state in others)
    return ready and sorted(brokers) == ["SERVING", *["STANDBY"] * (len(brokers) - 1)]
