"""Which index levels feeds believes, and what it says of its sources."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.common.effects import SetTimer, TimerFired
from libs.common.messages import (
    ClockSample,
    ExchangeStatus,
    FeeChangeTold,
    FeedStatus,
    FeeRules,
    IndexTick,
)
from libs.kalshi.wire.frames import EventFeeUpdate
from services.feeds.core import JUMPS_BELIEVED, WATCH_TIMER, FeedsCore
from services.feeds.events import (
    CountRefused,
    ExchangeStatusRead,
    FeedAlive,
    FeedFailed,
    FeeFactsRead,
    ReadFees,
    SkewMeasured,
    Started,
)
from tests.services.feeds.feeding import (
    CONFIG,
    EVENT,
    MS,
    NOW,
    S,
    bar,
    following,
    heard,
    of,
    said,
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def core() -> FeedsCore:
    core = FeedsCore(CONFIG)
    core.handle(bar(5200.0, NOW))
    return core


def watch(core: FeedsCore, now_ns: int) -> dict[str, FeedStatus]:
    effects = core.handle(TimerFired(now_ns=now_ns, key=WATCH_TIMER, at_ns=now_ns))
    return {status.feed: status for status in said(effects, FeedStatus)}


def test_a_bar_becomes_a_tick_known_at_its_end() -> None:
    (tick,) = said(FeedsCore(CONFIG).handle(bar(5200.25, NOW)), IndexTick)
    assert (tick.level_e4, tick.bar_start_ns, tick.bar_end_ns) == (52_002_500, NOW - S, NOW)
    assert (tick.ts_event_ns, tick.recv_ns, tick.ts_pub_ns) == (NOW, NOW + 50 * MS, NOW + 50 * MS)
    assert (tick.symbol, tick.provenance) == ("I:SPX", "synthetic")


def test_the_same_bar_has_the_same_id_after_a_restart() -> None:
    first = said(FeedsCore(CONFIG).handle(bar(now_ns=NOW + MS)), IndexTick)[0]
    again = said(FeedsCore(CONFIG).handle(bar(now_ns=NOW + 9 * S)), IndexTick)[0]
    assert first.id == again.id


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (bar(end_ns=NOW + S, symbol="I:DJI"), "unknown_symbol"),
        (bar(-1.0, NOW + S), "impossible"),
        (bar(0.0, NOW + S), "impossible"),
        (bar(1e9, NOW + S), "impossible"),
        (bar(end_ns=NOW + S, start_ns=NOW + S), "impossible"),
        (bar(end_ns=NOW + S, start_ns=-1), "impossible"),
        (bar(end_ns=NOW + 3600 * S, now_ns=NOW), "future"),
        (bar(end_ns=NOW + 3 * S, now_ns=NOW), "future"),
        (bar(end_ns=NOW), "not_newer"),
        (bar(end_ns=NOW - S), "not_newer"),
        (bar(5200 * 1.21, NOW + S), "jump"),
        (bar(5200 * 0.79, NOW + S), "jump"),
    ],
)
def test_a_bad_bar_is_refused_with_its_reason(core: FeedsCore, refused, reason) -> None:
    (effect,) = core.handle(refused)
    assert isinstance(effect, CountRefused)
    assert (effect.feed, effect.reason) == ("index.ws", reason)


@pytest.mark.parametrize(
    "good",
    [bar(end_ns=NOW + S), bar(5200 * 1.19, NOW + S), bar(end_ns=NOW + 2 * S, now_ns=NOW)],
)
def test_a_bar_within_the_limits_is_believed(core: FeedsCore, good) -> None:
    assert len(said(core.handle(good), IndexTick)) == 1


def test_a_refused_bar_leaves_no_trace(core: FeedsCore) -> None:
    core.handle(bar(9999.0, NOW + 5 * S))
    assert said(core.handle(bar(5201.0, NOW + S)), IndexTick)


def test_one_bad_first_level_does_not_shut_the_feed_for_good() -> None:
    core = FeedsCore(CONFIG)
    core.handle(bar(1.0, NOW))
    ticks = [
        len(said(core.handle(bar(5200.0 + n, NOW + n * S)), IndexTick))
        for n in range(1, JUMPS_BELIEVED + 2)
    ]
    assert ticks == [0] * (JUMPS_BELIEVED - 1) + [1, 1]


def test_levels_that_jump_about_are_never_believed(core: FeedsCore) -> None:
    for n in range(1, 50):
        assert not said(core.handle(bar((9000.0, 1000.0)[n % 2], NOW + n * S)), IndexTick)


def test_one_bad_bar_many_times_is_never_believed(core: FeedsCore) -> None:
    for _ in range(50):
        assert not said(core.handle(bar(9000.0, NOW + S)), IndexTick)


def test_a_good_level_between_starts_the_count_of_a_move_anew(core: FeedsCore) -> None:
    for n in range(1, 5 * JUMPS_BELIEVED):
        level = 5200.0 if n % JUMPS_BELIEVED == 0 else 9000.0
        believed = said(core.handle(bar(level, NOW + n * S)), IndexTick)
        assert bool(believed) == (level == 5200.0)


def test_starting_says_that_nothing_is_known_and_sets_the_watch() -> None:
    effects = FeedsCore(CONFIG).handle(Started(now_ns=NOW))
    statuses = said(effects, FeedStatus)
    assert {s.feed for s in statuses} == {"index.ws", "kalshi.ladders", "kalshi.status", "clock"}
    assert not any(status.ok for status in statuses)
    assert {status.detail for status in statuses} == {"nothing heard yet"}
    assert {status.newest_ns for status in statuses} == {0}
    assert of(effects, SetTimer) == [SetTimer(key=WATCH_TIMER, at_ns=NOW + S)]


def test_a_feed_goes_from_unknown_to_well_to_stale_to_failed_and_back() -> None:
    core = FeedsCore(CONFIG)
    core.handle(Started(now_ns=NOW - S))
    core.handle(bar(end_ns=NOW))
    told = watch(core, NOW + S)["index.ws"]
    assert (told.ok, told.newest_ns, told.detail) == (True, NOW, "")
    assert "index.ws" not in watch(core, NOW + 2 * S)  # 2 s is not over 2 s, and nothing changed
    told = watch(core, NOW + 3 * S)["index.ws"]
    assert (told.ok, told.newest_ns, told.detail) == (False, NOW, "nothing new within 2 s")

    failed = FeedFailed(now_ns=NOW + 4 * S, feed="index.ws", detail="connection lost", losses=1)
    (told,) = said(core.handle(failed), FeedStatus)
    assert (told.ok, told.detail, told.failures) == (False, "connection lost", 1)

    core.handle(bar(end_ns=NOW + 5 * S))
    told = watch(core, NOW + 6 * S)["index.ws"]
    assert (told.ok, told.newest_ns, told.failures) == (True, NOW + 5 * S, 1)


def test_a_status_is_repeated_every_five_seconds() -> None:
    core = FeedsCore(CONFIG)
    core.handle(Started(now_ns=NOW))
    told = [second for second in range(1, 16) if watch(core, NOW + second * S)]
    assert told == [5, 10, 15]


def test_an_older_bar_of_another_index_does_not_turn_the_feed_back(core: FeedsCore) -> None:
    core.handle(bar(18_000.0, NOW - 9 * S, symbol="I:NDX", now_ns=NOW))
    assert watch(core, NOW + S)["index.ws"].newest_ns == NOW


def test_hearing_of_a_feed_never_dates_it_back() -> None:
    core = FeedsCore(CONFIG)
    for at_ns in (NOW, NOW - 5 * S):
        core.handle(FeedAlive(now_ns=NOW, feed="kalshi.ladders", heard_ns=at_ns))
    assert watch(core, NOW)["kalshi.ladders"].newest_ns == NOW


def test_the_exchange_s_word_and_the_clock_are_passed_on() -> None:
    core = FeedsCore(CONFIG)
    read = ExchangeStatusRead(now_ns=NOW, exchange_active=True, trading_active=False)
    (status,) = said(core.handle(read), ExchangeStatus)
    assert (status.exchange_active, status.trading_active) == (True, False)
    skew = SkewMeasured(now_ns=NOW, reference="exchange", skew_ns=-7, uncertainty_ns=9)
    (sample,) = said(core.handle(skew), ClockSample)
    assert (sample.reference, sample.skew_ns, sample.uncertainty_ns) == ("exchange", -7, 9)
    told = watch(core, NOW + S)
    assert told["kalshi.status"].ok
    assert told["clock"].ok
    told = watch(core, NOW + 61 * S)
    assert not told["kalshi.status"].ok


def test_the_summary_names_each_feed(core: FeedsCore) -> None:
    assert core.summary(NOW + S) == (
        "index.ws ok, kalshi.ladders NOT OK, kalshi.status NOT OK, clock NOT OK"
    )


def test_an_event_it_does_not_know_is_an_error(core: FeedsCore) -> None:
    with pytest.raises(AssertionError, match="does not know"):
        core.handle(object())  # type: ignore[arg-type]


def facts(now_ns=NOW, **changes) -> FeeRules:
    fields: dict[str, Any] = {
        "series_ticker": "KXINXU",
        "fee_type": "quadratic",
        "fee_multiplier": 0.5,
        "contract_terms_url": "about:blank",
    }
    read = FeeFactsRead(now_ns=now_ns, **(fields | changes))
    (rules,) = said(FeedsCore(CONFIG).handle(read), FeeRules)
    return rules


def test_published_fee_facts_go_out_with_a_hash_that_any_change_moves() -> None:
    first, later = facts(), facts(NOW + 1)
    assert (first.series_ticker, first.fee_type, first.fee_multiplier) == (
        "KXINXU",
        "quadratic",
        0.5,
    )
    assert later.facts_hash == first.facts_hash
    assert later.id != first.id
    others = [
        facts(fee_multiplier=1.0),
        facts(fee_type="quadratic_with_maker_fees"),
        facts(contract_terms_url="https://example.invalid/new.pdf"),
        facts(series_ticker="KXNASDAQ100U"),
    ]
    assert len({one.facts_hash for one in (first, *others)}) == 5


def change(event_ticker="", from_ns=NOW, fee_type="quadratic", fee_multiplier=1.0):
    return FeeChangeTold(
        event_ticker=event_ticker,
        from_ns=from_ns,
        fee_type=fee_type,
        fee_multiplier=fee_multiplier,
    )


def test_scheduled_changes_and_what_events_pay_otherwise_are_in_the_facts() -> None:
    known = change()
    told = facts(changes=(known,))
    assert told.changes == (known,)
    every = [
        facts(),
        told,
        facts(changes=(known, known)),
        facts(changes=(change(from_ns=NOW + 1),)),
        facts(changes=(change(fee_type=None),)),
        facts(changes=(change(fee_type="None"),)),
        facts(changes=(change(fee_multiplier=None),)),
        facts(changes=(change(fee_multiplier=0.5),)),
        facts(changes=(change(EVENT),)),
        facts(changes=(change(EVENT, fee_type=None, fee_multiplier=None),)),
    ]
    assert len({one.facts_hash for one in every}) == len(every)


def test_the_simulated_exchange_s_facts_are_those_that_the_policy_acknowledges() -> None:
    """kalshi-api.md §5: half the rate until 2026-07-03 17:00Z, which was announced, then all."""
    full_ns = 1_783_098_000 * S
    shipped = yaml.safe_load((ROOT / "configs" / "risk.yaml").read_text())
    acknowledged = shipped["policy"]["gates"]["fee_rules"]
    for series in ("KXINXU", "KXNASDAQ100U"):
        before = facts(series_ticker=series, changes=(change(from_ns=full_ns),))
        after = facts(series_ticker=series, fee_multiplier=1.0)
        assert acknowledged[series] == [before.facts_hash, after.facts_hash]


def test_an_event_whose_fees_change_has_the_facts_read_again() -> None:
    core = following()
    assert core.handle(heard(EventFeeUpdate(event_ticker=EVENT))) == [ReadFees()]
    assert core.handle(heard(EventFeeUpdate(event_ticker="KXOTHER-26"))) == []
