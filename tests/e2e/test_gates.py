"""Each gate seen failing alone by its real cause: in the verdict, in status, metrics and report."""

import asyncio
from typing import Any

import pytest

from cli.broker_admin import engage, release_kill_switch
from libs.common.clock import NS_PER_S
from libs.common.messages import EvBin, ExchangeSettlement, Fill, Proposal
from libs.common.topology import Service
from libs.domain.families import HOURLY_SERIES
from tests.e2e.gate_rig import GateRig

FIRST, SECOND = HOURLY_SERIES
FEE_CHANGE_S = 40


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


CAUSES = {
    "fee_rules": ("fee_rules_unacknowledged", changed_fees, acknowledged_fees),
    "kill_switch": ("kill_switch", kill_switch_on, kill_switch_off),
    "freshness_index": ("polygon_ws_stale", silent_index, speaking_index),
    "readiness": ("readiness_no_go", not_ready, good_evidence),
    "panic": ("panic_backoff", alerts_together, nothing),
    "exchange": ("exchange_paused", paused_exchange, no_faults),
    "clock": ("clock_skew_exceeded", skewed_clock, no_faults),
    "freshness_ladder": ("STALE_FEEDS", silent_books, no_faults),
    "quality": ("quality_crps_advantage", bad_model, good_evidence),
    "sequential_ev": ("sequential_alert", bad_trades, good_evidence),
    "ev_honesty": ("ev_honesty", dishonest_ev, good_evidence),
    "ledger": ("ledger_stale", silent_ledger, speaking_ledger),
    "monitors": ("monitors_stale", silent_monitors, speaking_monitors),
    "calibration": ("calibration_stale", old_calibration, new_calibration),
    "heartbeat": ("heartbeat_stale", hung_broker, awake_broker),
    "window": ("outside_window", window_closes, None),  # the last: nothing is quoted after it
}
SHORT = ("kill_switch", "freshness_index", "readiness", "panic")


async def seen_one_after_another(rig: GateRig, gates) -> None:
    await rig.go()
    for gate in gates:
        reason, spoil, mend = CAUSES[gate]
        await spoil(rig)
        await rig.alone(gate, reason)
        assert rig.counted(gate, reason), f"{reason} is not in the metrics"
        if mend is not None:
            await mend(rig)
            await rig.go()
    report = await rig.report()
    section = report["sections"]["gates"]
    rows = [dict(zip(section["columns"], row, strict=True)) for row in section["rows"]]
    told = {(row["gate"], row["reason"]) for row in rows if row["weight"] == "decides"}
    assert {(gate, CAUSES[gate][0]) for gate in gates} <= told


@pytest.mark.timeout(120)
async def test_gates_fail_alone_by_their_real_causes(tmp_path) -> None:
    async with GateRig(tmp_path, speed=4.0, lead_s=9.0) as rig:
        await seen_one_after_another(rig, SHORT)
        assert "lift_panic" in (await rig.state())["overrides"]


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_every_gate_fails_alone_by_its_real_cause(tmp_path) -> None:
    async with GateRig(tmp_path, speed=4.0, lead_s=9.0, fee_change_s=FEE_CHANGE_S) as rig:
        # From 13:30 to 14:30 the par yield's family is frozen; the index families are not.
        reasons = await par_yield_reasons(rig)
        assert {"freeze_window", "outside_window", "STALE_FEEDS"} <= reasons
        assert "drawdown" not in reasons
        await seen_one_after_another(rig, CAUSES)
        await lose_money(rig)

        async def over() -> bool:
            return "drawdown" in await par_yield_reasons(rig)

        await rig.until(over, "the day's loss to be over its budget")


async def par_yield_reasons(rig: GateRig) -> set[str]:
    """Ask about an event of another family, as the pricer would; return every reason against it."""
    now_ns = rig.clock.now_ns()
    proposal = Proposal(
        **rig.envelope(),
        event_ticker="KXUST10AD-26OCT02",
        series_ticker="KXUST10AD",
        family="TENY",
        target_ns=now_ns + 2 * 3_600 * NS_PER_S,
        expires_at_ns=now_ns + 10 * NS_PER_S,
        quotes=(),
        reasons=("test",),
        ladder_id="",
        level_ns=now_ns,
        books_ns=now_ns,
        calibration_id="",
        calibration_fitted_ns=now_ns,
        provenance="synthetic",
    )
    await rig.verdicts()
    await rig.say(proposal, Service.PRICER)
    reasons: set[str] = set()

    async def told() -> bool:
        for verdict in await rig.verdicts():
            if verdict.family == "TENY":
                reasons.update(gate.reason for gate in verdict.gates if not gate.ok)
        return bool(reasons)

    await rig.until(told, "a verdict about the par yield")
    return reasons


async def lose_money(rig: GateRig) -> None:
    """10,000 contracts at $0.40 of an earlier event came to nothing: $4,000."""
    market: dict[str, Any] = {
        "event_ticker": f"{FIRST}-26OCT02H1300",
        "series_ticker": FIRST,
        "ticker": f"{FIRST}-26OCT02H1300-T6700",
    }
    now_ns, count_e2 = rig.clock.now_ns(), 1_000_000
    fill = Fill(
        **rig.envelope(),
        **market,
        trade_id="lost",
        order_id="lost",
        client_order_id="lost",
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
        result="no",
        yes_count_e2=count_e2,
        no_count_e2=0,
        revenue_e6=0,
        fee_e6=0,
        settled_ns=now_ns,
    )
    for message in (fill, paid):
        await rig.say(message, Service.BROKER)
