"""How feeds conflates ladders, and how it tells which books are in doubt."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.effects import SetTimer, TimerFired
from libs.common.messages import FeedStatus, LadderDefined, Message, decode, encode
from libs.kalshi.ws_events import BadFrame, StreamError, UnknownFrame
from services.feeds.core import LADDERS_MAX, WATCH_TIMER, FeedsCore
from services.feeds.events import CountRefused, DropBooks, FeedFailed, ResyncBooks, WatchBooks
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
    gap,
    heard,
    ladders,
    listed,
    of,
    said,
    snapshot,
    spec,
)

INTERVAL = 250 * MS


def timer(now_ns: int, key: str = EVENT) -> TimerFired:
    return TimerFired(now_ns=now_ns, key=key, at_ns=now_ns)


# Conflation


def test_a_change_after_a_quiet_time_goes_out_at_once() -> None:
    (sent,) = ladders(following().handle(heard(delta(change=500))))
    assert sent.bid_price_e4 == (4500, 4500, 4500)
    assert sent.bid_count_e2 == (1500, 1000, 1000)
    assert sent.ask_count_e2 == (1000, 1000, 1000)
    assert (sent.stale, sent.recv_ns, sent.target_ns) == ((), NOW, TARGET)


def test_a_second_change_waits_for_the_interval_and_a_third_asks_no_second_timer() -> None:
    core = following()
    core.handle(heard(delta()))
    second = core.handle(heard(delta(), now_ns=NOW + 10 * MS))
    assert second == [SetTimer(key=EVENT, at_ns=NOW + INTERVAL)]
    assert core.handle(heard(delta(), now_ns=NOW + 20 * MS)) == []
    (sent,) = ladders(core.handle(timer(NOW + INTERVAL)))
    assert sent.bid_count_e2[0] == 1000 + 300


def test_nothing_new_sends_nothing() -> None:
    core = following()
    core.handle(heard(delta()))
    assert core.handle(timer(NOW + INTERVAL)) == []
    assert core.handle(timer(NOW + INTERVAL, "KXINXU-24AUG05H1300")) == []


@given(st.lists(st.integers(0, 400), min_size=1, max_size=60))
def test_at_most_one_snapshot_an_interval_and_always_the_newest(waits_ms: list[int]) -> None:
    core, now_ns, total_e2 = following(), NOW, 1000
    due: dict[str, int] = {}
    sent: list[tuple[int, int]] = []

    def take(effects, at_ns):
        for effect in of(effects, SetTimer):
            due[effect.key] = effect.at_ns
        sent.extend((at_ns, one.bid_count_e2[0]) for one in ladders(effects))

    def run_until(at_ns):
        while due and (first := min(due.values())) <= at_ns:
            due.clear()
            take(core.handle(timer(first)), first)

    for wait_ms in waits_ms:
        now_ns += wait_ms * MS
        run_until(now_ns)
        total_e2 += 100
        take(core.handle(heard(delta(change=100), now_ns=now_ns)), now_ns)
    run_until(now_ns + S)
    times = [at_ns for at_ns, _ in sent]
    assert all(later - earlier >= INTERVAL for earlier, later in pairwise(times))
    assert sent[-1][1] == total_e2
    assert times[-1] <= now_ns + INTERVAL


def test_two_ladders_do_not_wait_for_each_other() -> None:
    other = spec("KXINXU-24AUG05H1300", target_ns=TARGET + 3600 * S)
    core = following(spec(), other)
    core.handle(heard(delta()))
    (sent,) = ladders(core.handle(heard(delta(other.rungs[0].ticker), now_ns=NOW + MS)))
    assert sent.event_ticker == other.event_ticker


def test_books_that_come_late_are_vouched_for_as_of_when_they_were_sent() -> None:
    core = following()
    (sent,) = ladders(core.handle(heard(delta(change=500), late_ns=5 * S)))
    assert (sent.recv_ns, sent.ts_event_ns) == (NOW - 5 * S, NOW - 5 * S)
    assert sent.bid_count_e2[0] == 1500


def test_a_quiet_ladder_is_vouched_for_once_a_second_while_the_feed_lives() -> None:
    core = following()
    core.handle(heard(delta()))
    (sent,) = ladders(core.handle(timer(NOW + S, WATCH_TIMER)))
    assert (sent.recv_ns, sent.ts_pub_ns) == (NOW, NOW + S)
    assert ladders(core.handle(timer(NOW + 3 * S, WATCH_TIMER))) == []  # silent for over 2 s


def test_every_snapshot_has_an_id_of_its_own() -> None:
    core = following()
    first = ladders(core.handle(heard(delta())))
    second = ladders(core.handle(heard(gap())))
    assert first[0].ts_pub_ns == second[0].ts_pub_ns
    assert first[0].id != second[0].id


# Doubt


def test_a_gap_names_the_stale_rungs_at_once_and_hides_their_quotes() -> None:
    core = following()
    core.handle(heard(delta()))
    effects = core.handle(heard(gap(TICKERS[1]), now_ns=NOW + MS))
    (sent,) = ladders(effects)
    assert sent.stale == (1,)
    assert (sent.bid_price_e4[1], sent.bid_count_e2[1]) == (0, 0)
    assert (sent.ask_price_e4[1], sent.ask_count_e2[1]) == (10_000, 0)
    assert sent.bid_count_e2[0] == 1100
    assert [effect.reason for effect in of(effects, CountRefused)] == ["gap"]


def test_a_storm_of_gaps_tells_the_same_doubt_once() -> None:
    core = following()
    sent = [
        one for n in range(100) for one in ladders(core.handle(heard(gap(), now_ns=NOW + n * MS)))
    ]
    assert len(sent) == 1
    assert sent[0].stale == (0, 1, 2)


def test_deltas_of_a_stale_book_are_passed_over_until_its_snapshot() -> None:
    core = following()
    core.handle(heard(gap(TICKERS[0])))
    core.handle(heard(delta(change=77), now_ns=NOW + MS))
    effects = core.handle(heard(snapshot(bids=[(4400, 5)]), now_ns=NOW + S))
    (sent,) = ladders(effects)
    assert sent.stale == ()
    assert (sent.bid_price_e4[0], sent.bid_count_e2[0]) == (4400, 5)


@pytest.mark.parametrize(
    "impossible",
    [
        delta(change=-1101),
        delta(price=10_000),
        delta(price=0),
        delta(change=10**12),
        snapshot(bids=[(4500, 1), (4500, 2)]),
        snapshot(bids=[(0, 1)]),
        snapshot(asks=[(4500, 10**11)]),
    ],
)
def test_an_impossible_book_is_in_doubt_at_once_and_asked_for_again(impossible) -> None:
    core = following()
    core.handle(heard(delta()))
    effects = core.handle(heard(impossible, now_ns=NOW + MS))
    assert ladders(effects)[0].stale == (0,)
    assert of(effects, ResyncBooks) == [ResyncBooks(tickers=(TICKERS[0],))]
    assert [effect.reason for effect in of(effects, CountRefused)] == ["book"]


@pytest.mark.parametrize("ask", [4500, 4400])
def test_a_crossed_book_is_in_doubt_and_asked_for_again(ask: int) -> None:
    core = following()
    effects = core.handle(heard(delta(TICKERS[2], side="ask", price=ask)))
    assert ladders(effects)[0].stale == (2,)
    assert of(effects, ResyncBooks) == [ResyncBooks(tickers=(TICKERS[2],))]
    assert [effect.reason for effect in of(effects, CountRefused)] == ["crossed"]


def test_a_book_that_stays_bad_is_asked_for_once_a_second_at_most() -> None:
    core, asked = following(), 0
    for n in range(3_000):  # three seconds of bad snapshots, one a millisecond
        bad = snapshot(bids=[(4500, 1)], asks=[(4400, 1)])
        asked += len(of(core.handle(heard(bad, now_ns=NOW + n * MS)), ResyncBooks))
    assert 1 <= asked <= 3


def test_a_book_whose_snapshot_never_comes_is_asked_for_again_while_the_feed_lives() -> None:
    core = following()
    core.handle(heard(gap(TICKERS[1])))
    asked = []
    for second in range(1, 14):
        now_ns = NOW + second * S
        core.handle(heard(delta(), now_ns=now_ns))
        effects = core.handle(timer(now_ns, WATCH_TIMER))
        asked += [(second, effect.tickers) for effect in of(effects, ResyncBooks)]
    assert asked == [(5, (TICKERS[1],)), (10, (TICKERS[1],))]


def test_frames_that_cannot_be_read_are_counted_by_kind() -> None:
    core = following()
    effects = core.handle(
        heard(
            BadFrame("expected JSON", "{"),
            StreamError(8, "Unknown channel", None, ()),
            UnknownFrame("new_thing"),
        )
    )
    assert [e.reason for e in of(effects, CountRefused)] == [
        "bad_frame",
        "refused",
        "unknown_frame",
    ]
    assert ladders(effects) == []


def test_books_of_markets_that_nobody_follows_are_passed_over() -> None:
    assert following().handle(heard(snapshot("KXINXU-24AUG05H1500-T1"), delta("X"))) == []


def test_a_failure_puts_all_books_in_doubt_at_once() -> None:
    core = following()
    core.handle(heard(delta()))
    failed = FeedFailed(now_ns=NOW + MS, feed="kalshi.ladders", detail="connection lost", losses=3)
    effects = core.handle(failed)
    assert ladders(effects)[0].stale == (0, 1, 2)
    (status,) = said(effects, FeedStatus)
    assert (status.ok, status.detail, status.failures) == (False, "connection lost", 3)


def test_the_news_of_a_lost_connection_is_no_sign_of_life() -> None:
    """Each failed attempt to connect brings a Gap: it must not make the feed look well."""
    core = following()
    core.handle(FeedFailed(now_ns=NOW, feed="kalshi.ladders", detail="refused"))
    for n in range(1, 20):
        now_ns = NOW + n * S // 4
        core.handle(heard(gap(), now_ns=now_ns))
        effects = core.handle(timer(now_ns, WATCH_TIMER))
        assert not any(s.ok for s in said(effects, FeedStatus) if s.feed == "kalshi.ladders")
        assert all(one.recv_ns < NOW - 50 * S and len(one.stale) == 3 for one in ladders(effects))


def test_another_feed_s_failure_leaves_the_books_alone() -> None:
    core = following()
    failed = FeedFailed(now_ns=NOW, feed="kalshi.status", detail="503")
    assert ladders(core.handle(failed)) == []


# Discovery


def test_a_new_event_is_defined_and_watched_before_its_first_snapshot() -> None:
    core = FeedsCore(CONFIG)
    effects = core.handle(listed(spec()))
    (definition,) = said(effects, LadderDefined)
    assert definition.tickers == TICKERS
    assert definition.strike_types == ("greater_or_equal",) * 3
    assert definition.floors_e4 == (52_000_000, 52_100_000, 52_200_000)
    assert definition.caps_e4 == (None, None, None)
    assert of(effects, WatchBooks) == [WatchBooks(tickers=TICKERS)]
    (first,) = ladders(core.handle(heard(snapshot(TICKERS[1]), now_ns=NOW + S)))
    assert first.stale == (0, 2)
    assert first.ladder_id == definition.ladder_id


def test_the_same_list_again_says_nothing() -> None:
    core = following()
    assert core.handle(listed(spec())) == []
    assert core.handle(listed()) == []


@pytest.mark.parametrize("target_ns", [NOW, NOW - S, NOW + 7_201 * S])
def test_events_that_are_over_or_far_ahead_are_not_followed(target_ns: int) -> None:
    assert FeedsCore(CONFIG).handle(listed(spec(target_ns=target_ns))) == []


@pytest.mark.parametrize(
    "changed",
    [
        spec(strikes=(5200, 5210)),
        spec(strikes=(5200, 5210, 5220, 5230)),
        spec(price_ranges=()),
        spec(close_ns=TARGET - S),
    ],
)
def test_a_changed_definition_gets_a_new_id_and_new_books(changed) -> None:
    core = following()
    before = ladders(core.handle(heard(delta())))[0]
    effects = core.handle(listed(changed, now_ns=NOW + S))
    (definition,) = said(effects, LadderDefined)
    assert definition.ladder_id != before.ladder_id
    assert of(effects, DropBooks) == [DropBooks(tickers=TICKERS)]
    assert of(effects, WatchBooks) == [WatchBooks(tickers=definition.tickers)]
    drop, watch = of(effects, DropBooks)[0], of(effects, WatchBooks)[0]
    assert effects.index(drop) < effects.index(watch)
    (after,) = ladders(core.handle(heard(delta(), now_ns=NOW + 2 * S)))
    assert after.stale == tuple(range(len(definition.tickers)))
    assert after.ladder_id == definition.ladder_id


def test_a_definition_is_the_same_after_a_restart() -> None:
    ids = {
        said(FeedsCore(CONFIG).handle(listed(spec(), now_ns=now_ns)), LadderDefined)[0].ladder_id
        for now_ns in (NOW, NOW + 60 * S)
    }
    assert len(ids) == 1


def test_a_past_event_is_let_go_after_a_minute() -> None:
    core = following()
    assert of(core.handle(timer(TARGET + 60 * S, WATCH_TIMER)), DropBooks) == []
    effects = core.handle(timer(TARGET + 61 * S, WATCH_TIMER))
    assert of(effects, DropBooks) == [DropBooks(tickers=TICKERS)]
    late = heard(delta(), gap(), snapshot(), now_ns=TARGET + 62 * S)
    assert ladders(core.handle(late)) == []
    assert core.handle(timer(TARGET + 62 * S)) == []


def test_a_market_of_two_events_is_refused() -> None:
    core = following()
    thief = spec("KXINXU-24AUG05H1300", target_ns=TARGET + 3600 * S, rungs=spec().rungs)
    effects = core.handle(listed(thief))
    assert [effect.reason for effect in of(effects, CountRefused)] == ["shared_market"]
    core.handle(timer(TARGET + 3700 * S, WATCH_TIMER))


def test_no_more_ladders_than_the_bound() -> None:
    core = FeedsCore(CONFIG)
    specs = [spec(f"KXINXU-24AUG05H12{n:02d}", target_ns=TARGET + n * S) for n in range(100)]
    effects = core.handle(listed(*specs))
    assert len(of(effects, WatchBooks)) == LADDERS_MAX
    assert {effect.reason for effect in of(effects, CountRefused)} == {"too_many"}


def test_what_is_published_can_be_read_back() -> None:
    effects = FeedsCore(CONFIG).handle(listed(spec()))
    core = following()
    effects += core.handle(heard(delta(change=10**10 - 1000)))  # the largest count there is
    effects += core.handle(heard(delta(price=4400, change=10**10), now_ns=NOW + S))
    for message in said(effects, Message):
        assert decode(encode(message)) == message
