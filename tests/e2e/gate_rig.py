"""A whole simulated system whose risk decides as with real money; its inputs can be spoilt."""

import asyncio
import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any, Self

import yaml
from msgspec.structs import replace

from cli.broker_admin import release_kill_switch
from cli.decisions import risk_state
from cli.ledger_admin import write_report
from cli.plan import choose_window, make_plan, window_clock
from cli.risk_admin import offer
from cli.run_directory import RunDirectory
from cli.runs import RunningRun
from cli.stack import Stack
from libs.common.clock import NS_PER_S
from libs.common.inbox import Refused, read_stored
from libs.common.messages import (
    Cause,
    EvBin,
    FeedStatus,
    Message,
    OverrideKind,
    SeriesReadiness,
    SettledEvidence,
    Verdict,
    encode,
    envelope,
)
from libs.common.nats_bus import NatsBus
from libs.common.topology import Service, subject_of
from libs.domain.families import HOURLY_SERIES
from libs.domain.tickers import format_event_ticker
from services.pricer.calibration import decode_calibration, encode_calibration, sealed
from tests.e2e.rig import ROOT

DAY_NS = 86_400 * NS_PER_S
HOUR = 14
"""The window of 13:45 to 14:00 in New York: the par yield is frozen meanwhile."""
LEDGER_AGE_S, MONITORS_AGE_S, MONITORS_EVERY_S = 40.0, 40.0, 5.0
"""Two hours would take hours."""
HEARTBEAT_AGE_S = 60.0
"""For five minutes likewise; longer than the two above, whose processes then fall silent too."""
SEEN_S = 25.0
MINUTES = "index.minutes"
"""A feed that the close ranges need; in this run the hourly families need it too."""
Reasons = set[tuple[str, str]]
"""Gates with the reasons for which they say no."""
GOOD_METRICS = {
    "crps_advantage": 0.05,
    "brier_advantage": 0.01,
    "non_monotone": 0.0,
    "negative_ev": 0.0,
    "tz": 0.0,
}


def failing(verdict: Verdict) -> Reasons:
    """Return what makes a verdict NO-GO."""
    return {(one.gate, one.reason) for one in verdict.gates if one.refuses}


class GateRig:
    """Use with `async with`: everything READY and trading, evidence given, at the end all gone."""

    def __init__(
        self, root: Path, speed: float, lead_s: float, fee_change_s: float | None = None
    ) -> None:
        self.run = RunDirectory.create(root / "run")
        window = choose_window(seed=3, bars=(), day=date(2026, 10, 2), hour=HOUR)
        self.clock_spec = window_clock(window, speed, lead_s, time.time_ns())
        self.clock = self.clock_spec.build()
        self.window = window
        self.speed = speed
        self.plan = make_plan(self.run, window, self.clock_spec, self._overrides())
        self._tell_exchange(fee_change_s)
        self.stack = Stack(self.plan)
        self._reporting: NatsBus | None = None
        self._minutes: asyncio.Task[None] | None = None
        self.minutes_come = asyncio.Event()
        self._place = 0
        self._count = 0

    async def __aenter__(self) -> Self:
        await self.stack.start()
        admin = self.plan.addresses.admin
        await release_kill_switch(self.run, admin, "gate test")
        self._reporting = await self.bus(Service.REPORTING)
        self.policy_hash = (await self.state())["config_hash"]
        self.minutes_come.set()
        self._minutes = asyncio.create_task(self._say_minutes())
        await self.good_evidence()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._minutes is not None:
            self._minutes.cancel()
            await asyncio.gather(self._minutes, return_exceptions=True)
        if self._reporting is not None:
            await self._reporting.close()
        await self.stack.stop()

    async def _say_minutes(self) -> None:
        """Say once a second, as feeds would, that whole minutes of the index come."""
        bus = await self.bus(Service.FEEDS)
        try:
            while True:
                await self.minutes_come.wait()
                newest_ns = self.clock.now_ns()
                status = FeedStatus(
                    **self.envelope(), feed=MINUTES, ok=True, newest_ns=newest_ns, detail=""
                )
                await bus.publish(subject_of(status), encode(status), message_id=status.id)
                await asyncio.sleep(1.0)
        finally:
            await bus.close()

    # What is spoilt, and mended

    def freeze_process(self, name: str) -> None:
        """Stop a process where it is, as a machine does that hangs."""
        self._signal(name, signal.SIGSTOP)

    def thaw_process(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def end_process(self, name: str) -> None:
        """Let a process end in good order; its supervisor starts it again."""
        self._signal(name, signal.SIGTERM)

    def fault(self, **fault: Any) -> None:
        """Put a fault of the simulated exchange in force."""
        self._admin("POST", json.dumps(fault).encode())

    def no_faults(self) -> None:
        self._admin("DELETE", None)

    def age_calibration(self, days: float) -> None:
        """Let the newest data behind the models be so old; the pricer reads it when it starts."""
        shipped = ROOT / "configs" / "calibration" / "index.json"
        known = decode_calibration(shipped.read_bytes(), str(shipped), "INXU")
        end_ns = self.window.start_ns - round(days * DAY_NS)
        dated = sealed(replace(known, data_end_ns=end_ns, sha256=""))
        self.calibration_file.write_bytes(encode_calibration(dated))

    @property
    def event_ticker(self) -> str:
        """Return the event of the first series."""
        return format_event_ticker(HOURLY_SERIES[0], self.plan.target_ns)

    @property
    def calibration_file(self) -> Path:
        return self.run.root / "calibration.json"

    async def good_evidence(self) -> None:
        for series in HOURLY_SERIES:
            await self.say(self.readiness(series))
            await self.say(self.evidence(series))

    def readiness(self, series: str, **changes: Any) -> SeriesReadiness:
        now_ns = self.clock.now_ns()
        fields: dict[str, Any] = {
            "series_ticker": series,
            "go": True,
            "reasons": (),
            "targets_from_ns": self.plan.target_ns,
            "targets_until_ns": self.plan.target_ns,
            "config_hash": self.policy_hash,
            "expires_ns": now_ns + DAY_NS,
        }
        return SeriesReadiness(**self.envelope(), **(fields | changes))

    def evidence(self, series: str, **changes: Any) -> SettledEvidence:
        fields: dict[str, Any] = {
            "series_ticker": series,
            "metrics": GOOD_METRICS,
            "deltas_bps": (1.0,) * 20,
            "bins": (EvBin(lower=0.0, upper=1.0, contracts_e2=9_000, gap_e6=0),),
            "expires_ns": self.clock.now_ns() + DAY_NS,
        }
        return SettledEvidence(**self.envelope(), **(fields | changes))

    async def say(self, message: Message, service: Service = Service.REPORTING) -> None:
        """Publish as a service does."""
        if service is Service.REPORTING:
            assert self._reporting is not None
            await self._reporting.publish(
                subject_of(message), encode(message), message_id=message.id
            )
            return
        bus = await self.bus(service)
        try:
            await bus.publish(subject_of(message), encode(message), message_id=message.id)
        finally:
            await bus.close()

    async def override(
        self, kind: OverrideKind, scope: str = "", value: str = "", hours: float = 4.0
    ) -> dict[str, Any]:
        """Sign and offer an override with the run's own operator key."""
        return await asyncio.to_thread(
            lambda: offer(
                self.known(),
                self.run.secrets / "operator.pem",
                kind=kind,
                scope=scope,
                value=value,
                reason="gate test",
                by="operator",
                hours=hours,
            )
        )

    # What is seen

    async def state(self) -> dict[str, Any]:
        """Return what `alpha status` shows of risk."""
        found = await asyncio.to_thread(risk_state, self.known())
        assert found is not None, "risk does not answer"
        return found

    def known(self) -> RunningRun:
        return RunningRun(self.run, self.stack.state())

    async def verdicts(self) -> list[Verdict]:
        """Return the verdicts since the last look."""
        bus = await self.bus(Service.CONSOLE)
        found: list[Verdict] = []
        try:
            while batch := await bus.read("VERDICTS", self._place, 1_000):
                for stored in batch:
                    self._place = stored.sequence
                    try:
                        message = read_stored(stored, self.clock.now_ns())
                    except Refused:
                        continue
                    assert isinstance(message, Verdict)
                    found.append(message)
        finally:
            await bus.close()
        return found

    async def alone(self, gate: str, reason: str) -> Verdict:
        """Return the first verdict in which this gate alone says no, also seen in status."""
        return await self.only({(gate, reason)})

    async def only(
        self, wanted: Reasons, asks: Callable[["GateRig"], Awaitable[None]] | None = None
    ) -> Verdict:
        """Return the first verdict in which just these say no, also seen in status.

        `asks` proposes what the pricer would not.
        """
        await self.verdicts()
        deadline = time.monotonic() + SEEN_S
        seen: set[tuple[tuple[str, str], ...]] = set()
        while time.monotonic() < deadline:
            if asks is not None:
                await asks(self)
            for verdict in await self.verdicts():
                failed = failing(verdict)
                seen.add(tuple(sorted(failed)))
                if failed == wanted:
                    await self.shown_in_status(failed)
                    return verdict
            if ("panic", "panic_backoff") not in wanted:
                await self._lift_panic()
            await asyncio.sleep(0.1)
        raise AssertionError(f"expected {sorted(wanted)} and no other, saw {sorted(seen)}")

    async def shown_in_status(self, wanted: Reasons) -> None:
        """Return once `alpha status` shows these."""

        async def shown() -> bool:
            events = (await self.state())["events"]
            return wanted <= {
                (one["gate"], one["reason"]) for event in events for one in event["failed"]
            }

        await self.until(shown, f"{wanted} in alpha status")

    async def go(self, timeout_s: float = 30.0) -> None:
        """Return once a verdict is GO again, the panic latch lifted as often as it falls."""
        await self.verdicts()
        deadline = time.monotonic() + timeout_s
        seen: set[tuple[str, ...]] = set()
        while time.monotonic() < deadline:
            for verdict in await self.verdicts():
                if verdict.decision == "GO":
                    return
                seen.add(tuple(one.gate for one in verdict.gates if one.refuses))
            await self._lift_panic()
            await asyncio.sleep(0.2)
        raise AssertionError(f"expected a GO, saw {sorted(seen)}")

    async def _lift_panic(self) -> None:
        """Lift the latch as an operator does; several causes in a row let it fall."""
        if (await self.state())["panic_latched_by"]:
            assert (await self.override("lift_panic"))["in_force"]

    def metric(self, name: str) -> list[str]:
        """Return the lines of a metric of risk, as a scraper gets them."""
        token = (self.run.secrets / "admin.token").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.plan.addresses.metrics['risk']}/metrics",
            headers={"Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return [line for line in lines if line.startswith(name)]

    def counted(self, gate: str, reason: str) -> bool:
        """Return whether the metrics count this no."""
        wanted = f'gate="{gate}",reason="{reason}"'
        return any(wanted in line for line in self.metric("alpha_gate_failed_total"))

    async def report(self) -> dict[str, Any]:
        """Return the session report as it is now."""
        answer = await write_report(self.run, self.plan.addresses.admin["reporting"], "2026-10-02")
        text = await asyncio.to_thread(Path(answer.json_path).read_text)
        return json.loads(text)

    async def bus(self, service: Service) -> NatsBus:
        password = self.run.token(f"nats-{service}.password").read_text()
        return await NatsBus.connect(self.plan.addresses.nats_url, service, password)

    async def until(self, done: Callable[[], Awaitable[bool]], what: str) -> None:
        deadline = time.monotonic() + 30.0
        while not await done():
            assert time.monotonic() < deadline, f"expected {what}"
            await asyncio.sleep(0.1)

    def envelope(self) -> dict[str, Any]:
        self._count += 1
        now_ns = self.clock.now_ns()
        cause = Cause.first("gate test", f"{self._count}|{now_ns}", now_ns)
        return {**envelope(cause, "reporting")}

    def _signal(self, name: str, number: int) -> None:
        pid = self.stack.supervisor.child(name).pid
        assert pid is not None, f"{name} does not run"
        os.kill(pid, number)

    def _overrides(self) -> dict[str, dict[str, Any]]:
        self.age_calibration(1.0)
        ours = dict.fromkeys(("INXU", "NASDAQ100U"), str(self.calibration_file))
        gates = {
            "ledger_age_s_max": LEDGER_AGE_S,
            "monitors_age_s_max": MONITORS_AGE_S,
            "heartbeat_age_s_max": HEARTBEAT_AGE_S,
        }
        families = ["INX", "NASDAQ100", "INXU", "NASDAQ100U"]
        freshness = {"feeds": {MINUTES: {"families": families}}}
        return {
            "risk": {"mode": "live", "policy": {"gates": gates, "freshness": freshness}},
            "pricer": {"calibrations": ours},
            "feeds": {"fee_facts_every_s": 10.0},
            "monitors": {"policy": {"publish_every_s": MONITORS_EVERY_S}},
        }

    def _tell_exchange(self, fee_change_s: float | None) -> None:
        """Open the exchange's fault desk; let a fee change so long after the window's start."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._admin_port = free.getsockname()[1]
        token = self.run.token("faults.token")
        config = self.run.configs / "exchange.yaml"
        values = yaml.safe_load(config.read_text())
        values["exchange"] |= {
            "admin_port": self._admin_port,
            "admin_token_file": str(token),
        }
        if fee_change_s is not None:
            change = {
                "series_ticker": HOURLY_SERIES[0],
                "from_ns": self.window.start_ns + round(fee_change_s * NS_PER_S),
                "fee_type": "quadratic",
                "multiplier_e4": 12_500,
            }
            values["exchange"]["fee_changes"] = [change]
        config.write_text(yaml.safe_dump(values))

    def _admin(self, method: str, body: bytes | None) -> None:
        token = (self.run.secrets / "faults.token").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._admin_port}/faults",
            data=body,
            method=method,
            headers={"Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(request, timeout=10):
            return
