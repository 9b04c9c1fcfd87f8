"""Proposals that a test makes as the pricer would: for nothing, and in a family without a model."""

from typing import Any

from msgspec.structs import replace

from libs.common.messages import (
    FeedStatus,
    FeeRules,
    LadderDefined,
    LadderSnapshot,
    PriceRange,
    Proposal,
)
from libs.common.topology import Service
from libs.domain.families import HOURLY_SERIES
from libs.domain.tickers import format_event_ticker
from tests.e2e.gate_rig import DAY_NS, GOOD_METRICS, GateRig

S = 1_000_000_000
SERIES = "KXUST10AD"
EVENT = f"{SERIES}-26OCT02"
STRIKES_E4 = (41_000, 41_500, 42_000)
FACTS = "par yield facts"


async def ask_for_nothing(rig: GateRig) -> None:
    """Propose, for an event that is quoted, that nothing rests."""
    await rig.say(_proposal(rig, rig.event_ticker, HOURLY_SERIES[0], "INXU"), Service.PRICER)


async def ask_from_the_future(rig: GateRig) -> None:
    """Propose for nothing, 4.8 s ahead: more than 5 s are a dead letter."""
    early = _proposal(rig, rig.event_ticker, HOURLY_SERIES[0], "INXU")
    await rig.say(replace(early, ts_pub_ns=early.ts_pub_ns + 48 * S // 10), Service.PRICER)


async def ask_for_an_unknown_event(rig: GateRig) -> None:
    """Propose for an event that nobody lists, an hour after the one that is traded."""
    target_ns = rig.plan.target_ns + 3_600 * S
    event_ticker = format_event_ticker(HOURLY_SERIES[0], target_ns)
    asked = _proposal(rig, event_ticker, HOURLY_SERIES[0], "INXU")
    await rig.say(replace(asked, target_ns=target_ns), Service.PRICER)


async def know_par_yield(rig: GateRig) -> None:
    """Let everything be known and well of the day's par yield, which nobody here prices."""
    for message in _par_yield(rig):
        await rig.say(message, Service.FEEDS)
    await rig.say(rig.readiness(SERIES))
    metrics = GOOD_METRICS | {"par_vs_dgs10_bps": 0.0}
    await rig.say(rig.evidence(SERIES, metrics=metrics))
    assert (await rig.override("acknowledge_fee_rules", SERIES, FACTS))["in_force"]


async def ask_par_yield(rig: GateRig) -> None:
    """Propose for the par yield's event, its books vouched for."""
    for message in _par_yield(rig):
        await rig.say(message, Service.FEEDS)
    await rig.say(_proposal(rig, EVENT, SERIES, "TENY"), Service.PRICER)


def _proposal(rig: GateRig, event_ticker: str, series_ticker: str, family: str) -> Proposal:
    now_ns = rig.clock.now_ns()
    return Proposal(
        **rig.envelope(),
        event_ticker=event_ticker,
        series_ticker=series_ticker,
        family=family,
        target_ns=rig.plan.target_ns,
        expires_at_ns=now_ns + 10 * S,
        quotes=(),
        reasons=("test",),
        ladder_id="",
        level_ns=now_ns,
        books_ns=now_ns,
        calibration_id="",
        calibration_fitted_ns=now_ns,
        calibration_data_end_ns=now_ns - DAY_NS,
        provenance="synthetic",
    )


def _par_yield(rig: GateRig) -> tuple[LadderDefined, LadderSnapshot, FeedStatus, FeeRules]:
    """Return what feeds would say of the par yield's event, its source and its fees."""
    now_ns = rig.clock.now_ns()
    tickers = tuple(f"{EVENT}-T{strike}" for strike in STRIKES_E4)
    event: dict[str, Any] = {
        "event_ticker": EVENT,
        "series_ticker": SERIES,
        "ladder_id": "par yield",
        "target_ns": rig.plan.target_ns,
    }
    nothing = (0,) * len(tickers)
    return (
        LadderDefined(
            **rig.envelope(),
            **event,
            family="TENY",
            symbol="",
            kind="nested",
            close_ns=rig.plan.target_ns,
            tickers=tickers,
            strike_types=("greater_or_equal",) * len(tickers),
            floors_e4=STRIKES_E4,
            caps_e4=(None,) * len(tickers),
            price_ranges=(PriceRange(0, 10_000, 100),),
        ),
        LadderSnapshot(
            **rig.envelope(),
            **event,
            recv_ns=now_ns,
            provenance="synthetic",
            bid_price_e4=nothing,
            bid_count_e2=nothing,
            bid_depth_e2=nothing,
            ask_price_e4=(10_000,) * len(tickers),
            ask_count_e2=nothing,
            ask_depth_e2=nothing,
            inactive=(),
        ),
        FeedStatus(
            **rig.envelope(),
            feed="treasury_10y.daily",
            ok=True,
            newest_ns=now_ns - DAY_NS,
            detail="",
        ),
        FeeRules(
            **rig.envelope(),
            series_ticker=SERIES,
            fee_type="quadratic",
            fee_multiplier=1.0,
            contract_terms_url="about:blank",
            facts_hash=FACTS,
        ),
    )
