"""Ask the broker's admin endpoint: kill switch, state, orders."""

import asyncio
from pathlib import Path
from typing import Any

from cli.admin_client import AdminError, admin_channel, authorization, call
from cli.run_directory import RunDirectory
from cli.runs import running
from proto import broker_pb2, broker_pb2_grpc

ENGAGE_TIMEOUT_S = 30.0
CALL_TIMEOUT_S = 10.0


async def ask_broker(
    token_file: Path, port: int, method: str, request: Any, timeout_s: float = CALL_TIMEOUT_S
) -> Any:
    """Call one method of the broker's admin endpoint; raise `AdminError`."""
    async with admin_channel(port) as channel:
        stub = broker_pb2_grpc.BrokerAdminStub(channel)
        return await call(getattr(stub, method), request, authorization(token_file), timeout_s)


async def release_kill_switch(run: RunDirectory, port: int, by: str) -> None:
    """Let the broker trade; raise `AdminError` when it won't."""
    request = broker_pb2.KillSwitchRequest(reason="session start", by=by)
    await ask_broker(run.token("admin.token"), port, "ReleaseKillSwitch", request)


def engage(reason: str, by: str) -> Any:
    """Engage the kill switch of the run that is up and return what was confirmed."""
    request = broker_pb2.KillSwitchRequest(reason=reason, by=by)
    return _ask_running("EngageKillSwitch", request, ENGAGE_TIMEOUT_S)


def release(reason: str, by: str) -> Any:
    """Release the kill switch of the run that is up and return the broker's state."""
    request = broker_pb2.KillSwitchRequest(reason=reason, by=by)
    return _ask_running("ReleaseKillSwitch", request, CALL_TIMEOUT_S)


def state() -> Any:
    """Return the broker's state of the run that is up."""
    return _ask_running("GetState", broker_pb2.GetStateRequest(), CALL_TIMEOUT_S)


def _ask_running(method: str, request: Any, timeout_s: float) -> Any:
    known = running()
    if known is None:
        raise AdminError("nothing is up; start it with `alpha up` or `alpha demo`")
    token_file = known.run.secrets / "admin.token"
    port = known.admin_port("broker")
    return asyncio.run(ask_broker(token_file, port, method, request, timeout_s))
