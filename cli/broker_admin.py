"""Ask the admin endpoint of the broker that leads: kill switch, state, orders."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.admin_client import AdminError, admin_channel, authorization, call
from cli.health import health_of
from cli.processes import is_broker
from cli.run_directory import RunDirectory
from cli.runs import RunningRun, running
from proto import broker_pb2, broker_pb2_grpc

ENGAGE_TIMEOUT_S = 30.0
CALL_TIMEOUT_S = 10.0


class NoLeader(AdminError):
    """No broker of the run serves; one line that says how each of them is."""


async def ask_broker(
    token_file: Path, port: int, method: str, request: Any, timeout_s: float = CALL_TIMEOUT_S
) -> Any:
    """Call one method of the broker's admin endpoint; raise `AdminError`."""
    async with admin_channel(port) as channel:
        stub = broker_pb2_grpc.BrokerAdminStub(channel)
        return await call(getattr(stub, method), request, authorization(token_file), timeout_s)


async def release_kill_switch(run: RunDirectory, admin_ports: Mapping[str, int], by: str) -> None:
    """Let the broker trade; raise `AdminError` when it won't."""
    request = broker_pb2.KillSwitchRequest(reason="session start", by=by)
    port = await _leader(admin_ports)
    await ask_broker(run.token("admin.token"), port, "ReleaseKillSwitch", request)


def engage(known: RunningRun, reason: str, by: str) -> Any:
    """Engage the kill switch and return what was confirmed; raise `NoLeader`, `AdminError`."""
    request = broker_pb2.KillSwitchRequest(reason=reason, by=by)
    return _ask(known, "EngageKillSwitch", request, ENGAGE_TIMEOUT_S)


def release(reason: str, by: str) -> Any:
    """Release the kill switch of the run that is up and return the broker's state."""
    request = broker_pb2.KillSwitchRequest(reason=reason, by=by)
    return _ask(demand_running(), "ReleaseKillSwitch", request, CALL_TIMEOUT_S)


def reset_group(event_ticker: str) -> Any:
    """Let an event quote again that the exchange stopped; return the broker's state."""
    request = broker_pb2.ResetOrderGroupRequest(event_ticker=event_ticker)
    return _ask(demand_running(), "ResetOrderGroup", request, CALL_TIMEOUT_S)


def state() -> Any:
    """Return the broker's state of the run that is up."""
    return _ask(demand_running(), "GetState", broker_pb2.GetStateRequest(), CALL_TIMEOUT_S)


def demand_running() -> RunningRun:
    """Return the run that is up; raise `AdminError` when there is none."""
    known = running()
    if known is None:
        raise AdminError("nothing is up; start it with `alpha up` or `alpha demo`")
    return known


async def _leader(admin_ports: Mapping[str, int]) -> int:
    brokers = {name: port for name, port in admin_ports.items() if is_broker(name)}
    health = await health_of(brokers)
    for name, state in health.items():
        if state == "SERVING":
            return brokers[name]
    found = ", ".join(f"{name} {state}" for name, state in health.items())
    raise NoLeader(f"no broker serves ({found})")


def _ask(known: RunningRun, method: str, request: Any, timeout_s: float) -> Any:
    async def ask() -> Any:
        port = await _leader(known.state["admin"])
        token_file = known.run.secrets / "admin.token"
        return await ask_broker(token_file, port, method, request, timeout_s)

    return asyncio.run(ask())
