"""Which whole minutes feeds believes, and when index.minutes is called stale."""

import pytest
from msgspec.structs import replace

from libs.common.effects import TimerFired
from libs.common.messages import FeedStatus
from services.feeds.core import WATCH_TIMER, FeedsCore
from services.feeds.events import CountRefused, MinuteBar
from tests.services.feeds.feeding import CONFIG, NOW, S, of, said

MINUTE = 60 * S
CLOSES = replace(CONFIG, series=("KXINXU", "KXINX"))


def minute(end_ns=NOW, symbol="I:SPX", now_ns=None, levels=(5200, 5205, 5198, 5201)):
    opened, high, low, closed = (round(level * 10_000) for level in levels)
    return MinuteBar(
        now_ns=end_ns if now_ns is None else now_ns,
        symbol=symbol,
        open_e4=opened,
        high_e4=high,
        low_e4=low,
        close_e4=closed,
        start_ns=end_ns - MINUTE,
    )


def status(core, now_ns):
    effects = core.handle(TimerFired(now_ns=now_ns, key=WATCH_TIMER, at_ns=now_ns))
    return {one.feed: one for one in said(effects, FeedStatus)}.get("index.minutes")


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (minute(NOW + MINUTE, symbol="I:DJI"), "unknown_symbol"),
        (minute(NOW + MINUTE, levels=(5200, 5201, 5198, 5205)), "impossible"),  # above its high
        (minute(NOW + MINUTE, levels=(5197, 5205, 5198, 5201)), "impossible"),  # below its low
        (minute(NOW + MINUTE, levels=(0, 0, 0, 0)), "impossible"),
        (minute(NOW + MINUTE, levels=(-1, 5205, -1, 5201)), "impossible"),
        (minute(NOW + S), "impossible"),  # not on the minute
        (minute(NOW + MINUTE, now_ns=NOW), "future"),  # its start is no time at which it is known
        (minute(NOW), "not_newer"),
        (minute(NOW - MINUTE), "not_newer"),
    ],
)
def test_a_minute_that_cannot_be_is_refused_and_counted(refused, reason):
    core = FeedsCore(CLOSES)
    assert core.handle(minute(NOW)) == []
    (counted,) = of(core.handle(refused), CountRefused)
    assert (counted.feed, counted.reason) == ("index.minutes", reason)
    assert status(core, NOW + 80 * S).newest_ns == NOW


def test_it_is_stale_twenty_seconds_after_the_next_bar_was_due():
    core = FeedsCore(CLOSES)
    found = status(core, NOW)
    assert not found.ok
    assert found.newest_ns == 0
    core.handle(minute(NOW))
    assert status(core, NOW + 80 * S).ok
    assert not status(core, NOW + 80 * S + 1).ok


def test_it_is_as_new_as_the_index_that_is_furthest_behind():
    core = FeedsCore(CLOSES)
    core.handle(minute(NOW, symbol="I:NDX"))
    for end_ns in (NOW, NOW + MINUTE, NOW + 2 * MINUTE):
        core.handle(minute(end_ns))
    found = status(core, NOW + 2 * MINUTE)
    assert (found.newest_ns, found.ok) == (NOW, False)


def test_without_a_series_that_settles_at_the_close_nothing_is_said_of_it():
    core = FeedsCore(CONFIG)
    core.handle(minute(NOW))
    assert status(core, NOW) is None


def test_a_series_of_no_family_is_refused_at_the_start():
    with pytest.raises(ValueError, match="series: no family holds 'KXNOVEL'"):
        replace(CONFIG, series=("KXNOVEL",))
