"""Ask risk's admin endpoint: what stands and why; offer it a signed override."""

import asyncio
import secrets
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from cli.admin_client import admin_channel, authorization, call
from cli.broker_admin import demand_running
from cli.keys import sign_as_operator
from cli.runs import RunningRun
from libs.common.clock import NS_PER_S, ClockSpec
from libs.common.messages import Cause, Override, OverrideKind, encode, envelope
from libs.common.overrides import override_bytes
from libs.common.topology import Service
from libs.domain.eastern import utc_text
from proto import risk_pb2, risk_pb2_grpc

CALL_TIMEOUT_S = 10.0


def get_state(known: RunningRun | None = None) -> Any:
    """Return risk's state of the run that is up; raise `AdminError`."""
    return _ask(known or demand_running(), "GetState", risk_pb2.RiskStateRequest())


def offer(
    known: RunningRun,
    key_file: Path,
    *,
    kind: OverrideKind,
    scope: str,
    value: str,
    reason: str,
    by: str,
    hours: float,
) -> dict[str, Any]:
    """Sign an override and offer it; return whether it is in force, else why not."""
    now_ns = msgspec.convert(known.state["clock"], ClockSpec).build().now_ns()
    nonce = secrets.token_hex(8)
    expires_ns = now_ns + round(hours * 3_600) * NS_PER_S
    bare = Override(
        **envelope(Cause.first("override", nonce, now_ns), Service.RISK),
        nonce=nonce,
        kind=kind,
        scope=scope,
        value=value,
        reason=reason,
        by=by,
        issued_ns=now_ns,
        expires_ns=expires_ns,
        signature="",
    )
    signed = replace(bare, signature=sign_as_operator(key_file, override_bytes(bare)))
    request = risk_pb2.OverrideRequest(override_json=encode(signed))
    reply = _ask(known, "GiveOverride", request)
    return {
        "in_force": reply.in_force,
        "refusal": reply.refusal,
        "explanation": reply.explanation,
        "nonce": nonce,
        "expires": utc_text(expires_ns),
    }


def _ask(known: RunningRun, method: str, request: Any) -> Any:
    async def ask() -> Any:
        async with admin_channel(known.admin_port(Service.RISK)) as channel:
            stub = risk_pb2_grpc.RiskAdminStub(channel)
            metadata = authorization(known.run.secrets / "admin.token")
            return await call(getattr(stub, method), request, metadata, CALL_TIMEOUT_S)

    return asyncio.run(ask())
