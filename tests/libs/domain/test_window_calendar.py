"""Every window of every family from 2024 to 2027, against exchange_calendars and pandas."""

import json
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from libs.domain.calendar import CalendarError, is_short_bond_day
from libs.domain.windows import (
    RULES,
    WindowError,
    WindowRules,
    family_days,
    index_window,
    window_state,
    windows_on,
)

ROOT = Path(__file__).resolve().parents[3]
NEW_YORK = ZoneInfo("America/New_York")
FIRST, LAST = date(2024, 1, 1), date(2027, 12, 31)
DAYS = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
S = 1_000_000_000
MINUTE = 60 * S
SOURCE = """
import json, warnings
warnings.simplefilter("ignore")
import exchange_calendars
from pandas.tseries.holiday import USFederalHolidayCalendar
nyse = exchange_calendars.get_calendar("XNYS", start="2024-01-01", end="2027-12-31")
closes = {str(day.date()): int(close.timestamp()) for day, close in nyse.closes.items()}
holidays = USFederalHolidayCalendar().holidays("2023-12-01", "2028-01-31")
print(json.dumps({"closes": closes, "holidays": [str(day.date()) for day in holidays]}))
"""


@pytest.fixture(scope="module")
def source() -> dict:
    pytest.importorskip("exchange_calendars")
    told = subprocess.run(
        [sys.executable, "-c", SOURCE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(told.stdout)


def local_ns(day: date, hour: int, minute: int = 0) -> int:
    at = datetime(day.year, day.month, day.day, hour, minute, tzinfo=NEW_YORK)
    return int(at.timestamp()) * S


def test_index_windows_end_with_the_sessions_of_exchange_calendars(source) -> None:
    for day in DAYS:
        close_s = source["closes"].get(day.isoformat())
        hours, close = [], []
        if close_s is not None:
            close_ns = close_s * S
            hours = [at for h in range(10, 17) if (at := local_ns(day, h)) <= close_ns]
            close = [close_ns]
        for family in ("INXU", "NASDAQ100U"):
            found = windows_on(family, day)
            assert [(w.opens_ns, w.closes_ns) for w in found] == [
                (at - 15 * MINUTE, at) for at in hours
            ], day
        for family in ("INX", "NASDAQ100"):
            found = windows_on(family, day)
            assert [(w.opens_ns, w.closes_ns) for w in found] == [
                (at - 10 * MINUTE, at) for at in close
            ], day


def test_there_are_short_days_and_closed_ones_in_every_year(source) -> None:
    for year in range(2024, 2028):
        weekdays = [d for d in DAYS if d.year == year and d.weekday() < 5]
        windows = [len(windows_on("INXU", day)) for day in weekdays]
        assert 9 <= windows.count(0) <= 11  # nine or ten holidays, and 2025-01-09
        assert windows.count(4) >= 1
        assert set(windows) == {0, 4, 7}


def test_claims_come_on_thursday_or_before_a_holiday(source) -> None:
    holidays = set(source["holidays"])
    expected = set()
    for day in DAYS:
        if day.weekday() == 3:
            release = day
            while release.isoformat() in holidays:
                release -= timedelta(days=1)
            expected.add(release)
    # By order, as newspapers report: a day of mourning; Christmas Eve 2026 is not decided yet.
    expected -= {date(2025, 1, 9), date(2026, 12, 24)}
    expected.add(date(2025, 1, 8))
    undecided = [date(2026, 12, 21) + timedelta(days=n) for n in range(7)]
    for day in undecided:
        with pytest.raises(CalendarError, match="by order"):
            windows_on("CLAIMS", day)
    shifted = [day for day in expected if day.weekday() != 3]
    assert date(2025, 11, 26) in shifted
    for day in [day for day in DAYS if day not in undecided]:
        found = windows_on("CLAIMS", day)
        assert bool(found) == (day in expected), day
        for window in found:
            assert window.opens_ns == local_ns(day, 6)
            assert window.closes_ns == local_ns(day, 8, 25)
            assert window.freeze_ns == local_ns(day - timedelta(days=1), 18)


def test_teny_is_quoted_when_stocks_offices_and_bonds_work_all_day(source) -> None:
    holidays = set(source["holidays"])
    for day in DAYS:
        works = day.isoformat() in source["closes"] and day.isoformat() not in holidays
        works = works and not is_short_bond_day(day)  # test_calendar.py lists those
        found = windows_on("TENY", day)
        assert bool(found) == works, day
        for window in found:
            assert window.freeze_ns == local_ns(day, 13, 30)
            assert (window.opens_ns, window.closes_ns) == (
                local_ns(day, 14, 30),
                local_ns(day, 15, 25),
            )


def test_weather_cycles_are_utc_whatever_new_york_does() -> None:
    opens = [window.opens_ns for day in DAYS for window in windows_on("WEATHER", day)]
    hours = {datetime.fromtimestamp(at // S, UTC).hour for at in opens}
    assert hours == {0, 6, 12, 18}
    steps = {after - before for before, after in pairwise(opens)}
    assert steps == {6 * 60 * MINUTE}


def test_cpi_is_quoted_before_each_published_release_and_unknown_beyond_the_table() -> None:
    found = [w for day in DAYS if day.year < 2027 for w in windows_on("CPI", day)]
    # Twelve a year but for October 2025, which was never published, and November's came with it.
    assert len(found) == 12 + 11 + 12
    for window in found:
        day = datetime.fromtimestamp(window.target_ns // S, NEW_YORK).date()
        assert window.target_ns == local_ns(day, 8, 30)
        assert (window.opens_ns, window.closes_ns) == (local_ns(day, 6), local_ns(day, 8, 20))
        assert window.freeze_ns == local_ns(day - timedelta(days=1), 6)
    with pytest.raises(CalendarError):
        windows_on("CPI", date(2027, 1, 13))


def test_every_edge_of_every_window_is_where_the_state_changes() -> None:
    for day in (date(2025, 3, 9), date(2025, 11, 2), date(2025, 11, 26), date(2025, 12, 18)):
        for one in family_days(day):
            for window in one.windows:
                family = one.family.name
                assert window_state(family, window.opens_ns - 1).open != window
                assert window_state(family, window.opens_ns).open == window
                assert window_state(family, window.closes_ns - 1).open == window
                assert window_state(family, window.closes_ns).open != window
                if window.freeze_ns is not None:
                    assert window_state(family, window.freeze_ns).freeze == window
                    assert window_state(family, window.opens_ns).freeze is None


STRETCHED = WindowRules(
    hourly_lead_s=3_600,
    close_lead_s=3_600,
    cpi_freeze="00:00",
    cpi_opens="00:00",
    cpi_close_lead_s=1,
    claims_freeze="00:00",
    claims_opens="00:00",
    claims_closes="08:29",
    teny_freeze="00:00",
    teny_opens="00:01",
    teny_closes="15:29",
    weather_open_s=21_600,
)
"""Windows and freezes as long as a configuration may make them."""


@pytest.mark.parametrize("rules", [RULES, STRETCHED], ids=["shipped", "stretched"])
def test_no_family_is_ever_frozen_while_a_window_of_its_own_is_open(rules) -> None:
    """So the freeze gate never says no without the window gate: a freeze ends as one opens."""
    frozen = set()
    for family in (one.family.name for one in family_days(DAYS[0])):
        edges: set[int] = set()
        for day in DAYS:
            with suppress(CalendarError, WindowError):
                for window in windows_on(family, day, rules):
                    edges |= {window.opens_ns, window.closes_ns, window.freeze_ns or 0}
        for edge_ns in sorted(edges - {0}):
            for now_ns in (edge_ns - 1, edge_ns):
                with suppress(CalendarError):
                    state = window_state(family, now_ns, rules)
                    assert state.open is None or not state.frozen, (family, now_ns)
                    if state.frozen:
                        frozen.add(family)
    assert frozen == {"CPI", "CLAIMS", "TENY"} | ({"WEATHER"} if rules is RULES else set())


def test_a_day_of_every_family_says_why_there_is_no_window() -> None:
    notes = {one.family.name: one.note for one in family_days(date(2025, 11, 28))}
    assert notes["INXU"] == notes["INX"] == "closes early, at 13:00"
    assert "no window rule" in notes["GAS"]
    assert notes["TENY"] == "the bond market closes early"
    thanksgiving = {one.family.name: one for one in family_days(date(2025, 11, 27))}
    assert thanksgiving["INXU"].note == "the exchange is shut"
    assert thanksgiving["TENY"].windows == ()
    (early,) = [one for one in family_days(date(2025, 11, 26)) if one.family.name == "CLAIMS"]
    assert early.note.startswith("released early")
    (unknown,) = [one for one in family_days(date(2027, 3, 10)) if one.family.name == "CPI"]
    assert unknown.windows == ()
    assert "macro days" in unknown.note


def test_a_target_of_an_early_close_has_its_window_and_a_later_hour_none() -> None:
    short = date(2025, 11, 28)
    assert index_window("INX", local_ns(short, 13), RULES).opens_ns == local_ns(short, 12, 50)
    assert [w.target_ns for w in windows_on("INXU", short)][-1] == local_ns(short, 13)
