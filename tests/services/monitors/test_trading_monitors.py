"""Monitors of what is traded: money, forecasts, ladders, service levels (domain.md §3, §5)."""

import math

import msgspec
import pytest

from libs.common.messages import (
    ExchangeSettlement,
    FairLadder,
    Fill,
    GateResult,
    LadderDefined,
    PanicLatch,
    Proposal,
    Quote,
    SettledEvidence,
    Verdict,
)
from tests.services.monitors.watching import (
    EVENT,
    NOW,
    TARGET,
    TICKER,
    S,
    Watched,
    envelope,
    ladder,
    ledger,
    order,
    session,
    skew,
    status,
    tick,
)

DAY = 86_400 * S  # NOW is a Monday


def fill(count_e2=10_000, price_e4=4_500, side="bid", ticker=TICKER, trade="t1", at_ns=NOW) -> Fill:
    return Fill(
        **envelope(at_ns, "broker"),
        trade_id=trade,
        order_id="o-c1",
        client_order_id="c1",
        event_ticker=EVENT,
        series_ticker="KXINXU",
        ticker=ticker,
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        is_taker=False,
        fee_e6=1_000_000,
        exchange_ns=at_ns,
    )


def settled(result="no", ticker=TICKER, at_ns=NOW, revenue_e6=0) -> ExchangeSettlement:
    return ExchangeSettlement(
        **envelope(at_ns, "broker"),
        event_ticker=EVENT,
        series_ticker="KXINXU",
        ticker=ticker,
        result=result,
        yes_count_e2=0,
        no_count_e2=0,
        revenue_e6=revenue_e6,
        fee_e6=0,
        settled_ns=at_ns,
    )


def defined(*tickers: str) -> LadderDefined:
    count = len(tickers)
    return LadderDefined(
        **envelope(NOW),
        ladder_id="l",
        event_ticker=EVENT,
        series_ticker="KXINXU",
        family="INXU",
        symbol="I:SPX",
        kind="nested",
        target_ns=TARGET,
        close_ns=TARGET,
        tickers=tickers,
        strike_types=("greater",) * count,
        floors_e4=tuple(range(count)),
        caps_e4=(None,) * count,
        price_ranges=(),
    )


def books(bids: tuple[int, ...], asks: tuple[int, ...], at_ns=NOW, event=EVENT):
    return msgspec.structs.replace(
        ladder(at_ns, event=event),
        bid_price_e4=bids,
        bid_depth_e2=(0,) * len(bids),
        ask_depth_e2=(0,) * len(asks),
        ask_price_e4=asks,
        bid_count_e2=tuple(100 * (price > 0) for price in bids),
        ask_count_e2=tuple(100 * (price < 10_000) for price in asks),
    )


# drawdown: $2,000 a day, $6,000 a week, settled and marked


def test_a_loss_counts_once_it_is_settled_with_its_fees() -> None:
    """100 contracts at $0.45 and $1 of fees, settled NO: $46."""
    watched = Watched().told(fill(), settled(), stream="FILLS")
    reading = watched.reading("drawdown", NOW + S)
    assert (reading.state, reading.value, reading.threshold) == ("OK", 46.0, 2_000.0)


@pytest.mark.parametrize(("contracts", "state"), [(4_442, "OK"), (4_443, "ALERT")])
def test_two_thousand_dollars_a_day(contracts: int, state: str) -> None:
    """4,442 × $0.45 + $1 = $1,999.90; one more is $2,000.35."""
    watched = Watched().told(fill(count_e2=contracts * 100), settled(), stream="FILLS")
    assert watched.state("drawdown", NOW + S) == state
    assert watched.state("drawdown", NOW + DAY) == "OK"  # another New York day


def test_six_thousand_dollars_a_week_from_monday() -> None:
    """$1,801 on each of Monday to Thursday: the fourth makes $7,204."""
    watched = Watched()
    for day in range(4):
        ticker, at_ns = f"{TICKER}{day}", NOW + day * DAY
        lost = fill(count_e2=400_000, ticker=ticker, trade=str(day), at_ns=at_ns)
        watched.told(lost, settled(ticker=ticker, at_ns=at_ns), stream="FILLS")
        reading = watched.reading("drawdown", at_ns + S)
        assert reading.state == ("OK" if day < 3 else "ALERT")
    assert (reading.value, reading.threshold) == (7_204.0, 6_000.0)
    assert watched.state("drawdown", NOW + 6 * DAY) == "ALERT"  # Sunday
    assert watched.state("drawdown", NOW + 7 * DAY) == "OK"  # Monday


def test_a_gain_covers_a_loss_of_the_same_day() -> None:
    """Short 100 YES at $0.45, settled NO: gains $45 less $1; long settled YES: $55 less $1."""
    other = f"{TICKER}b"
    watched = Watched().told(fill(side="ask"), settled(), stream="FILLS")
    watched.told(fill(ticker=other, trade="t2"), settled("yes", other), stream="FILLS")
    assert "today 98.0" in watched.reading("drawdown", NOW).evidence


def test_what_is_held_is_worth_what_leaving_it_would_bring() -> None:
    """Long 100 at $0.45, the bid is $0.40: $5 and the fee of $1 are lost for now."""
    watched = Watched().told(fill(), stream="FILLS")
    assert watched.reading("drawdown", NOW).value == 46.0  # never marked: as if lost
    watched.told(defined(TICKER, f"{EVENT}-T9"), books((4_000, 0), (4_400, 10_000)))
    assert watched.reading("drawdown", NOW).value == 6.0
    assert watched.reading("drawdown", TARGET + S).value == 6.0  # the last mark stays
    watched.told(settled("yes", at_ns=TARGET + 60 * S), stream="FILLS")
    assert watched.reading("drawdown", TARGET + 61 * S).value == 0.0


def test_a_short_is_marked_at_the_ask_and_no_bid_at_all_is_worth_nothing() -> None:
    watched = Watched().told(fill(side="ask"), stream="FILLS")
    watched.told(defined(TICKER), books((4_000,), (4_700,)))
    assert watched.reading("drawdown", NOW).value == 3.0  # $2 and the fee
    watched.told(books((4_000,), (10_000,), NOW + S))
    assert watched.reading("drawdown", NOW + S).value == 56.0


# sigma_drift: realised over forecast at the same horizon, 1.25


def fair(left_s: int, level: float, sigma: float, target_ns=TARGET) -> FairLadder:
    return FairLadder(
        **envelope(target_ns - left_s * S, "pricer"),
        ladder_id="l",
        event_ticker=f"KXINXU-{target_ns}",
        series_ticker="KXINXU",
        target_ns=target_ns,
        model="m",
        calibration_id="c",
        level_e4=round(level * 10_000),
        level_ns=target_ns - left_s * S,
        mean=level,
        sigma=sigma,
        probabilities=(),
    )


def hours(moved: float, count: int) -> Watched:
    """Each horizon's forecast variance is its minutes; each move is `moved` of its sigma."""
    watched = Watched()
    for hour in range(count):
        target_ns, level, before = TARGET + hour * 3600 * S, 5_000.0, 15
        for minutes in (15, 10, 5, 1):
            level += moved * math.sqrt(before - minutes)
            watched.told(fair(60 * minutes, level, math.sqrt(minutes), target_ns))
            before = minutes
        watched.told(_level(level + moved, target_ns), _level(level, target_ns + S))
    return watched


def _level(level: float, end_ns: int):
    return msgspec.structs.replace(tick("I:SPX", end_ns), level_e4=round(level * 10_000))


@pytest.mark.parametrize(("moved", "state"), [(1.0, "OK"), (1.24, "OK"), (1.26, "ALERT")])
def test_moves_larger_than_forecast_alert(moved: float, state: str) -> None:
    reading = hours(moved, 3).reading("sigma_drift", TARGET, "INXU")
    assert reading.state == state
    assert reading.value == pytest.approx(moved, abs=1e-3)


def test_three_events_are_needed_and_the_other_family_stays_unknown() -> None:
    watched = hours(2.0, 2)
    assert watched.state("sigma_drift", TARGET, "INXU") == "NO_DATA"
    assert watched.state("sigma_drift", TARGET, "NASDAQ100U") == "NO_DATA"


# ladders


@pytest.mark.parametrize(
    ("bids", "asks", "rises"),
    [
        ((7_000, 5_000, 3_000), (7_200, 5_200, 3_200), 0),
        ((7_000, 7_300, 3_000), (7_200, 7_500, 3_200), 1),  # bid above the lower strike's ask
        ((7_000, 0, 0), (7_200, 10_000, 10_000), 0),  # no quote contradicts nothing
    ],
)
def test_quotes_that_rise_where_survival_falls(bids, asks, rises: int) -> None:
    watched = Watched().told(books(bids, asks))
    reading = watched.reading("non_monotone_ladders", NOW + 2 * S, "INXU")
    assert (reading.state, reading.value) == ("OK", float(rises))  # a moment is allowed
    watched.told(books(bids, asks, NOW + 2 * S))
    after = watched.state("non_monotone_ladders", NOW + 2 * S + 1, "INXU")
    assert after == ("ALERT" if rises else "OK")
    watched.told(books((7_000, 5_000, 3_000), (7_200, 5_200, 3_200), NOW + 3 * S))
    assert watched.state("non_monotone_ladders", NOW + 3 * S, "INXU") == "OK"


def test_a_partition_contradicts_itself_when_its_bids_sum_past_one() -> None:
    event = "KXINX-24AUG05H1600"
    watched = Watched().told(books((4_000, 4_000, 2_100), (10_000,) * 3, event=event))
    assert watched.reading("non_monotone_ladders", NOW + S, "INX").value == 1.0


def test_a_target_that_is_not_at_its_ticker_s_new_york_hour() -> None:
    watched = Watched().told(ladder())
    assert watched.state("tz_not_et", NOW, "INXU") == "OK"
    watched.told(ladder(NOW, event="KXNASDAQ100U-24AUG05H1200", target_ns=TARGET + 3_600 * S))
    assert watched.state("tz_not_et", NOW, "NASDAQ100U") == "ALERT"  # noon UTC-5, say
    assert Watched().state("tz_not_et", NOW, "INXU") == "NO_DATA"


# orders in a freeze


def test_an_order_that_is_open_in_a_freeze_alerts() -> None:
    """TENY is frozen from 13:30 until its window opens at 14:30 (domain.md §3)."""
    freeze_ns = TARGET + 90 * 60 * S
    event = "KXUST10AD-24AUG05"
    watched = Watched(families=("INXU", "TENY")).told(order("resting", event=event))
    assert watched.state("freeze_window", freeze_ns - 1) == "OK"
    reading = watched.reading("freeze_window", freeze_ns)
    assert (reading.state, reading.value) == ("ALERT", 1.0)
    assert reading.evidence == f"frozen: TENY; open all the same: {event}"
    assert watched.state("freeze_window", freeze_ns + 3_600 * S) == "OK"


def test_a_family_without_a_window_rule_makes_the_freeze_unknown() -> None:
    assert Watched(families=("GAS",)).state("freeze_window", NOW) == "NO_DATA"


# the exchange refuses our key


@pytest.mark.parametrize(("count", "state"), [(0, "OK"), (2, "OK"), (3, "ALERT")])
def test_refusals_of_our_key_in_a_row(count: int, state: str) -> None:
    watched = Watched().told(session(count))
    assert watched.state("auth_error_streak", NOW + 60 * S) == state
    assert watched.state("auth_error_streak", NOW + 61 * S) == "NO_DATA"


# ledger


def test_the_lag_is_the_age_of_what_the_ledger_lacks() -> None:
    watched = Watched()
    assert watched.state("ledger_lag", NOW) == "NO_DATA"
    watched.told(session())  # STATUS 1
    watched.told(ledger(NOW, STATUS=1))  # STATUS 2
    watched.look(NOW + S)  # from here on it lacks the second message
    assert watched.reading("ledger_lag", NOW + 301 * S).value == 300.0
    assert watched.state("ledger_lag", NOW + 301 * S) == "OK"
    reading = watched.reading("ledger_lag", NOW + 302 * S)
    assert (reading.state, reading.evidence) == ("ALERT", "STATUS 1 behind")
    watched.told(ledger(NOW + 302 * S, STATUS=2))  # STATUS 3
    assert watched.state("ledger_lag", NOW + 303 * S) == "OK"


def test_a_stream_that_lost_its_end_is_not_a_lag_for_ever() -> None:
    watched = Watched().told(*(session(at_ns=NOW + n) for n in range(50)))
    watched.look(NOW)
    watched.sequence = 9
    watched.told(ledger(NOW + S, STATUS=10))
    watched.look(NOW + 2 * S)
    assert watched.reading("ledger_lag", NOW + 900 * S).value == 0.0


# what verdicts and proposals show


def proposal(at_ns: int, age_s: float) -> Proposal:
    quote = Quote(
        ticker=TICKER,
        side="bid",
        price_e4=4_500,
        count_e2=100,
        probability=0.5,
        ev_per_contract_e6=0,
        fill_probability=0.5,
    )
    return Proposal(
        **envelope(at_ns, "pricer"),
        event_ticker=EVENT,
        series_ticker="KXINXU",
        family="INXU",
        target_ns=TARGET,
        expires_at_ns=TARGET,
        quotes=(quote,),
        reasons=(),
        ladder_id="l",
        level_ns=at_ns - round(age_s * S),
        books_ns=at_ns,
        calibration_id="",
        calibration_fitted_ns=0,
        provenance="synthetic",
    )


def verdict(at_ns: int, *gates: GateResult, expires_ns=TARGET, event=EVENT) -> Verdict:
    return Verdict(
        **envelope(at_ns, "risk"),
        decision="NO-GO" if any(gate.refuses for gate in gates) else "GO",
        proposal_id="p",
        event_ticker=event,
        series_ticker="KXINXU",
        family="INXU",
        target_ns=TARGET,
        expires_at_ns=expires_ns,
        quotes=(),
        gates=gates,
        provenance="synthetic",
        config_hash="h",
    )


@pytest.mark.parametrize(
    ("slow", "age_s", "state"),
    [(4, 1.9, "OK"), (6, 1.9, "ALERT"), (0, 0.0, "OK"), (2, 2.5, "ALERT")],
)
def test_levels_behind_proposals_have_a_service_level(slow: int, age_s: float, state: str) -> None:
    """p95 at most 0.7 s and p99 at most 2 s of a hundred proposals."""
    watched = Watched()
    for n in range(100):
        watched.told(proposal(NOW + n, age_s if n >= 100 - slow else 0.2))
    assert watched.state("slo_freshness", NOW + S) == state
    assert watched.state("slo_freshness", NOW + 3_601 * S) == "NO_DATA"


def test_seconds_without_a_go_that_holds_are_counted() -> None:
    watched = Watched().told(order("resting"), verdict(NOW, expires_ns=NOW + 10 * S))
    for second in range(16):
        watched.look(NOW + second * S)
    reading = watched.reading("time_at_risk", NOW + 15 * S)
    assert (reading.state, reading.value) == ("ALERT", 6.0)  # seconds 10 to 15; 5 are allowed
    watched.told(order("cancelled"))
    assert watched.state("time_at_risk", NOW + 3_000 * S) == "ALERT"
    assert watched.state("time_at_risk", NOW + 3_700 * S) == "OK"


@pytest.mark.parametrize(("measured", "state"), [(95.0, "OK"), (95.1, "ALERT")])
def test_a_var_limit_that_is_all_but_used_up(measured: float, state: str) -> None:
    gate = GateResult(gate="factor_var", ok=True, measured=measured, limit=100.0)
    watched = Watched().told(verdict(NOW, gate))
    assert watched.state("var_headroom", NOW + 60 * S) == state
    assert watched.state("var_headroom", NOW + 61 * S) == "NO_DATA"


def test_gates_that_only_risk_can_judge_are_shown() -> None:
    fees = GateResult(gate="fee_rules", ok=True, measured=12.0, limit=3600.0)
    bare = GateResult(gate="sequential_ev", ok=False, advisory=True, detail="no evidence")
    watched = Watched().told(verdict(NOW, fees, bare))
    assert watched.state("fee_rules", NOW, "INXU") == "OK"
    reading = watched.reading("ev_seq_guard", NOW, "INXU")
    assert (reading.state, reading.evidence) == ("NO_DATA", "no evidence")
    assert watched.state("fee_rules", NOW, "NASDAQ100U") == "NO_DATA"
    fees = msgspec.structs.replace(fees, ok=False, reason="changed", detail="facts 12")
    low = GateResult(gate="sequential_ev", ok=False, measured=11.0, limit=10.0)
    watched.told(verdict(NOW + S, fees, low))
    reading = watched.reading("fee_rules", NOW + S, "INXU")
    assert (reading.state, reading.evidence) == ("ALERT", "not the value: changed facts 12")
    assert watched.state("ev_seq_guard", NOW + S, "INXU") == "ALERT"
    assert watched.state("ev_seq_guard", NOW + 62 * S, "INXU") == "NO_DATA"


# settled history, as reporting sends it

WELL = {
    "ev_gap_bps": -4.9,
    "ev_gap_t": -1.9,
    "ev_gap_count": 5.0,
    "fill_gap_pp": -9.9,
    "fill_contracts": 100.0,
    "crps_ratio": 1.1,
    "brier_ratio": 1.1,
    "replay_gap_usd": -0.15,
}


def evidence(at_ns=NOW, **metrics: float) -> SettledEvidence:
    return SettledEvidence(
        **envelope(at_ns, "reporting"),
        series_ticker="KXINXU",
        metrics={**WELL, **metrics},
        deltas_bps=(),
        bins=(),
        expires_ns=at_ns + 7_200 * S,
    )


@pytest.mark.parametrize(
    ("monitor", "metrics", "state"),
    [
        ("ev_gap", {}, "OK"),
        ("ev_gap", {"ev_gap_bps": -5.0}, "ALERT"),  # <= -5
        ("ev_gap", {"ev_gap_t": -2.0}, "ALERT"),  # or t <= -2
        ("ev_gap", {"ev_gap_bps": -50.0, "ev_gap_count": 4.0}, "NO_DATA"),  # n >= 5
        ("fill_vs_alpha", {}, "OK"),
        ("fill_vs_alpha", {"fill_gap_pp": -10.0}, "ALERT"),
        ("fill_vs_alpha", {"fill_gap_pp": -50.0, "fill_contracts": 99.0}, "NO_DATA"),
        ("model_drift", {}, "OK"),
        ("model_drift", {"crps_ratio": 1.11}, "ALERT"),  # > 1.1
        ("model_drift", {"brier_ratio": 1.11}, "ALERT"),
        ("replay_parity", {}, "OK"),
        ("replay_parity", {"replay_gap_usd": 0.16}, "ALERT"),  # either way
        ("replay_parity", {"replay_gap_usd": -0.16}, "ALERT"),
    ],
)
def test_settled_evidence_against_its_limits(monitor: str, metrics, state: str) -> None:
    watched = Watched().told(evidence(**metrics))
    assert watched.state(monitor, NOW + S, "INXU") == state
    assert watched.state(monitor, NOW + S, "NASDAQ100U") == "NO_DATA"
    assert watched.state(monitor, NOW + 7_200 * S, "INXU") == "NO_DATA"  # expired


def test_a_figure_that_is_missing_is_no_data_and_named() -> None:
    shown = msgspec.structs.replace(evidence(), metrics={"ev_gap_bps": -9.0})
    reading = Watched().told(shown).reading("ev_gap", NOW, "INXU")
    assert (reading.state, reading.evidence) == ("NO_DATA", "KXINXU: no ev_gap_t, ev_gap_count")


# panic: risk latches, monitors shows


def latch(latched_ns: int, at_ns=NOW, day="2024-08-05") -> PanicLatch:
    return PanicLatch(
        **envelope(at_ns, "risk"),
        day=day,
        latched_ns=latched_ns,
        monitors=("clock_skew", "drawdown", "exchange"),
    )


def test_the_latch_of_the_day_alerts_until_it_is_lifted_or_the_day_is_over() -> None:
    watched = Watched().told(latch(NOW))
    reading = watched.reading("panic", NOW + S)
    assert reading.state == "ALERT"
    assert (reading.value, reading.threshold) == (3.0, 3.0)
    by = "clock_skew, drawdown, exchange"
    assert reading.evidence == f"latched at 11:50:00 New York time by {by}"
    assert watched.state("panic", NOW + 13 * 3_600 * S) == "OK"  # after midnight
    watched.told(latch(0, NOW + 2 * S))
    assert watched.state("panic", NOW + 3 * S) == "OK"
    assert Watched().told(latch(NOW, day="2024-08-04")).state("panic", NOW) == "OK"


def test_distinct_monitors_that_alerted_within_half_an_hour_are_counted() -> None:
    watched = Watched().all_well().told(status(trading=False), skew(9.0), order("unknown"))
    watched.look(NOW + S)
    watched.all_well(NOW + 2 * S).told(order("cancelled", at_ns=NOW + 2 * S))
    watched.look(NOW + 2 * S)
    reading = watched.reading("panic", NOW + 1_801 * S)
    assert (reading.state, reading.value, reading.threshold) == ("OK", 3.0, 3.0)
    assert reading.evidence == "alerted of late: clock_skew, exchange, unknown_orders"
    assert watched.reading("panic", NOW + 1_802 * S).value == 0.0
