"""Risk's wiring: proposals, ladders, orders, fills, status and overrides in; verdicts out.

Its one adapter reads the kill switch, often; what it can't read is engaged.
"""

import asyncio
from collections.abc import Sequence

from libs.common import kill_switch
from libs.common.admin import AddServicer
from libs.common.bus import Bus
from libs.common.effects import Effect
from libs.common.messages import Message, Override, Verdict
from libs.common.metrics import Metrics
from libs.common.runner import AppBase, Context
from libs.common.topology import Service, stream_named
from services.risk.admin import RiskAdmin
from services.risk.config import RiskConfig
from services.risk.core import RiskCore
from services.risk.events import KillSwitchRead, OverrideAnswered, OverrideOffered

READ_TIMEOUT_S = 1.0
PAUSE_MIN_S = 0.01
VERDICTS_READ = 5_000
"""So many of the newest verdicts hold all that has not ended: they end within seconds."""


class RiskApp(AppBase):
    """Run risk: one verdict for each proposal, and a watch over every GO."""

    service = Service.RISK

    def __init__(self, config: RiskConfig) -> None:
        self.core = RiskCore(config.policy, config.mode, config.operator_key)
        self._every_s = config.kill_switch_every_s
        self._admin = RiskAdmin(self.core)
        self._context: Context | None = None
        self._answer = ("", "")

    async def recover(self, context: Context) -> None:
        """Fold our late verdicts, orders and fills; the durables bring all else anew.

        Verdicts first: an intent shows which of them the broker acts on.
        """
        self._context = context
        desk = self.core.desk

        def reserve(message: Message, _sequence: int) -> None:
            if isinstance(message, Verdict):
                desk.given(message)

        (everything,) = stream_named("VERDICTS").subjects
        newest = await context.bus.last_per_subject("VERDICTS", everything)
        last = max((stored.sequence for stored in newest), default=0)
        await context.read_back("VERDICTS", reserve, after=max(0, last - VERDICTS_READ))
        for stream in ("ORDERS", "FILLS"):

            def fold(message: Message, sequence: int, stream: str = stream) -> None:
                self.core.fold_own(message, stream, sequence)

            await context.read_back(stream, fold)
        desk.forget_past(context.now_ns())

    async def run(self, context: Context) -> None:
        """Read the kill switch until cancelled."""
        self._admin.attach(self.offer, context.now_ns)
        while True:
            engaged = await read_kill_switch(context.bus)
            context.dispatch(KillSwitchRead(now_ns=context.now_ns(), engaged=engaged))
            await context.clock.sleep(self._every_s)
            await asyncio.sleep(PAUSE_MIN_S)

    async def offer(self, override: Override) -> tuple[str, str]:
        """Let the core judge an override; return its refusal, in a word and explained, once what
        it published is stored.
        """
        assert self._context is not None, "operators are answered after recovery"
        now_ns = self._context.now_ns()
        published = self._context.dispatch(OverrideOffered(now_ns=now_ns, override=override))
        answer = self._answer
        await asyncio.gather(*published)
        return answer

    def perform(self, effect: Effect, after: Sequence[asyncio.Future[int]]) -> None:
        if not isinstance(effect, OverrideAnswered):
            super().perform(effect, after)
            return
        assert self._context is not None, "effects come after recovery"
        override, self._answer = effect.override, (effect.refusal, effect.explanation)
        outcome = effect.refusal or "in_force"
        self._context.metrics.overrides_total.labels(override.kind, outcome).inc()
        self._context.log.warning(
            "override",
            kind=override.kind,
            scope=override.scope,
            value=override.value,
            by=override.by,
            reason=override.reason,
            outcome=outcome,
        )

    def observe(self, message: Message, metrics: Metrics) -> None:
        if isinstance(message, Verdict):
            metrics.verdicts_total.labels(message.family, message.decision).inc()
            for gate in message.gates:
                if not gate.ok:
                    advised, failed = metrics.gate_advised_total, metrics.gate_failed_total
                    (advised if gate.advisory else failed).labels(gate.gate, gate.reason).inc()

    def detail(self) -> str:
        return self.core.summary()

    def admin_services(self) -> Sequence[AddServicer]:
        return (self._admin.add_to,)


async def read_kill_switch(bus: Bus) -> bool | None:
    """Return whether the switch is engaged; None when it is absent or can't be read."""
    try:
        return (await kill_switch.read_kill_switch(bus, READ_TIMEOUT_S)).engaged
    except kill_switch.KillSwitchUnreadable:
        return None
