"""What the read-only check concludes: times from domain.md §4 and §8, forms from kalshi-api.md."""

from datetime import date

import pytest

from libs.domain.eastern import eastern_ns
from libs.kalshi.wire.market import ExchangeStatus, MaintenanceWindow, Schedule
from services.broker import smoke_checks as checks

S = 1_000_000_000
DAY = date(2025, 11, 3)
NOON_NS = eastern_ns(DAY, 12)


@pytest.mark.parametrize(
    ("hour", "minute", "second", "line"),
    [
        (11, 39, 59, None),
        (11, 40, 0, "[u-roll] ROLLED U-SERIES: H1100 -> H1200"),
        (12, 40, 0, "[u-roll] ROLLED U-SERIES: H1200 -> H1300"),
        (12, 59, 58, "[u-roll] ROLLED U-SERIES: H1200 -> H1300"),
        (13, 0, 0, None),
    ],
)
def test_the_roll(hour: int, minute: int, second: int, line: str | None) -> None:
    assert checks.roll_line(eastern_ns(DAY, hour, minute) + second * S) == line


@pytest.mark.parametrize(
    ("minute", "second", "state", "phase"),
    [
        (39, 59, "later", "live from Mon 2025-11-03 11:40 ET: not listed"),
        (40, 0, "failed", "live: not listed"),
    ],
)
def test_an_event_must_be_listed_once_it_is_live(
    minute: int, second: int, state: str, phase: str
) -> None:
    now_ns = eastern_ns(DAY, 11, minute) + second * S
    found = checks.event_check("KXINXU", now_ns, None)
    assert (found.state, found.found) == (state, f"KXINXU-25NOV03H1200, {phase}")


def test_the_last_hour_of_a_day_leads_to_the_next_trading_day() -> None:
    friday_ns = eastern_ns(date(2025, 11, 7), 16)
    target = checks.next_target("KXNASDAQ100U", friday_ns)
    assert target.event_ticker == "KXNASDAQ100U-25NOV10H1000"
    assert not target.live


@pytest.mark.parametrize(
    ("exchange", "trading", "state"),
    [(True, True, "ok"), (True, False, "failed"), (False, True, "failed")],
)
def test_the_exchange_must_be_up_and_trade(exchange: bool, trading: bool, state: str) -> None:
    status = ExchangeStatus(exchange_active=exchange, trading_active=trading)
    assert checks.status_check(status).state == state


@pytest.mark.parametrize(
    ("start_s", "end_s", "state", "said"),
    [(-60, 60, "failed", "on now"), (60, 120, "ok", "next"), (-120, -60, "ok", "no maintenance")],
)
def test_maintenance(start_s: int, end_s: int, state: str, said: str) -> None:
    window = MaintenanceWindow(start_ns=NOON_NS + start_s * S, end_ns=NOON_NS + end_s * S)
    schedule = Schedule(standard_hours=(), maintenance_windows=(window,))
    found = checks.schedule_check(schedule, NOON_NS)
    assert found.state == state
    assert said in found.found


@pytest.mark.parametrize(
    ("skew_s", "uncertainty_s", "state"),
    [
        (1.5, 0.0, "ok"),  # domain.md §1: > 1.5 s is a NO-GO
        (1.6, 0.0, "failed"),
        (-1.6, 0.0, "failed"),
        (1.9, 0.5, "ok"),
        (2.1, 0.5, "failed"),
    ],
)
def test_clock(skew_s: float, uncertainty_s: float, state: str) -> None:
    assert checks.clock_check(round(skew_s * S), round(uncertainty_s * S)).state == state


def test_a_clock_that_was_never_compared_is_no_good_clock() -> None:
    assert checks.clock_check(None, None).state == "failed"
