"""Each gate seen failing alone by its real cause: in the verdict, in status, metrics and report.

Two never fail quite alone, by what they are: a freeze ends when its family's own window opens, so
`window` says no as well (tests/libs/domain/test_window_calendar.py proves it for 2024 to 2027);
and a loss over `drawdown`'s budget leaves sizing's `loss_budget`, which counts the worst case
against the same limits, no room. A proposal that asks for nothing meets `drawdown` alone.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest
from msgspec import Struct

from cli.broker_admin import engage, release_kill_switch
from libs.common.clock import NS_PER_S
from libs.common.messages import EvBin, ExchangeSettlement, Fill
from libs.common.topology import Service
from libs.domain.families import HOURLY_SERIES
from services.risk.gates import GATES
from tests.e2e.gate_probe import (
    ask_for_an_unknown_event,
    ask_for_nothing,
    ask_from_the_future,
    ask_par_yield,
    know_par_yield,
)
from tests.e2e.gate_rig import GateRig, Reasons

FIRST, SECOND = HOURLY_SERIES
FEE_CHANGE_S = 150


async def window_closes(rig: GateRig) -> None:
    await rig.clock.sleep_until(rig.plan.target_ns - 5 * NS_PER_S)


async def silent_index(rig: GateRig) -> None:
    rig.freeze_process("index")


async def speaking_index(rig: GateRig) -> None:
    rig.thaw_process("index")


async def silent_books(rig: GateRig) -> None:
    rig.fault(fault="silence", s=20, where={"channels": ["orderbook_delta"]})


async def no_faults(rig: GateRig) -> None:
    rig.no_faults()


async def skewed_clock(rig: GateRig) -> None:
    rig.fault(fault="clock_offset", s=-3.0)


async def paused_exchange(rig: GateRig) -> None:
    rig.fault(fault="pause")


async def halted_markets(rig: GateRig) -> None:
    rig.fault(fault="halt", markets=["*"])


async def silent_minutes(rig: GateRig) -> None:
    rig.minutes_come.clear()


async def coming_minutes(rig: GateRig) -> None:
    rig.minutes_come.set()


async def old_calibration(rig: GateRig) -> None:
    rig.age_calibration(15.0)
    rig.end_process("pricer")


async def new_calibration(rig: GateRig) -> None:
    rig.age_calibration(1.0)
    rig.end_process("pricer")


async def kill_switch_on(rig: GateRig) -> None:

    await asyncio.to_thread(engage, rig.known(), "gate test", "operator")


async def kill_switch_off(rig: GateRig) -> None:
    await release_kill_switch(rig.run, rig.plan.addresses.admin, "gate test")


async def hung_broker(rig: GateRig) -> None:
    rig.freeze_process("broker")


async def awake_broker(rig: GateRig) -> None:
    rig.thaw_process("broker")


async def nothing(rig: GateRig) -> None:
    """It mends itself."""


async def silent_ledger(rig: GateRig) -> None:
    rig.freeze_process("reporting")


async def speaking_ledger(rig: GateRig) -> None:
    rig.thaw_process("reporting")


async def silent_monitors(rig: GateRig) -> None:
    rig.freeze_process("monitors")


async def speaking_monitors(rig: GateRig) -> None:
    rig.thaw_process("monitors")


async def not_ready(rig: GateRig) -> None:
    for series in HOURLY_SERIES:
        await rig.say(rig.readiness(series, go=False, reasons=("fills 120 of 300",)))


async def bad_model(rig: GateRig) -> None:
    for series in HOURLY_SERIES:
        metrics = rig.evidence(series).metrics | {"crps_advantage": 0.001}
        await rig.say(rig.evidence(series, metrics=metrics))


async def bad_trades(rig: GateRig) -> None:
    for series in HOURLY_SERIES:
        await rig.say(rig.evidence(series, deltas_bps=(1.0,) * 20 + (-60.0,)))


async def dishonest_ev(rig: GateRig) -> None:
    whole = EvBin(lower=0.0, upper=1.0, contracts_e2=9_000, gap_e6=-150_000)
    for series in HOURLY_SERIES:
        await rig.say(rig.evidence(series, bins=(whole,)))


async def good_evidence(rig: GateRig) -> None:
    await rig.good_evidence()


async def changed_fees(rig: GateRig) -> None:
    await rig.clock.sleep_until(rig.window.start_ns + FEE_CHANGE_S * NS_PER_S)


async def acknowledged_fees(rig: GateRig) -> None:
    """Sign for what each verdict names, as its gate shows it."""
    verdict = await rig.alone("fee_rules", "fee_rules_unacknowledged")
    (gate,) = [one for one in verdict.gates if one.gate == "fee_rules"]
    facts = gate.detail.removeprefix("facts ").split(":")[0]
    answer = await rig.override("acknowledge_fee_rules", verdict.series_ticker, facts)
    assert answer["in_force"]


async def alerts_together(rig: GateRig) -> None:
    """The index is silent, the exchange paused, our clock off: three monitors say so."""
    rig.freeze_process("index")
    rig.fault(fault="pause")
    rig.fault(fault="clock_offset", s=-3.0)

    async def latched() -> bool:
        return bool((await rig.state())["panic_latched_by"])

    await rig.until(latched, "the panic latch to fall")
    rig.thaw_process("index")
    rig.no_faults()


async def lost_money(rig: GateRig) -> None:
    """10,000 contracts at $0.40 of an earlier event came to nothing: $4,000."""
    await settle(rig, "T6700", "no")


async def won_money(rig: GateRig) -> None:
    """As many of another strike paid: $6,000."""
    await settle(rig, "T6710", "yes")


async def settle(rig: GateRig, strike: str, result: Literal["yes", "no"]) -> None:
    market: dict[str, Any] = {
        "event_ticker": f"{FIRST}-26OCT02H1300",
        "series_ticker": FIRST,
        "ticker": f"{FIRST}-26OCT02H1300-{strike}",
    }
    now_ns, count_e2 = rig.clock.now_ns(), 1_000_000
    fill = Fill(
        **rig.envelope(),
        **market,
        trade_id=f"{strike} {result}",
        order_id=strike,
        client_order_id=strike,
        side="bid",
        price_e4=4_000,
        count_e2=count_e2,
        is_taker=False,
        fee_e6=0,
        exchange_ns=now_ns,
    )
    paid = ExchangeSettlement(
        **rig.envelope(),
        **market,
        result=result,
        yes_count_e2=count_e2,
        no_count_e2=0,
        revenue_e6=count_e2 * (10_000 if result == "yes" else 0),
        fee_e6=0,
        settled_ns=now_ns,
    )
    for message in (fill, paid):
        await rig.say(message, Service.BROKER)


Deed = Callable[[GateRig], Awaitable[None]]


class Cause(Struct, frozen=True, kw_only=True):
    """What makes a gate say no, and what mends it.

    `with_window` says that it can't without that gate; `asks` proposes what nobody else would.
    """

    gate: str
    reason: str
    spoil: Deed
    mend: Deed | None = None
    asks: Deed | None = None
    with_window: bool = False

    @property
    def wanted(self) -> Reasons:
        """Return what says no, and nothing else does."""
        window = {("window", "outside_window")} if self.with_window else set()
        return {(self.gate, self.reason)} | window


def cause(gate: str, reason: str, spoil: Deed, mend: Deed) -> Cause:
    return Cause(gate=gate, reason=reason, spoil=spoil, mend=mend)


CAUSES = (
    Cause(
        gate="freeze",
        reason="freeze_window",
        spoil=know_par_yield,
        mend=nothing,
        asks=ask_par_yield,
        with_window=True,
    ),
    cause("fee_rules", "fee_rules_unacknowledged", nothing, acknowledged_fees),
    cause("fee_rules", "fee_rules_unacknowledged", changed_fees, acknowledged_fees),
    cause("kill_switch", "kill_switch", kill_switch_on, kill_switch_off),
    cause("freshness_index", "polygon_ws_stale", silent_index, speaking_index),
    cause("readiness", "readiness_no_go", not_ready, good_evidence),
    cause("panic", "panic_backoff", alerts_together, nothing),
    cause("exchange", "exchange_paused", paused_exchange, no_faults),
    cause("exchange", "exchange_paused", halted_markets, no_faults),
    cause("clock", "clock_skew_exceeded", skewed_clock, no_faults),
    cause("freshness_ladder", "STALE_FEEDS", silent_books, no_faults),
    cause("freshness_feeds", "STALE_FEEDS", silent_minutes, coming_minutes),
    cause("quality", "quality_crps_advantage", bad_model, good_evidence),
    cause("sequential_ev", "sequential_alert", bad_trades, good_evidence),
    cause("ev_honesty", "ev_honesty", dishonest_ev, good_evidence),
    cause("ledger", "ledger_stale", silent_ledger, speaking_ledger),
    cause("monitors", "monitors_stale", silent_monitors, speaking_monitors),
    cause("calibration", "calibration_stale", old_calibration, new_calibration),
    cause("heartbeat", "heartbeat_stale", hung_broker, awake_broker),
    Cause(
        gate="drawdown",
        reason="drawdown",
        spoil=lost_money,
        mend=won_money,
        asks=ask_for_nothing,
    ),
    # The last: nothing is quoted after it.
    Cause(gate="window", reason="outside_window", spoil=window_closes),
)
SHORT = ("kill_switch", "freshness_index", "readiness", "panic")


def test_there_is_a_cause_for_every_gate() -> None:
    assert {one.gate for one in CAUSES} == {gate.NAME for gate in GATES}


async def seen_one_after_another(rig: GateRig, causes: tuple[Cause, ...]) -> None:
    await rig.go()
    for one in causes:
        began_ns = rig.clock.now_ns()
        await one.spoil(rig)
        await rig.only(one.wanted, one.asks)
        assert rig.counted(one.gate, one.reason), f"{one.reason} is not in the metrics"
        took_s = (rig.clock.now_ns() - began_ns) / NS_PER_S
        sys.stdout.write(f"{one.gate:16} {one.reason:25} {one.spoil.__name__:18} {took_s:6.1f} s\n")
        if one.mend is not None:
            await one.mend(rig)
            await rig.go()
    await reported(rig, {(one.gate, one.reason) for one in causes})


async def reported(rig: GateRig, wanted: Reasons) -> None:
    section = (await rig.report())["sections"]["gates"]
    rows = [dict(zip(section["columns"], row, strict=True)) for row in section["rows"]]
    told = {(row["gate"], row["reason"]) for row in rows if row["weight"] == "decides"}
    assert wanted <= told


@pytest.mark.timeout(120)
async def test_gates_fail_alone_by_their_real_causes(tmp_path) -> None:
    async with GateRig(tmp_path, speed=4.0, lead_s=9.0) as rig:
        await seen_one_after_another(rig, tuple(one for one in CAUSES if one.gate in SHORT))
        assert "lift_panic" in (await rig.state())["overrides"]
        await bad_input(rig)


async def bad_input(rig: GateRig) -> None:
    """A proposal from the future, one for an unknown event and an expired override: refused,
    counted, shown.
    """
    await rig.only({("freshness_ladder", "STALE_FEEDS")}, ask_from_the_future)
    unknown = {
        ("window", "outside_window"),
        ("freshness_ladder", "STALE_FEEDS"),
        ("exchange", "exchange_paused"),
        ("readiness", "readiness_no_go"),
    }
    await rig.only(unknown, ask_for_an_unknown_event)
    assert all(rig.counted(gate, reason) for gate, reason in unknown)
    answer = await rig.override("lift_panic", hours=-1.0)
    assert (answer["in_force"], answer["refusal"]) == (False, "expired")
    assert answer["explanation"].startswith("expected one that ends after ")
    assert rig.metric('alpha_overrides_total{kind="lift_panic",outcome="expired"} 1.0')
    assert (await rig.state())["overrides_refused"] == {"expired": 1}


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_every_gate_fails_alone_by_its_real_cause(tmp_path) -> None:
    async with GateRig(tmp_path, speed=4.0, lead_s=9.0, fee_change_s=FEE_CHANGE_S) as rig:
        await seen_one_after_another(rig, CAUSES)
