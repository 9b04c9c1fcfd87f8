"""Which markets trade: lists and lifecycle frames against each other, and nothing known is a no."""

import pytest

from libs.common.effects import TimerFired
from libs.kalshi.ws import LIFECYCLE
from libs.kalshi.ws_events import Gap, Subscribed
from services.feeds.core import WATCH_TIMER, FeedsCore
from services.feeds.events import CountRefused, ListLadders
from services.feeds.statuses import SETTLE_NS, MarketStatuses
from tests.services.feeds.feeding import (
    CONFIG,
    EVENT,
    MS,
    NOW,
    TARGET,
    TICKERS,
    S,
    delta,
    following,
    heard,
    ladders,
    lifecycle,
    listed,
    of,
    snapshot,
    spec,
)

STALE = 60 * S
A, B = TICKERS[:2]
BEGUN = Subscribed(LIFECYCLE, 2)


def watch(core: FeedsCore, now_ns: int):
    """Let the feed's second pass, its books heard of; return all that came of it."""
    effects = core.handle(heard(delta(), now_ns=now_ns))
    return effects + core.handle(TimerFired(now_ns=now_ns, key=WATCH_TIMER, at_ns=now_ns))


def statuses(now_ns=NOW, inactive=()) -> MarketStatuses:
    found = MarketStatuses(STALE)
    found.watched(now_ns - S)
    found.listed(EVENT, (A, B), inactive, now_ns, now_ns)
    return found


def known(found: MarketStatuses, now_ns=NOW):
    return found.inactive(EVENT, (A, B), now_ns)


def test_a_list_says_which_markets_trade() -> None:
    assert known(statuses()) == ()
    assert known(statuses(inactive=(B,))) == (1,)


def test_nothing_is_known_before_a_list_and_while_changes_are_not_told_of() -> None:
    found = MarketStatuses(STALE)
    found.listed(EVENT, (A, B), (), NOW, NOW)
    assert known(found) is None
    found.watched(NOW)
    assert known(found) is None
    found.listed(EVENT, (A, B), (), NOW - 1, NOW + S)  # asked for before changes were told of
    assert known(found) is None
    found.listed(EVENT, (A, B), (), NOW, NOW + S)
    assert known(found) == ()
    found.lost()
    assert known(found) is None


def test_a_market_that_no_list_has_is_not_known() -> None:
    assert statuses().inactive(EVENT, (A, B, "another"), NOW) is None


@pytest.mark.parametrize(("age_ns", "is_known"), [(STALE, True), (STALE + 1, False), (-1, False)])
def test_an_old_list_says_nothing_and_neither_does_one_of_the_future(age_ns, is_known) -> None:
    assert (known(statuses(), NOW + age_ns) is not None) is is_known


@pytest.mark.parametrize(
    ("event_type", "expected"),
    [
        ("deactivated", (0,)),
        ("determined", (0,)),
        ("settled", (0,)),
        ("activated", ()),
        ("close_date_updated", ()),
        ("never heard of", ()),
    ],
)
def test_a_frame_tells_at_once(event_type, expected) -> None:
    found = statuses()
    found.told(A, event_type, NOW)
    assert known(found) == expected


def test_a_frame_wins_over_a_list_from_before_it() -> None:
    found = statuses(inactive=(A,))
    found.told(A, "activated", NOW + S)
    found.listed(EVENT, (A, B), (A,), NOW + S - 1, NOW + 2 * S)
    assert known(found, NOW + 2 * S) == ()
    found.told(A, "deactivated", NOW + 3 * S)
    found.listed(EVENT, (A, B), (), NOW + 3 * S - 1, NOW + 4 * S)
    assert known(found, NOW + 4 * S) == (0,)


def test_a_list_soon_after_a_market_stopped_may_still_show_it_as_it_was() -> None:
    found = statuses()
    found.told(A, "deactivated", NOW)
    for asked_ns, expected in ((NOW + SETTLE_NS - 1, (0,)), (NOW + SETTLE_NS, ())):
        found.listed(EVENT, (A, B), (), asked_ns, asked_ns)
        assert known(found, asked_ns) == expected


def test_a_list_that_says_no_counts_at_once() -> None:
    found = statuses()
    found.told(A, "activated", NOW)
    found.listed(EVENT, (A, B), (A,), NOW, NOW)
    assert known(found) == (0,)


def test_the_ladder_says_at_once_which_rungs_stopped_and_asks_for_a_list() -> None:
    core = following()
    core.handle(listed(spec()))
    effects = core.handle(heard(lifecycle("deactivated", TICKERS[1])))
    (sent,) = ladders(effects)
    assert (sent.inactive, sent.stale) == ((1,), ())
    assert sent.bid_price_e4 == (4500, 4500, 4500)  # its book shows what rests there all the same
    assert of(effects, ListLadders)
    (back,) = ladders(core.handle(heard(lifecycle("activated", TICKERS[1]), now_ns=NOW + MS)))
    assert back.inactive == ()


def test_frames_of_markets_that_nobody_follows_are_passed_over() -> None:
    assert following().handle(heard(lifecycle("deactivated", "KXOTHER-1"))) == []


def test_the_first_snapshot_says_that_nothing_is_known() -> None:
    core = FeedsCore(CONFIG)
    core.handle(listed(spec()))
    (sent,) = ladders(core.handle(heard(*map(snapshot, TICKERS))))
    assert sent.inactive is None


def test_a_lost_frame_asks_for_a_list_and_until_then_nothing_is_known() -> None:
    core = following()
    lost = Gap(LIFECYCLE, (), "expected seq 3, got 5")
    effects = core.handle(heard(lost))
    assert [one.inactive for one in ladders(effects)] == [None]
    assert of(effects, ListLadders)
    assert [one.reason for one in of(effects, CountRefused)] == ["status_gap"]
    (mended,) = ladders(core.handle(listed(spec(), now_ns=NOW + S)))
    assert mended.inactive == ()


def test_after_a_lost_subscription_no_list_counts_before_the_next_one() -> None:
    core = following()
    ended = Gap(LIFECYCLE, (), "error 10", ended=True)
    assert [one.inactive for one in ladders(core.handle(heard(ended)))] == [None]
    assert ladders(core.handle(listed(spec(), now_ns=NOW + S))) == []
    assert of(core.handle(heard(BEGUN, now_ns=NOW + 2 * S)), ListLadders)
    early = listed(spec(), now_ns=NOW + 3 * S, asked_ns=NOW + 2 * S - 1)
    assert ladders(core.handle(early)) == []
    (mended,) = ladders(core.handle(listed(spec(), now_ns=NOW + 3 * S)))
    assert mended.inactive == ()


def test_without_lists_nothing_is_known_after_a_minute() -> None:
    """The last list was of a minute ago."""
    core = following()
    assert {one.inactive for one in ladders(watch(core, NOW))} == {()}
    assert [one.inactive for one in ladders(watch(core, NOW + S))][-1] is None


def test_no_market_trades_from_its_close_on() -> None:
    core = following(spec(close_ns=NOW + S))
    core.handle(listed(spec(close_ns=NOW + S)))
    assert [one.inactive for one in ladders(watch(core, NOW + S))][-1] == (0, 1, 2)


def test_a_clock_that_was_set_back_lets_lists_count_again() -> None:
    core = following()
    back_ns = NOW - 3600 * S
    assert of(watch(core, back_ns), ListLadders)
    (mended,) = ladders(core.handle(listed(spec(target_ns=TARGET), now_ns=back_ns + S)))
    assert mended.inactive == ()


def test_a_changed_definition_keeps_what_frames_said() -> None:
    """The list with the new strike was asked for before the market stopped."""
    core = following()
    core.handle(heard(lifecycle("deactivated", TICKERS[0])))
    wider = spec(strikes=(5200, 5210, 5220, 5230))
    core.handle(listed(wider, now_ns=NOW + S, asked_ns=NOW - S))
    books = [snapshot(rung.ticker) for rung in wider.rungs]
    (sent,) = ladders(core.handle(heard(*books, now_ns=NOW + 2 * S)))
    assert sent.inactive == (0,)
