"""`alpha windows`: when each family may be quoted on a day, and when it is frozen."""

from datetime import date
from typing import Any

from rich.console import Console
from rich.table import Table

from cli.calendar_ends import tell_ends
from libs.common.config import load_part
from libs.common.policy_files import CONFIGS
from libs.domain.eastern import eastern_datetime
from libs.domain.windows import FamilyDay, Window, WindowRules, family_days


def show_windows(day: date, console: Console, *, as_json: bool) -> None:
    """Print the calendar of a New York day, by the shipped configs/index_ops.yaml."""
    rules = load_part(CONFIGS / "index_ops.yaml", "policy.index_ops", WindowRules)
    days = family_days(day, rules)
    if as_json:
        rows = [_as_json(one, rules) for one in days]
        console.print_json(data={"date": day.isoformat(), "families": rows})
        return
    table = Table(title=f"{day:%A %Y-%m-%d}, New York time", title_justify="left")
    for heading in ("family", "freeze", "window", "last quote gone", "target", ""):
        table.add_column(heading, overflow="fold")
    for one in days:
        for number, window in enumerate(one.windows or (None,)):
            name = one.family.name if number == 0 else ""
            note = one.note if number == 0 else ""
            table.add_row(name, *_cells(day, window, rules), note)
    console.print(table)
    tell_ends(console, day)


def _cells(day: date, window: Window | None, rules: WindowRules) -> tuple[str, str, str, str]:
    if window is None:
        return "–", "–", "–", "–"
    freeze = "–" if window.freeze_ns is None else f"from {_clock(day, window.freeze_ns)}"
    opens, closes = _clock(day, window.opens_ns), _clock(day, window.closes_ns)
    gone = f"{eastern_datetime(window.cancel_ns(rules)):%H:%M:%S}"
    return freeze, f"{opens}–{closes}", gone, _clock(day, window.target_ns)


def _clock(day: date, at_ns: int) -> str:
    local = eastern_datetime(at_ns)
    return f"{local:%H:%M}" if local.date() == day else f"{local:%a %H:%M}"


def _as_json(one: FamilyDay, rules: WindowRules) -> dict[str, Any]:
    family = one.family
    return {
        "family": family.name,
        "series": [*family.series_tickers, *(f"{prefix}*" for prefix in family.series_prefixes)],
        "windows": [
            {
                "freeze": None if window.freeze_ns is None else _iso(window.freeze_ns),
                "opens": _iso(window.opens_ns),
                "closes": _iso(window.closes_ns),
                "cancel_at": _iso(window.cancel_ns(rules)),
                "target": _iso(window.target_ns),
                "target_ns": window.target_ns,
            }
            for window in one.windows
        ],
        "note": one.note,
    }


def _iso(at_ns: int) -> str:
    return eastern_datetime(at_ns).isoformat()
