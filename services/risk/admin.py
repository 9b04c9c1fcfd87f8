"""gRPC `RiskAdmin`: take an operator's override, show what stands and why."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from libs.common.messages import BadMessage, Override, Verdict, decode
from proto import risk_pb2 as pb
from proto import risk_pb2_grpc
from services.risk.core import RiskCore

UNREADABLE = "unreadable"

Offer = Callable[[Override], Awaitable[tuple[str, str]]]


class RiskAdmin(risk_pb2_grpc.RiskAdminServicer):
    """Answer operators; overrides are taken once risk has recovered."""

    def __init__(self, core: RiskCore) -> None:
        self._core = core
        self._offer: Offer | None = None
        self._now_ns: Callable[[], int] = lambda: 0

    def attach(self, offer: Offer, now_ns: Callable[[], int]) -> None:
        """Begin to answer."""
        self._offer, self._now_ns = offer, now_ns

    def add_to(self, server: grpc.aio.Server) -> str:
        """Register with a server; return the service's full name."""
        risk_pb2_grpc.add_RiskAdminServicer_to_server(self, server)
        return str(pb.DESCRIPTOR.services_by_name["RiskAdmin"].full_name)

    async def GiveOverride(  # noqa: N802
        self, request: pb.OverrideRequest, context: Any
    ) -> pb.OverrideReply:
        if self._offer is None:
            await context.abort(
                grpc.StatusCode.UNAVAILABLE, "risk is recovering; ask again shortly"
            )
        assert self._offer is not None, "abort raises"
        try:
            override = decode(request.override_json)
        except BadMessage:
            override = None
        if not isinstance(override, Override):
            self._core.overrides.refused[UNREADABLE] += 1
            expected = "expected the JSON of an Override message; use `alpha override`"
            return pb.OverrideReply(in_force=False, refusal=UNREADABLE, explanation=expected)
        refusal, explanation = await self._offer(override)
        return pb.OverrideReply(in_force=not refusal, refusal=refusal, explanation=explanation)

    async def GetState(  # noqa: N802
        self, request: pb.RiskStateRequest, context: Any
    ) -> pb.RiskState:
        del request, context
        core, now_ns = self._core, self._now_ns()
        return pb.RiskState(
            mode=core.mode,
            config_hash=core.policy_hash,
            panic_latched_by=core.panic.latched_by(now_ns),
            overrides=[_in_force(one) for one in core.overrides.all_in_force(now_ns)],
            overrides_refused=dict(core.overrides.refused),
            verdicts=[_newest(one) for one in core.newest.values()],
        )


def _in_force(one: Override) -> pb.OverrideInForce:
    return pb.OverrideInForce(
        nonce=one.nonce,
        kind=one.kind,
        scope=one.scope,
        value=one.value,
        reason=one.reason,
        by=one.by,
        issued_ns=one.issued_ns,
        expires_ns=one.expires_ns,
    )


def _newest(verdict: Verdict) -> pb.NewestVerdict:
    return pb.NewestVerdict(
        event_ticker=verdict.event_ticker,
        decision=verdict.decision,
        at_ns=verdict.ts_event_ns,
        expires_at_ns=verdict.expires_at_ns,
        gates=len(verdict.gates),
        failed=[
            pb.FailedGate(
                gate=gate.gate, reason=gate.reason, detail=gate.detail, advisory=gate.advisory
            )
            for gate in verdict.gates
            if not gate.ok
        ],
    )
