"""`alpha windows`: the golden days of the specification, as a person and a program read them."""

import json

import pytest
from typer.testing import CliRunner

from cli.main import app


def windows(day, *words):
    result = CliRunner().invoke(app, ["windows", "--date", day, *words], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def family(day, name):
    answer = json.loads(windows(day, "--json"))
    assert answer["date"] == day
    (found,) = [one for one in answer["families"] if one["family"] == name]
    return found


@pytest.mark.parametrize(
    ("day", "count", "note"),
    [
        ("2025-11-10", 7, ""),
        ("2025-11-11", 7, ""),
        ("2025-11-28", 4, "closes early, at 13:00"),
        ("2025-01-09", 0, "the exchange is shut"),
    ],
)
def test_index_days(day, count, note):
    hourly = family(day, "INXU")
    assert (len(hourly["windows"]), hourly["note"]) == (count, note)
    assert hourly["series"] == ["KXINXU"]


def test_the_noon_window_of_2025_11_03():
    noon = family("2025-11-03", "INXU")["windows"][2]
    assert noon == {
        "freeze": None,
        "opens": "2025-11-03T11:45:00-05:00",
        "closes": "2025-11-03T12:00:00-05:00",
        "cancel_at": "2025-11-03T11:59:58-05:00",
        "target": "2025-11-03T12:00:00-05:00",
        "target_ns": 1_762_189_200_000_000_000,
    }


def test_claims_of_thanksgiving_week_are_frozen_from_tuesday_evening():
    (window,) = family("2025-11-26", "CLAIMS")["windows"]
    assert window["freeze"] == "2025-11-25T18:00:00-05:00"
    assert window["closes"] == "2025-11-26T08:25:00-05:00"
    assert family("2025-11-27", "CLAIMS")["windows"] == []


def test_teny_after_a_sunday():
    assert family("2025-10-26", "TENY")["windows"] == []
    (window,) = family("2025-10-27", "TENY")["windows"]
    assert (window["freeze"][11:16], window["opens"][11:16], window["closes"][11:16]) == (
        "13:30",
        "14:30",
        "15:25",
    )


def test_people_read_a_table():
    shown = windows("2025-11-26")
    assert "Wednesday 2025-11-26" in shown
    assert "from Tue 18:00" in shown
    assert "15:59:58" in shown


def test_what_nobody_knows_is_closed_and_said():
    """Whether offices work on Christmas Eve is decided by order; bonds may close early that day."""
    assert (
        family("2026-12-24", "CLAIMS")["windows"] == family("2026-12-24", "TENY")["windows"] == []
    )
    shown = windows("2026-12-24")
    assert "decided by order" in shown
    assert "the bond market closes early" in shown
    assert family("2027-01-13", "CPI")["windows"] == []
    assert len(family("2027-01-13", "INXU")["windows"]) == 7


def test_a_table_that_ends_soon_is_told_below_the_day():
    assert "warning: the table of CPI releases ends on 2026-12-31, in 7 days" in windows(
        "2026-12-24"
    )
    assert "warning" not in windows("2026-10-01")
