"""Write libs/domain/nyse_days.py from exchange_calendars: python tools/make_nyse_days.py.

Services cannot carry exchange_calendars (it needs pandas, some 100 MB), so its answers for the
New York Stock Exchange are kept as data. A test regenerates and compares.
"""

from datetime import date, timedelta
from pathlib import Path

import exchange_calendars

FIRST_DAY = date(2020, 1, 1)
LAST_DAY = date(2030, 12, 31)
TARGET = Path(__file__).resolve().parents[1] / "libs" / "domain" / "nyse_days.py"

HEAD = '''"""NYSE days off and short days. Written by tools/make_nyse_days.py: do not edit."""

from datetime import date, time

FIRST_DAY = date({first})
LAST_DAY = date({last})
EARLY_CLOSE = time(13, 0)

# Weekdays on which the exchange stays shut, mourning days included.
'''


def render() -> str:
    """Return the text of the data module; raise RuntimeError on hours it cannot hold."""
    source = exchange_calendars.get_calendar(
        "XNYS",
        start=(FIRST_DAY - timedelta(days=10)).isoformat(),
        end=(LAST_DAY + timedelta(days=10)).isoformat(),
    )
    closes = source.schedule["close"].dt.tz_convert("America/New_York")
    close_of = {stamp.date(): close.time() for stamp, close in closes.items()}
    days = [FIRST_DAY + timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1)]
    holidays = [day for day in days if day.weekday() < 5 and day not in close_of]
    short = [day for day in days if day in close_of and close_of[day].hour < 16]
    odd = {close_of[day].isoformat() for day in days if day in close_of}
    if odd != {"13:00:00", "16:00:00"}:
        raise RuntimeError(f"expected closes at 13:00 and 16:00 only, got {sorted(odd)}")
    head = HEAD.format(
        first=f"{FIRST_DAY.year}, {FIRST_DAY.month}, {FIRST_DAY.day}",
        last=f"{LAST_DAY.year}, {LAST_DAY.month}, {LAST_DAY.day}",
    )
    return (
        head
        + _table("HOLIDAYS", holidays)
        + "\n# Days that close at EARLY_CLOSE.\n"
        + _table("EARLY_CLOSES", short)
    )


def _table(name: str, days: list[date]) -> str:
    lines = [
        f"{name}: frozenset[date] = frozenset(",
        "    date.fromisoformat(day)",
        "    for day in (",
    ]
    lines += [f'        "{day.isoformat()}",' for day in days]
    return "\n".join([*lines, "    )", ")", ""])


if __name__ == "__main__":
    TARGET.write_text(render())
    print(f"wrote {TARGET}")
