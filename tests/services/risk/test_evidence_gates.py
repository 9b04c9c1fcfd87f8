"""The gates about evidence at and around each limit, and what is advice in which mode."""

from datetime import date

import pytest
from msgspec.structs import replace

from libs.common.config import load_part
from libs.common.freshness import FreshnessPolicy
from libs.common.messages import EvBin, FeedStatus
from libs.common.policy_files import CONFIGS
from libs.domain.eastern import eastern_ns
from services.risk.gates import (
    GATES,
    ask_all,
    calibration,
    drawdown,
    ev_honesty,
    fee_rules,
    freshness_feeds,
    ledger,
    monitors,
    panic,
    quality,
    readiness,
    sequential_ev,
)
from services.risk.gates.sequential_ev import lower_cusum
from tests.services.risk import builders as b
from tests.services.risk.builders import DAY, METRICS, NOW, POLICY, TARGET, S, question

HOUR = 3_600 * S


def ask(gate, **changes):
    return gate.ask(question(**changes), POLICY).result


def told(gate, reason, **changes):
    """Check that a gate says no with a reason, or yes when the reason is empty."""
    result = ask(gate, **changes)
    assert (result.ok, result.reason) == (reason == "", reason)
    return result


@pytest.mark.parametrize(
    ("data_end_ns", "reason"),
    [
        (NOW - 14 * DAY, ""),
        (NOW - 14 * DAY - S, "calibration_stale"),
        (NOW, ""),
        (NOW + 1, "calibration_stale"),  # it has seen the future
        (0, "calibration_stale"),
    ],
)
def test_calibration(data_end_ns, reason):
    told(calibration, reason, calibration_data_end_ns=data_end_ns)


@pytest.mark.parametrize(
    ("day_e6", "week_e6", "ok", "measured"),
    [
        (-2_000_000_000, 0, True, 2_000.0),
        (-2_000_000_001, 0, False, 2_000.000001),
        (0, -6_000_000_000, True, 6_000.0),
        (0, -6_000_000_001, False, 6_000.000001),
        (500_000_000, 500_000_000, True, -500.0),
    ],
)
def test_drawdown(day_e6, week_e6, ok, measured):
    result = told(drawdown, "" if ok else "drawdown", day_pnl_e6=day_e6, week_pnl_e6=week_e6)
    assert result.measured == pytest.approx(measured)


@pytest.mark.parametrize(("gate", "field"), [(ledger, "ledger_ns"), (monitors, "monitors_ns")])
@pytest.mark.parametrize(("age_ns", "ok"), [(2 * HOUR, True), (2 * HOUR + 1, False), (None, False)])
def test_the_ledger_and_the_monitors_may_be_two_hours_old(gate, field, age_ns, ok):
    said_ns = None if age_ns is None else NOW - age_ns
    told(gate, "" if ok else f"{gate.NAME}_stale", **{field: said_ns})


def test_panic():
    told(panic, "", panic_alerting=("freshness", "ladder_gap"))
    latched = told(panic, "panic_backoff", panic_latched_by=("a", "b", "c"))
    assert (latched.measured, latched.limit) == (3.0, 2.0)
    told(panic, "panic_backoff", monitors_ns=None)


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({}, ""),
        ({"go": False, "reasons": ("fills 120 of 300",)}, "fills 120 of 300"),
        ({"go": False}, "no reason given"),
        ({"expires_ns": NOW + 1}, ""),
        ({"expires_ns": NOW}, "expired"),
        ({"targets_from_ns": TARGET + 1, "targets_until_ns": TARGET + 1}, "other targets"),
        ({"targets_until_ns": TARGET - 1, "targets_from_ns": 0}, "other targets"),
        ({"config_hash": "other"}, "policy other"),
    ],
)
def test_readiness(changes, detail):
    known = b.readiness(**changes)
    result = told(readiness, "readiness_no_go" if detail else "", readiness=known)
    assert detail in result.detail


def test_readiness_that_never_came():
    assert "sent none" in told(readiness, "readiness_no_go", readiness=None).detail


@pytest.mark.parametrize(
    ("known", "acknowledged", "ok"),
    [
        (b.fee_rules(), (), True),  # as configured
        (b.fee_rules(facts_hash="changed"), (), False),
        (b.fee_rules(facts_hash="changed"), ("changed",), True),
        (b.fee_rules(facts_hash="changed"), ("another",), False),
        (b.fee_rules(NOW - HOUR), (), True),
        (b.fee_rules(NOW - HOUR - 1), (), False),
        (None, (), False),
    ],
)
def test_fee_rules(known, acknowledged, ok):
    reason = "" if ok else "fee_rules_unacknowledged"
    told(fee_rules, reason, fee_rules=known, acknowledged_hashes=frozenset(acknowledged))


@pytest.mark.parametrize(
    ("family", "metric", "value", "ok"),
    [
        ("INXU", "crps_advantage", 0.01, True),
        ("INXU", "crps_advantage", 0.00999, False),
        ("CPI", "crps_advantage", 0.02, True),
        ("CPI", "crps_advantage", 0.01999, False),
        ("CLAIMS", "crps_advantage", 0.015, True),
        ("CLAIMS", "crps_advantage", 0.01499, False),
        ("TENY", "crps_advantage", 0.00999, False),
        ("WEATHER", "crps_advantage", 0.005, True),
        ("WEATHER", "crps_advantage", 0.00499, False),
        ("INXU", "brier_advantage", -0.0001, False),
        ("CPI", "brier_advantage", -0.0001, False),
        ("CLAIMS", "brier_advantage", -0.001, True),
        ("CLAIMS", "brier_advantage", -0.00101, False),
        ("TENY", "brier_advantage", -0.001, True),
        ("WEATHER", "brier_advantage", -0.002, True),
        ("WEATHER", "brier_advantage", -0.00201, False),
        ("INXU", "non_monotone", 1.0, False),
        ("INXU", "negative_ev", 1.0, False),
        ("INXU", "tz", 1.0, False),
        ("TENY", "par_vs_dgs10_bps", 5.0, True),
        ("TENY", "par_vs_dgs10_bps", 5.01, False),
        ("INXU", "par_vs_dgs10_bps", 50.0, True),  # none of its business
        ("INXU", "tz", float("nan"), False),
    ],
)
def test_quality(family, metric, value, ok):
    good = METRICS | {"crps_advantage": 0.03, "par_vs_dgs10_bps": 0.0}
    shown = b.evidence(metrics=good | {metric: value})
    told(quality, "" if ok else f"quality_{metric}", family=family, evidence=shown)


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_a_missing_metric_fails(metric):
    rest = {name: value for name, value in METRICS.items() if name != metric}
    told(quality, f"quality_{metric}", evidence=b.evidence(metrics=rest))


def test_a_quote_that_loses_by_our_own_reckoning_fails_quality():
    told(quality, "quality_negative_ev", ev_min_e6=-1)
    told(quality, "", ev_min_e6=0)
    told(quality, "", ev_min_e6=None)


def test_the_lower_cusum_by_hand():
    """S: 0, 4 − 1 = 3, 3 + 2 − 1 = 4, 4 − 6 − 1 < 0, 0.5 − 1 < 0."""
    assert lower_cusum((-4.0, -2.0, 6.0, -0.5), 1.0) == 4.0
    assert lower_cusum((), 1.0) == 0.0


@pytest.mark.parametrize(
    ("deltas", "ok", "measured"),
    [
        ([0.0] * 11 + [-10.9], True, 9.9),
        ([0.0] * 11 + [-11.0], False, 10.0),
        ([0.0] * 10 + [-11.0], True, 10.0),  # eleven trades prove nothing yet
        ([-11.0] + [9.0] * 11, False, 10.0),  # a recovery does not undo the alert
        ([-49.9], True, 48.9),
        ([-50.0], False, 50.0),  # one catastrophe stops at once
        ([], True, 0.0),
    ],
)
def test_sequential_ev(deltas, ok, measured):
    shown = b.evidence(deltas_bps=tuple(deltas))
    result = told(sequential_ev, "" if ok else "sequential_alert", evidence=shown)
    assert result.measured == pytest.approx(measured)


def ev_bin(lower, upper, gap_e6):
    return EvBin(lower=lower, upper=upper, contracts_e2=1_000, gap_e6=gap_e6)


@pytest.mark.parametrize(
    ("gaps", "asked", "ok"),
    [
        ((-100_000, 0), (0.2,), True),
        ((-100_001, 0), (0.2,), False),
        ((-100_001, 0), (0.2, 0.7), True),  # the other quote is left
        ((-100_001, -100_001), (0.2, 0.7), False),
        ((0, -100_001), (0.5,), False),  # a bin holds its lower end
        ((0, -100_001), (1.0,), False),  # the last one its upper end too
        ((500_000, 0), (0.2,), True),  # better than expected is no fault
        ((-100_001, -100_001), (), True),
    ],
)
def test_ev_honesty(gaps, asked, ok):
    bins = (ev_bin(0.0, 0.5, gaps[0]), ev_bin(0.5, 1.0, gaps[1]))
    told(
        ev_honesty,
        "" if ok else "ev_honesty",
        evidence=b.evidence(bins=bins),
        probabilities=asked,
    )


@pytest.mark.parametrize("gate", [quality, sequential_ev, ev_honesty])
@pytest.mark.parametrize("shown", [None, b.evidence(expires_ns=NOW)])
def test_evidence_that_is_missing_or_expired_proves_nothing(gate, shown):
    answer = gate.ask(question(evidence=shown), POLICY)
    assert not answer.result.ok
    assert answer.unproven


NOTHING = {
    "readiness": None,
    "evidence": None,
    "ledger_ns": None,
    "monitors_ns": None,
    "fee_rules": None,
    "calibration_data_end_ns": 0,
}
BAD = {
    "readiness": b.readiness(go=False),
    "evidence": b.evidence(metrics={}, deltas_bps=(-60.0,), bins=()),
    "ledger_ns": NOW - 3 * HOUR,
    "monitors_ns": NOW - 3 * HOUR,
    "panic_latched_by": ("a", "b", "c"),
    "fee_rules": b.fee_rules(facts_hash="changed"),
    "calibration_data_end_ns": NOW - 15 * DAY,
}
REAL_MONEY_ALONE = {"readiness", "quality", "ev_honesty"}
OTHERS = {"ledger", "monitors", "panic", "fee_rules", "sequential_ev"}


@pytest.mark.parametrize(
    ("mode", "changes", "advice"),
    [
        ("live", NOTHING, set()),
        ("live", BAD, set()),
        ("dry", NOTHING, REAL_MONEY_ALONE | OTHERS),
        ("paper", NOTHING, REAL_MONEY_ALONE | OTHERS),
        ("sim", NOTHING, REAL_MONEY_ALONE | OTHERS | {"calibration"}),
        ("dry", BAD, REAL_MONEY_ALONE),
        ("paper", BAD, REAL_MONEY_ALONE),
        ("sim", BAD, REAL_MONEY_ALONE | {"calibration"}),
    ],
)
def test_what_is_advice_in_which_mode(mode, changes, advice):
    results = [answer.result for answer in ask_all(question(**changes), POLICY, mode)]
    no = {result.gate for result in results if not result.ok}
    assert no == REAL_MONEY_ALONE | OTHERS | {"calibration"}
    assert {result.gate for result in results if result.advisory} == advice
    assert {result.gate for result in results if result.refuses} == no - advice
    assert len(results) == len(GATES)


SHIPPED = load_part(CONFIGS / "freshness.yaml", "policy.freshness", FreshnessPolicy)
FEEDS = replace(POLICY, freshness=SHIPPED)
MONDAY = eastern_ns(date(2025, 11, 10), 12)


def feed(name, newest_ns, now_ns=MONDAY, ok=True, detail=""):
    said = b.envelope(f"feed-{name}", now_ns)
    return FeedStatus(**said, feed=name, ok=ok, newest_ns=newest_ns, detail=detail)


def close_of(day):
    return eastern_ns(date(2025, 11, day), 16)


def feeds(*told):
    return {one.feed: one for one in told}


@pytest.mark.parametrize(
    ("family", "told", "reason"),
    [
        ("INXU", feeds(), ""),  # all that it needs has gates of its own
        ("INX", feeds(), "STALE_FEEDS"),
        # A minute's bar is new for a minute; 20 s after the next one was due there is none.
        ("INX", feeds(feed("index.minutes", MONDAY - 80 * S)), ""),
        ("INX", feeds(feed("index.minutes", MONDAY - 80 * S - 1)), "STALE_FEEDS"),
        ("CLAIMS", feeds(feed("dol_claims.latest_report", MONDAY - 8 * DAY)), ""),
        ("CLAIMS", feeds(feed("dol_claims.latest_report", MONDAY - 8 * DAY - 1)), "STALE_FEEDS"),
        ("CLAIMS", feeds(), "STALE_FEEDS"),
        ("CPI", feeds(feed("bls_cpi.latest_release", MONDAY)), "STALE_FEEDS"),  # no nowcast
        ("TENY", feeds(feed("treasury_10y.daily", eastern_ns(date(2025, 11, 5), 16))), ""),
        (
            "TENY",
            feeds(feed("treasury_10y.daily", eastern_ns(date(2025, 11, 4), 16))),
            "STALE_FEEDS",
        ),
        (
            "TENY",
            feeds(feed("treasury_10y.daily", MONDAY, ok=False, detail="TENY_SERIES_MISMATCH DGS2")),
            "TENY_SERIES_MISMATCH",
        ),
        (
            "GAS",
            feeds(feed("aaa_gas.daily", MONDAY, ok=False, detail="AAA_OUT_OF_RANGE 7.101")),
            "AAA_OUT_OF_RANGE",
        ),
        ("GAS", feeds(feed("aaa_gas.daily", MONDAY, ok=False, detail="no page")), "STALE_FEEDS"),
        ("GAS", feeds(feed("aaa_gas.daily", MONDAY, now_ns=MONDAY - 15 * S)), ""),
        ("GAS", feeds(feed("aaa_gas.daily", MONDAY, now_ns=MONDAY - 15 * S - 1)), "STALE_FEEDS"),
        ("NOVEL", feeds(), "STALE_FEEDS"),
    ],
)
def test_freshness_of_the_other_feeds(family, told, reason):
    asked = question(family=family, now_ns=MONDAY, feeds=told)
    result = freshness_feeds.ask(asked, FEEDS).result
    assert (result.ok, result.reason) == (reason == "", reason)
