"""What a simulator on its own lists, and when."""

from datetime import UTC, datetime

from cli.simulators import live_targets

S = 1_000_000_000


def at_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


def test_a_live_simulator_has_an_event_every_hour_of_any_day() -> None:
    sunday_night = at_ns("2026-11-22 03:10")
    targets = live_targets(sunday_night)
    assert targets[0] == at_ns("2026-11-22 04:00")
    assert targets == tuple(targets[0] + hour * 3_600 * S for hour in range(24))


def test_the_first_target_leaves_a_quarter_of_an_hour() -> None:
    assert live_targets(at_ns("2026-11-25 10:45"))[0] == at_ns("2026-11-25 11:00")
    assert live_targets(at_ns("2026-11-25 10:45") + 1)[0] == at_ns("2026-11-25 12:00")


def test_the_hour_that_comes_twice_has_no_ticker_of_its_own() -> None:
    """On 1 November 2026 New York's clocks show 01:00 at 05:00 and at 06:00 UTC."""
    targets = live_targets(at_ns("2026-11-01 00:00"))
    assert len(targets) == 22
    twice = {at_ns("2026-11-01 05:00"), at_ns("2026-11-01 06:00")}
    assert not twice & set(targets)
