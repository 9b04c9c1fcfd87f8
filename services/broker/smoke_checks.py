"""What the read-only check concludes from what it read: pure, one function for each check."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from libs.domain.calendar import CalendarError
from libs.domain.eastern import NS_PER_S, eastern_datetime
from libs.domain.families import family_of_series
from libs.domain.tickers import format_event_ticker
from libs.domain.windows import (
    ROLL_LEAD_NS,
    WindowError,
    next_index_target,
    roll,
)
from libs.kalshi.errors import KalshiError, RefusedError
from libs.kalshi.wire import market, portfolio

SKEW_MAX_NS = 1_500_000_000
"""domain.md §1, `clock`: further off is a NO-GO."""
ORDERS_SHOWN = 5
UNAUTHORIZED = 401
HINTS = {
    "NOT_FOUND": "it does not know this key id; production and demo have keys of their own",
    "INCORRECT_API_KEY_SIGNATURE": "the key file is not the private key of this key id",
    "header_timestamp_expired": "set this machine's clock",
}
"""What the exchange says of a request it can't take as signed, and what that means."""
E6_PER_DOLLAR = 1_000_000
State = Literal["ok", "failed", "later"]


class Check(Struct, frozen=True):
    """One thing that was looked at. `later`: not there yet, and it need not be."""

    name: str
    state: State
    found: str


class Target(Struct, frozen=True):
    """The next event of a series. `live` once the hour has rolled to it (domain.md §4)."""

    event_ticker: str
    target_ns: int
    live: bool


def failed_read(name: str, error: KalshiError) -> Check:
    """Return that a read failed, why, and what mends it where that is known."""
    hint = ""
    if isinstance(error, RefusedError) and error.status == UNAUTHORIZED:
        hint = next((text for word, text in HINTS.items() if word in error.explanation), "")
    return Check(name, "failed", error.explanation + (f": {hint}" if hint else ""))


def without_repeats(found: Sequence[Check]) -> list[Check]:
    """Return the checks; what fails for a reason told before names the first one instead."""
    first: dict[str, str] = {}
    told = []
    for check in found:
        name = first.setdefault(check.found, check.name)
        repeated = check.state == "failed" and name != check.name
        told.append(Check(check.name, "failed", f"as {name}") if repeated else check)
    return told


def status_check(status: market.ExchangeStatus) -> Check:
    """Return whether the exchange is up and trades."""
    found = f"exchange {_active(status.exchange_active)}, trading {_active(status.trading_active)}"
    if status.resume_ns is not None:
        found += f", expected back {_eastern(status.resume_ns)}"
    well = status.exchange_active and status.trading_active
    return Check("exchange status", "ok" if well else "failed", found)


def schedule_check(schedule: market.Schedule, now_ns: int) -> Check:
    """Return whether a maintenance window is on, and when the next one is."""
    ahead = sorted(
        (window for window in schedule.maintenance_windows if window.end_ns > now_ns),
        key=lambda window: window.start_ns,
    )
    name = "exchange schedule"
    if not ahead:
        return Check(name, "ok", "no maintenance announced")
    first = ahead[0]
    said = f"maintenance {_eastern(first.start_ns)} to {_eastern(first.end_ns)}"
    on = first.start_ns <= now_ns
    return Check(name, "failed" if on else "ok", f"{said}, on now" if on else f"next {said}")


def clock_check(skew_ns: int | None, uncertainty_ns: int | None) -> Check:
    """Return whether our clock is near enough to the exchange's."""
    if skew_ns is None or uncertainty_ns is None:
        return Check("clock", "failed", "expected a Date header of the exchange, found none")
    said = (
        f"ours is {skew_ns / NS_PER_S:+.2f} s from the exchange's Date, "
        f"known to ±{uncertainty_ns / NS_PER_S:.2f} s"
    )
    if abs(skew_ns) - uncertainty_ns > SKEW_MAX_NS:
        return Check("clock", "failed", f"{said}; expected within {SKEW_MAX_NS / NS_PER_S} s")
    return Check("clock", "ok", said)


def limits_check(limits: portfolio.AccountLimits) -> Check:
    """Return what the account may ask for."""
    read, write = limits.read, limits.write
    return Check(
        "account limits",
        "ok",
        f"{limits.usage_tier}: read {read.refill_rate}/s up to {read.bucket_capacity}, "
        f"write {write.refill_rate}/s up to {write.bucket_capacity} tokens",
    )


def balance_check(balance: portfolio.Balance) -> Check:
    """Return that the balance can be read."""
    return Check("balance", "ok", f"${balance.balance_e6 / E6_PER_DOLLAR:,.2f}")


def orders_check(orders: Sequence[portfolio.Order]) -> Check:
    """Return what rests; that something does is no failure, but it is told."""
    name = "outstanding orders"
    if not orders:
        return Check(name, "ok", "nothing rests")
    shown = [
        f"{order.side} {order.ticker} {order.remaining_e2 / 100:g} at {order.price_e4 / 100:g} ¢"
        for order in orders[:ORDERS_SHOWN]
    ]
    more = f" and {len(orders) - ORDERS_SHOWN} more" if len(orders) > ORDERS_SHOWN else ""
    return Check(name, "ok", f"{len(orders)} rest: {'; '.join(shown)}{more}")


def roll_line(now_ns: int) -> str | None:
    """Return the line of the roll of this hour, None before minute :40."""
    hour_ns = roll(now_ns).boundary_ns - 3_600 * NS_PER_S
    return roll(now_ns, hour_ns).line


def next_target(series: str, now_ns: int) -> Target:
    """Return a U-series' next event; raise WindowError or CalendarError when there is none."""
    target_ns = next_index_target(family_of_series(series).name, now_ns)
    live = roll(now_ns).active_ns == target_ns
    return Target(format_event_ticker(series, target_ns), target_ns, live)


def event_check(series: str, now_ns: int, event: market.Event | None) -> Check:
    """Return whether a series' next event is there, once the hour has rolled to it."""
    name = f"event {series}"
    try:
        target = next_target(series, now_ns)
    except (WindowError, CalendarError) as error:
        return Check(name, "failed", str(error))
    phase = "live" if target.live else f"live from {_eastern(target.target_ns - ROLL_LEAD_NS)}"
    said = f"{target.event_ticker}, {phase}"
    if event is None:
        return Check(name, "failed" if target.live else "later", f"{said}: not listed")
    markets = event.markets or ()
    active = sum(one.status == "active" for one in markets)
    said += f": {active} of {len(markets)} markets active"
    if active:
        return Check(name, "ok", said)
    return Check(name, "failed" if target.live else "later", said)


def _active(is_active: bool) -> str:
    return "active" if is_active else "NOT active"


def _eastern(at_ns: int) -> str:
    return f"{eastern_datetime(at_ns):%a %Y-%m-%d %H:%M} ET"
