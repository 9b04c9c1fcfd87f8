"""Each monitor by itself: what makes it OK, ALERT or NO_DATA (domain.md §5)."""

from datetime import date

import pytest

from libs.common.messages import ExchangeSettlement
from libs.common.topology import SERVICES
from libs.domain.eastern import eastern_ns
from services.monitors.calendar import CalendarEnds
from services.monitors.events import KillSwitchRead
from services.monitors.ladders import LADDERS_MAX
from services.monitors.policy import MonitorsPolicy
from tests.services.monitors.watching import (
    EVENT,
    FEEDS,
    NIGHT,
    NOW,
    TARGET,
    TICKER,
    S,
    Watched,
    beat,
    envelope,
    feed,
    ladder,
    letter,
    order,
    reconciliation,
    skew,
    status,
    tick,
)

# heartbeats


def test_a_service_that_was_never_heard_of_is_missing_after_the_limit() -> None:
    watched = Watched().told(*(beat(service) for service in SERVICES if service != "risk"))
    assert watched.state("heartbeats", NOW + 300 * S) == "NO_DATA"
    reading = watched.reading("heartbeats", NOW + 301 * S)
    assert reading.state == "ALERT"
    assert "risk was never heard of" in reading.evidence


def test_a_silent_service_is_named() -> None:
    watched = Watched(NOW - 300 * S).all_well(NOW - 200 * S)
    for service in ("feeds", "pricer", "risk", "monitors", "reporting"):
        watched.told(beat(service, NOW + 100 * S))
    reading = watched.reading("heartbeats", NOW + 101 * S)
    assert (reading.state, reading.value, reading.threshold) == ("ALERT", 301.0, 300.0)
    assert reading.evidence == "broker 301.0 s old, limit 300 s"


@pytest.mark.parametrize("state", ["CONNECT", "VERIFY", "RECOVER", "DRAIN", "STOPPED"])
def test_a_service_that_lives_but_is_not_ready_for_long_is_named(state) -> None:
    watched = Watched().all_well()
    watched.told(beat("pricer", NOW + 60 * S, state, since_ns=NOW))
    assert watched.state("heartbeats", NOW + 60 * S) == "OK"
    reading = watched.reading("heartbeats", NOW + 61 * S)
    assert reading.state == "ALERT"
    assert reading.evidence == f"pricer {state} for 61 s"


def test_an_orderly_end_of_all_is_no_alert() -> None:
    """`alpha down` gives everything 45 s; monitors, itself among them, may be the last."""
    watched = Watched().all_well()
    watched.told(*(beat(service, NOW, "STOPPED", since_ns=NOW) for service in SERVICES))
    assert watched.state("heartbeats", NOW + 45 * S) == "OK"


def test_what_ended_in_good_order_a_run_ago_has_time_to_start() -> None:
    """The log of a run on an outside exchange goes on, and with it the last word of each."""
    watched = Watched()
    then_ns = NOW - 9_000 * S
    watched.told(*(beat(service, then_ns, "STOPPED", since_ns=then_ns) for service in SERVICES))
    assert watched.state("heartbeats", NOW + 60 * S) == "OK"
    assert watched.state("heartbeats", NOW + 61 * S) == "ALERT"


def test_a_foreign_service_is_not_watched() -> None:
    watched = Watched().all_well().told(beat("console", NOW - 9_000 * S))
    assert watched.state("heartbeats", NOW + S) == "OK"


# freshness


def test_a_feed_has_no_data_until_it_reported_and_alerts_when_it_stays_silent() -> None:
    watched = Watched().told(tick("I:SPX"), tick("I:NDX"), feed("index.ws"))
    reading = watched.reading("freshness", NOW + S, "clock")
    assert (reading.state, reading.value, reading.evidence) == ("NO_DATA", None, "not heard of yet")
    assert watched.state("freshness", NOW + S, "index.ws") == "OK"
    assert watched.state("freshness", NOW + 15 * S, "clock") == "NO_DATA"
    assert watched.state("freshness", NOW + 16 * S, "clock") == "ALERT"


def test_there_is_a_row_for_each_feed_that_a_watched_family_needs() -> None:
    assert set(Watched().readings("freshness", NOW)) == set(FEEDS)
    macro = Watched(families=("TENY", "CPI")).readings("freshness", NOW)
    own = {"treasury_10y.daily", "bls_cpi.latest_release", "cleveland_nowcast.monthly"}
    assert set(macro) == own | set(FEEDS) - {"index.ws"}


def test_a_feed_that_is_not_well_alerts_with_its_own_words() -> None:
    watched = Watched().all_well().told(feed("kalshi.status", ok=False, detail="503"))
    reading = watched.reading("freshness", NOW + S, "kalshi.status")
    assert (reading.state, reading.evidence) == ("ALERT", "not the value: 503")
    assert watched.state("freshness", NOW + S, "clock") == "OK"


def test_a_feed_that_stops_reporting_alerts() -> None:
    watched = Watched().all_well()
    assert watched.state("freshness", NOW + 15 * S, "clock") == "OK"
    reading = watched.reading("freshness", NOW + 20 * S, "clock")
    assert reading.state == "ALERT"
    assert reading.evidence == "report of clock 20.0 s old, limit 15 s"
    assert (reading.value, reading.threshold) == (20.0, 15.0)


@pytest.mark.parametrize(
    ("age_s", "left_s", "state"),
    [
        (2.0, 600, "OK"),
        (2.1, 600, "ALERT"),  # > 2 s in a window
        (1.7, 60, "OK"),  # in the last minute 0.7 s, and the second in which the next bar is due
        (1.8, 60, "ALERT"),
        (1.8, 61, "OK"),
        (15.0, 901, "OK"),
        (15.1, 901, "ALERT"),  # > 15 s outside
    ],
)
def test_an_index_level_may_be_so_old(age_s: float, left_s: int, state: str) -> None:
    now_ns = NOW + round(age_s * S)
    watched = Watched(NOW - 60 * S).all_well().told(feed("index.ws", now_ns))
    for event in (EVENT, "KXNASDAQ100U-24AUG05H1200"):
        watched.told(ladder(now_ns, event=event, target_ns=now_ns + left_s * S))
    assert watched.state("freshness", now_ns, "index.ws") == state


def test_without_a_ladder_that_trades_the_limit_is_the_one_outside_of_windows() -> None:
    watched = Watched(NOW - 60 * S).all_well().told(feed("index.ws", TARGET + 15 * S))
    watched.told(tick("I:SPX", TARGET), tick("I:NDX", TARGET))
    assert watched.state("freshness", TARGET + 15 * S, "index.ws") == "OK"
    assert watched.state("freshness", TARGET + 15 * S + 1, "index.ws") == "ALERT"


def test_one_silent_index_of_two_is_named() -> None:
    watched = Watched(NOW - 60 * S).all_well().told(tick("I:SPX", NOW + 3 * S), ladder(NOW + 3 * S))
    reading = watched.reading("freshness", NOW + 3 * S, "index.ws")
    assert reading.state == "ALERT"
    assert reading.evidence == "I:NDX 3.0 s old, limit 2 s"


def test_at_night_a_silent_index_is_normal() -> None:
    watched = Watched(NIGHT - 9 * S).told(feed("kalshi.status", NIGHT, ok=False, detail="503"))
    watched.told(feed("index.ws", NIGHT, ok=False, detail="nothing new within 2 s"))
    reading = watched.reading("freshness", NIGHT + S, "index.ws")
    assert (reading.state, reading.evidence) == ("OK", "the cash session is closed")
    assert watched.state("freshness", NIGHT + S, "kalshi.status") == "ALERT"


def test_a_day_beyond_the_calendar_has_no_session() -> None:
    far = 4_000_000_000 * S  # 2096
    watched = Watched(far).told(feed("index.ws", far))
    assert watched.state("freshness", far + S, "index.ws") == "OK"


def test_an_old_ladder_alerts_until_its_target() -> None:
    late = TARGET - S
    watched = Watched(NOW).all_well(late)
    watched.told(ladder(late, event="KXINX-24AUG05H1200", recv_ns=late - 3 * S))
    reading = watched.reading("freshness", late, "kalshi.ladders")
    assert reading.state == "ALERT"
    assert reading.evidence == "KXINX-24AUG05H1200 3.0 s old, limit 2 s"
    assert watched.state("freshness", TARGET, "kalshi.ladders") == "OK"


def test_an_observation_in_days_counts_business_days_only() -> None:
    """Monday 2024-09-02 is Labor Day: from Thursday before it to Thursday after it are four."""
    thursday = 1_724_940_000 * S  # 2024-08-29 10:00 in New York
    watched = Watched(thursday, families=("TENY",))
    for days, state in ((6, "OK"), (7, "ALERT")):
        now_ns = thursday + days * 86_400 * S
        watched.told(feed("treasury_10y.daily", now_ns, newest_ns=thursday))
        assert watched.state("freshness", now_ns, "treasury_10y.daily") == state


# kill switch


def test_the_kill_switch_alerts_while_it_is_on() -> None:
    watched = Watched()
    assert watched.state("kill_switch", NOW + 10 * S) == "NO_DATA"
    watched.core.handle(KillSwitchRead(now_ns=NOW, engaged=False, detail="released by me: go"))
    reading = watched.reading("kill_switch", NOW + S)
    assert (reading.state, reading.value, reading.evidence) == ("OK", 0.0, "released by me: go")
    watched.core.handle(KillSwitchRead(now_ns=NOW + S, engaged=True, detail="engaged by me: x"))
    reading = watched.reading("kill_switch", NOW + 2 * S)
    assert (reading.state, reading.value) == ("ALERT", 1.0)


def test_a_kill_switch_that_nobody_reads_counts_as_on() -> None:
    watched = Watched()
    assert watched.state("kill_switch", NOW + 11 * S) == "ALERT"
    watched.core.handle(KillSwitchRead(now_ns=NOW + 11 * S, engaged=False, detail="released"))
    assert watched.state("kill_switch", NOW + 21 * S) == "OK"
    assert watched.state("kill_switch", NOW + 22 * S) == "ALERT"


# ladder gap


def test_a_gap_alerts_when_no_snapshot_mends_it_in_time() -> None:
    watched = Watched().told(ladder(NOW, stale=(0, 2)))
    reading = watched.reading("ladder_gap", NOW + 2 * S, "INXU")
    assert (reading.state, reading.value) == ("OK", 0.0)  # none has lasted
    assert reading.evidence == f"awaiting snapshots: {EVENT} 2 of 3 rungs"
    watched.told(ladder(NOW + 2 * S, stale=(2,)))  # partly mended: the gap goes on
    reading = watched.reading("ladder_gap", NOW + 3 * S, "INXU")
    assert (reading.state, reading.value, reading.threshold) == ("ALERT", 1.0, 0.0)
    assert reading.evidence == f"books in doubt: {EVENT} 1 of 3 rungs"
    watched.told(ladder(NOW + 4 * S))
    assert watched.state("ladder_gap", NOW + 4 * S, "INXU") == "OK"
    watched.told(ladder(NOW + 5 * S, stale=(1,)))  # a new gap has its own time
    assert watched.state("ladder_gap", NOW + 7 * S, "INXU") == "OK"


def test_a_past_ladder_is_no_gap_and_no_ladder_is_no_data() -> None:
    watched = Watched().told(ladder(NOW, stale=(0,)))
    assert watched.state("ladder_gap", TARGET - S, "INXU") == "ALERT"
    assert watched.state("ladder_gap", TARGET, "INXU") == "NO_DATA"


def test_ladders_are_bounded() -> None:
    watched = Watched()
    for n in range(3 * LADDERS_MAX):
        watched.told(ladder(event=f"KXINXU-{n}", target_ns=TARGET + n))
    assert len(list(watched.core._ladders.trading(NOW))) == LADDERS_MAX


# our orders


@pytest.mark.parametrize(
    ("state", "expected"),
    [("unknown", "ALERT"), ("resting", "OK"), ("cancelled", "OK"), ("submitted", "OK")],
)
def test_an_order_of_unknown_outcome_alerts(state, expected: str) -> None:
    reading = Watched().told(order(state)).reading("unknown_orders", NOW)
    assert reading.state == expected
    if expected == "ALERT":
        assert (reading.value, reading.evidence) == (1.0, f"{TICKER} c1")


def test_an_unknown_order_that_is_resolved_is_ok_again() -> None:
    watched = Watched().told(order("unknown"), order("cancelled"))
    assert watched.state("unknown_orders", NOW) == "OK"


@pytest.mark.parametrize("state", ["resting", "partially_filled", "submitted", "unknown"])
def test_an_order_that_is_open_after_its_time_alerts(state) -> None:
    watched = Watched().told(order(state))
    assert watched.state("resting_after_t2", TARGET) == "OK"  # T-2 s and two seconds of grace
    reading = watched.reading("resting_after_t2", TARGET + 1)
    assert (reading.state, reading.value) == ("ALERT", 1.0)
    assert reading.evidence == f"{TICKER} {state} c1"
    watched.told(order("cancelled"))
    assert watched.state("resting_after_t2", TARGET + S) == "OK"


@pytest.mark.parametrize("state", ["filled", "cancelled", "rejected", "expired"])
def test_an_order_that_ended_does_not_alert(state) -> None:
    watched = Watched().told(order(state))
    assert watched.state("resting_after_t2", TARGET + 60 * S) == "OK"


def test_an_order_of_an_event_with_no_readable_target_counts_as_past() -> None:
    watched = Watched().told(order("resting", event="WHAT-IS-THIS"))
    assert watched.state("resting_after_t2", NOW) == "ALERT"


def test_an_order_that_was_folded_before_changes_nothing() -> None:
    watched = Watched().told(order("unknown"), order("cancelled"))
    watched.sequence = 0
    watched.told(order("unknown"))
    assert watched.state("unknown_orders", NOW) == "OK"


def test_events_that_are_over_are_let_go_but_not_their_open_orders() -> None:
    watched = Watched()
    for n in range(24):
        event = f"KXINXU-24AUG05H{n:02d}00"
        watched.told(order("cancelled", f"a{n}", event), order("filled", f"b{n}", event))
    watched.told(order("unknown", "c", "KXINXU-24AUG05H1200"))
    watched.look(TARGET + 48 * 3600 * S)
    own = watched.core._orders.own
    assert set(own._orders) == {"a12", "b12", "c"}
    assert set(own._tickers) == {EVENT}
    assert watched.state("unknown_orders", TARGET + 48 * 3600 * S) == "ALERT"
    watched.told(order("expired", "c"))
    watched.look(TARGET + 49 * 3600 * S)
    assert not own._orders
    assert not own._tickers
    assert not own._changed_ns


def test_a_settled_market_leaves_nothing_open() -> None:
    watched = Watched().told(order("unknown"))
    settled = ExchangeSettlement(
        **envelope(TARGET, "broker"),
        event_ticker=EVENT,
        series_ticker="KXINXU",
        ticker=TICKER,
        result="yes",
        yes_count_e2=0,
        no_count_e2=0,
        revenue_e6=0,
        fee_e6=0,
        settled_ns=TARGET,
    )
    watched.told(settled, stream="FILLS")
    assert watched.state("unknown_orders", TARGET + S) == "OK"


@pytest.mark.parametrize(
    ("differences", "expected"), [((), "OK"), (("position X: exchange 300, fills 200",), "ALERT")]
)
def test_books_that_differ_alert_and_so_does_silence_about_them(differences, expected) -> None:
    watched = Watched()
    assert watched.state("books_agree", NOW) == "NO_DATA"
    watched.told(reconciliation(*differences))
    reading = watched.reading("books_agree", NOW + S)
    assert (reading.state, reading.value) == (expected, float(len(differences)))
    assert watched.state("books_agree", NOW + 121 * S) == "NO_DATA"


# clock, exchange


@pytest.mark.parametrize(
    ("seconds", "state"), [(1.5, "OK"), (-1.5, "OK"), (1.51, "ALERT"), (-1.51, "ALERT")]
)
def test_the_clock_may_be_so_far_off(seconds: float, state: str) -> None:
    reading = Watched().told(skew(seconds)).reading("clock_skew", NOW + S)
    assert (reading.state, reading.value, reading.threshold) == (state, abs(seconds), 1.5)


def test_the_worst_recent_reference_counts_and_old_ones_do_not() -> None:
    watched = Watched().told(skew(3.0, NOW - 50 * S, "massive"), skew(0.2))
    assert watched.state("clock_skew", NOW) == "ALERT"
    assert watched.state("clock_skew", NOW + 11 * S) == "OK"
    assert watched.state("clock_skew", NOW + 61 * S) == "NO_DATA"


def test_references_are_bounded() -> None:
    watched = Watched().told(*(skew(0.1, reference=f"r{n}") for n in range(100)))
    reading = watched.reading("clock_skew", NOW)
    assert reading.evidence.endswith("and 10 more")  # six are shown of sixteen
    watched.told(skew(2.0, reference="r3"))
    assert watched.state("clock_skew", NOW) == "ALERT"


@pytest.mark.parametrize(
    ("trading", "exchange", "state"),
    [(True, True, "OK"), (False, True, "ALERT"), (True, False, "ALERT")],
)
def test_a_closed_exchange_alerts(trading: bool, exchange: bool, state: str) -> None:
    watched = Watched().told(status(trading, exchange))
    assert watched.state("exchange", NOW + 60 * S) == state
    assert watched.state("exchange", NOW + 61 * S) == "NO_DATA"


# counts


def test_a_dead_letter_alerts_for_ten_minutes() -> None:
    watched = Watched().told(letter(NOW), stream="DEAD")
    reading = watched.reading("dead_letters", NOW + S)
    assert (reading.state, reading.value, reading.threshold) == ("ALERT", 1.0, 0.0)
    assert reading.evidence == "last: risk refused TICKS 5: undecodable: it is no JSON"
    assert watched.state("dead_letters", NOW + 599 * S) == "ALERT"
    assert watched.state("dead_letters", NOW + 600 * S) == "OK"


def test_dead_letters_are_counted_up_to_a_bound() -> None:
    watched = Watched().told(*(letter(NOW + n) for n in range(5_000)), stream="DEAD")
    assert watched.reading("dead_letters", NOW + S).value == 1_000.0


def test_more_than_one_lost_connection_an_hour_over_six_hours_alerts() -> None:
    watched = Watched()
    for n in range(7):
        watched.told(feed("index.ws", NOW + n * S, failures=n))
    reading = watched.reading("ws_disconnect_rate", NOW + 10 * S)
    assert (reading.state, reading.value, reading.threshold) == ("OK", 1.0, 1.0)
    watched.told(feed("index.ws", NOW + 10 * S, failures=7))
    assert watched.state("ws_disconnect_rate", NOW + 10 * S) == "ALERT"
    assert watched.state("ws_disconnect_rate", NOW + 6 * 3600 * S + S) == "OK"


def test_losses_between_two_reports_and_over_a_restart_are_all_counted() -> None:
    watched = Watched().told(feed("kalshi.ladders", NOW, failures=40))  # before our time
    watched.told(feed("kalshi.ladders", NOW + S, failures=44))
    watched.told(feed("kalshi.ladders", NOW + 2 * S, failures=2))  # feeds started anew
    assert watched.reading("ws_disconnect_rate", NOW + 3 * S).value == 1.0


def test_an_older_report_that_comes_again_is_no_restart() -> None:
    watched = Watched()
    for at_ns, failures in ((NOW, 5), (NOW + S, 6), (NOW, 5), (NOW + S, 6)):
        watched.told(feed("index.ws", at_ns, failures=failures))
    assert watched.reading("ws_disconnect_rate", NOW + S).value == 1 / 6


def test_an_older_sample_does_not_replace_a_newer_one() -> None:
    watched = Watched().told(skew(0.1, NOW), skew(9.0, NOW - S))
    assert watched.state("clock_skew", NOW) == "OK"


def test_without_reports_there_is_no_rate() -> None:
    assert Watched().told(feed("clock")).state("ws_disconnect_rate", NOW) == "NO_DATA"


@pytest.mark.parametrize(
    ("day", "state", "left"),
    [
        (date(2026, 11, 1), "OK", 60),
        (date(2026, 11, 2), "ALERT", 59),
        (date(2027, 1, 1), "ALERT", -1),
    ],
)
def test_a_calendar_that_ends_alerts_two_months_before(day, state, left) -> None:
    """The table of CPI ends with 2026, before the others."""
    (reading,) = CalendarEnds(MonitorsPolicy()).look(eastern_ns(day, 12)).values()
    assert (reading.state, reading.value, reading.threshold) == (state, left, 60)
    assert "CPI releases" in reading.evidence


def test_a_calendar_that_ends_says_nothing_of_the_market() -> None:
    assert CalendarEnds.name in MonitorsPolicy().gates.panic_ignores
