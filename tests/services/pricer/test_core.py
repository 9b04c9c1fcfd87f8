"""The pricer's core with plain events: when it proposes, what it says, when it keeps quiet."""

import pytest
from msgspec.structs import replace

from libs.common.effects import Received, TimerFired
from libs.common.messages import encode
from services.pricer.core import PricerCore
from services.pricer.policy import PricerPolicy
from services.pricer.quotes import QuotePolicy
from tests.services.pricer.builders import (
    EVENT,
    MINUTE,
    OPEN,
    TARGET,
    TICKERS,
    Bench,
    S,
    calibration,
    definition,
    fairs,
    mixture,
    order,
    proposals,
    snapshot,
    tick,
    timers,
)

NOW = TARGET - 10 * MINUTE


def ready(now_ns=NOW, **options) -> Bench:
    bench = Bench(**options)
    bench.send(definition())
    bench.send(snapshot(now_ns - S // 10))
    return bench


def timer(now_ns) -> TimerFired:
    return TimerFired(now_ns=now_ns, key=f"check:{EVENT}", at_ns=now_ns)


def test_a_tick_in_the_window_gives_one_proposal_and_one_fair_ladder():
    bench = ready()
    effects = bench.send(tick(NOW))
    (proposal,), (fair,) = proposals(effects), fairs(effects)
    assert len(proposal.quotes) == 2
    assert proposal.reasons == ()
    assert proposal.expires_at_ns == NOW + 8 * S
    assert (proposal.level_ns, proposal.books_ns) == (NOW, NOW - S // 10)
    assert proposal.calibration_id == calibration().id_for("INXU") == fair.calibration_id
    assert proposal.calibration_fitted_ns == calibration().fitted_ns
    assert proposal.calibration_data_end_ns == calibration().data_end_ns
    assert proposal.provenance == "synthetic"
    assert proposal.cause_id == proposal.correlation_id == f"tick-I:SPX-{NOW}"
    assert fair.level_ns == NOW
    assert list(fair.probabilities) == sorted(fair.probabilities, reverse=True)


def test_survival_at_the_level_is_one_half():
    """Strike 5220 on a grid of cents: its edge lies half a cent below the level."""
    (fair,) = fairs(ready().send(tick(NOW)))
    assert fair.probabilities[2] == pytest.approx(0.5, abs=0.001)


def test_a_fair_ladder_says_what_the_others_think():
    """The middles of 80/99, 65/90, 35/65, 10/35, 2/15, which fall."""
    (fair,) = fairs(ready().send(tick(NOW)))
    assert fair.market == pytest.approx((0.895, 0.775, 0.5, 0.225, 0.085))


@pytest.mark.parametrize(
    "books",
    [
        {"bids": (8000, 6500, 3500, 6600, 200)},  # the fourth's bid above the third's ask
        {"bids": (0,) * 5, "asks": (10_000,) * 5},
        {"stale": (2,)},
        {"recv_ns": NOW - 3 * S},
        {"ladder_id": "another"},
    ],
)
def test_books_that_say_nothing_sound_give_no_view_of_the_market(books):
    bench = Bench()
    bench.send(definition())
    bench.send(snapshot(NOW - S // 10, **books))
    (fair,) = fairs(bench.send(tick(NOW)))
    assert fair.market == ()
    assert fair.probabilities[2] == pytest.approx(0.5, abs=0.001)


def test_a_rung_whose_market_stands_still_is_not_quoted():
    bench = ready()
    (before,) = proposals(bench.send(tick(NOW)))
    stopped = before.quotes[0].ticker
    rung = TICKERS.index(stopped)
    (after,) = proposals(bench.send(snapshot(NOW + S // 10, inactive=(rung,))))
    assert after.quotes
    assert stopped not in [quote.ticker for quote in after.quotes]
    for second in range(1, 4):  # nor is it taken up again
        bench.send(snapshot(NOW + second * S - 1, inactive=(rung,)))
        for one in proposals(bench.send(tick(NOW + second * S))):
            assert stopped not in [quote.ticker for quote in one.quotes]


def test_what_shows_in_a_market_that_stands_still_contradicts_nobody():
    """The fourth's bid above the third's ask: old, if the fourth's market stopped."""
    books = {"bids": (8000, 6500, 3500, 6600, 200), "inactive": (3,)}
    bench = Bench()
    bench.send(definition())
    bench.send(snapshot(NOW - S // 10, **books))
    effects = bench.send(tick(NOW))
    assert proposals(effects)[0].reasons == ()
    assert len(fairs(effects)[0].market) == 5


@pytest.mark.parametrize("inactive", [(0, 1, 2, 3, 4), None])
def test_nothing_is_quoted_while_no_market_trades_or_nobody_knows_which(inactive):
    bench = ready()
    bench.send(tick(NOW))
    (empty,) = proposals(bench.send(snapshot(NOW + S // 10, inactive=inactive)))
    assert (empty.quotes, empty.reasons) == ((), ("markets_inactive",))


def test_nothing_new_is_said_once():
    bench = ready()
    bench.send(tick(NOW))
    assert proposals(bench.send(tick(NOW + S))) == []


def test_it_renews_before_it_expires():
    bench = ready()
    (first,) = proposals(bench.send(tick(NOW)))
    said = []
    for second in range(1, 9):
        bench.send(snapshot(NOW + second * S - 1))
        said += proposals(bench.send(tick(NOW + second * S)))
    assert [proposal.ts_pub_ns for proposal in said] == [NOW + 4 * S, NOW + 8 * S]
    assert all(p.quotes[0].price_e4 == first.quotes[0].price_e4 for p in said)


def test_in_the_last_minute_it_renews_on_every_bar():
    start = TARGET - 50 * S
    bench = ready(start)
    bench.send(tick(start))
    for second in range(1, 4):
        bench.send(snapshot(start + second * S - 1))
        assert len(proposals(bench.send(tick(start + second * S)))) == 1


def test_no_proposal_outlives_the_cancel_buffer():
    bench = ready(TARGET - 5 * S)
    (proposal,) = proposals(bench.send(tick(TARGET - 5 * S)))
    assert proposal.expires_at_ns == TARGET - 2 * S


@pytest.mark.parametrize("at_ns", [OPEN - 1, TARGET - 2 * S, TARGET - S, TARGET, TARGET + S])
def test_outside_the_window_nothing_is_proposed(at_ns):
    assert proposals(ready(at_ns).send(tick(at_ns))) == []


def test_the_window_opens_at_its_first_instant():
    assert proposals(ready(OPEN).send(tick(OPEN)))[0].quotes


def test_at_the_cancel_buffer_the_set_is_emptied():
    bench = ready(TARGET - 4 * S)
    bench.send(tick(TARGET - 4 * S))
    (last,) = proposals(bench.core.handle(timer(TARGET - 2 * S)))
    assert (last.quotes, last.reasons) == ((), ("outside_window",))
    assert proposals(bench.core.handle(timer(TARGET - S))) == []


def test_a_timer_is_set_for_the_window_for_staleness_and_for_the_end():
    bench = Bench()
    assert timers(bench.send(definition()))[0].at_ns == OPEN
    bench.send(snapshot(NOW))
    assert timers(bench.core.handle(timer(NOW)))[0].at_ns == NOW + 2 * S + 1
    late = ready(TARGET - 3 * S)
    late.core.handle(timer(TARGET - 3 * S))
    found = timers(late.effects)
    assert all(effect.at_ns <= TARGET - 2 * S for effect in found)


def test_a_silent_index_empties_the_set_with_its_reason():
    bench = ready()
    bench.send(tick(NOW))
    bench.send(snapshot(NOW + 2 * S))
    (proposal,) = proposals(bench.core.handle(timer(NOW + 2 * S + 1)))
    assert (proposal.quotes, proposal.reasons) == ((), ("stale_level",))


def test_a_level_that_was_old_when_it_came_is_stale():
    """A delayed source sends a bar a second, each a quarter of an hour old."""
    bench = ready()
    late = replace(tick(NOW), bar_start_ns=NOW - 901 * S, bar_end_ns=NOW - 900 * S, recv_ns=NOW)
    bench.send(late)
    (said,) = proposals(bench.effects)
    assert (said.quotes, said.reasons) == ((), ("stale_level",))


def test_inputs_from_ahead_of_our_clock_are_stale():
    """The clock was set back five minutes: what came before looks fresh for ever."""
    bench = ready()
    assert proposals(bench.send(tick(NOW)))[0].quotes
    (proposal,) = proposals(bench.core.handle(timer(NOW - 5 * MINUTE)))
    assert (proposal.quotes, proposal.reasons) == ((), ("stale_level", "stale_books"))


def test_silent_books_empty_the_set_with_their_reason():
    bench = ready()
    bench.send(tick(NOW))
    (proposal,) = proposals(bench.send(tick(NOW + 2 * S)))
    assert (proposal.quotes, proposal.reasons) == ((), ("stale_books",))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stale": (2,)}, "book_gap"),
        ({"ladder_id": "ladder-0"}, "ladder_mismatch"),
        ({"bids": (8000, 6500, 3500, 6600, 200)}, "non_monotone_ladder"),
        ({"bids": (9700, 8400, 4900, 800, 0), "asks": (9900, 8500, 5100, 1400, 300)}, "no_edge"),
    ],
)
def test_bad_books_give_the_empty_set_with_a_reason(changes, reason):
    bench = Bench()
    bench.send(definition())
    bench.send(snapshot(NOW - 1_100_000_000, **changes))
    (proposal,) = proposals(bench.send(tick(NOW)))
    assert (proposal.quotes, proposal.reasons) == ((), (reason,))


@pytest.mark.parametrize("age_days", [14.1, -0.1])
def test_a_stale_calibration_or_one_from_the_future_is_a_reason(age_days):
    """domain.md §2: at most 14 days old; one that saw what is to come would flatter."""
    old = calibration(artifact={"data_end_ns": NOW - round(age_days * 86_400 * S)})
    for limit, reasons in ((14.0, ("calibration_stale",)), (None, ())):
        policy = PricerPolicy(calibration_age_days_max=limit)
        bench = ready(NOW - S, policy=policy, calibrations={"INXU": old})
        (proposal,) = proposals(bench.send(tick(NOW)))
        assert proposal.reasons == reasons
        assert bool(proposal.quotes) == (limit is None)


def test_the_index_model_learns_from_the_ticks_it_is_sent():
    """The same level and books; a wild quarter of an hour before leaves the ladder wider."""
    spreads = {}
    for swing in (0.5, 12.0):
        bench = Bench(calibrations={"INXU": mixture()})
        bench.send(definition())
        for minute in range(5):
            at_ns = NOW - (5 - minute) * MINUTE
            bench.send(tick(at_ns, level=5220.0 + swing * (minute % 2)))
        bench.send(snapshot(NOW - S // 10))
        (fair,) = fairs(bench.send(tick(NOW)))
        assert fair.model == "index"
        spreads[swing] = fair.probabilities[0] - fair.probabilities[-1]
    assert spreads[12.0] < spreads[0.5] - 0.1


def test_no_calibration_is_a_reason():
    bench = ready(NOW - S, calibrations={})
    (proposal,) = proposals(bench.send(tick(NOW)))
    assert (proposal.quotes, proposal.reasons) == ((), ("calibration_missing",))
    assert proposal.calibration_id == ""


def test_a_ladder_that_cannot_be_priced_is_a_reason():
    bench = Bench()
    bench.send(definition(strike_types=("custom",) * 5))
    bench.send(snapshot(NOW - 1_100_000_000))
    (proposal,) = proposals(bench.send(tick(NOW)))
    assert proposal.reasons == ("ladder_refused",)


def test_a_target_that_is_none_of_the_days_is_never_quoted():
    bench = Bench()
    bench.send(definition(target_ns=TARGET + 7 * MINUTE))
    bench.send(snapshot(NOW - 1))
    assert proposals(bench.send(tick(NOW))) == []


def test_within_the_rest_a_jump_pulls_but_does_not_chase():
    bench = ready()
    (first,) = proposals(bench.send(tick(NOW)))
    assert [quote.side for quote in first.quotes] == ["bid", "ask"]
    (faded,) = proposals(bench.send(tick(NOW + S, level=5190.0)))
    assert [quote.side for quote in faded.quotes] == ["ask"]
    assert faded.quotes[0].price_e4 == first.quotes[1].price_e4
    bench.send(snapshot(NOW + 3 * S - 1))
    (again,) = proposals(bench.send(tick(NOW + 3 * S, level=5190.0)))
    assert {quote.ticker for quote in again.quotes} == {TICKERS[0]}


def test_the_last_minute_waits_for_a_tick():
    start = TARGET - 30 * S
    bench = ready(start)
    bench.send(tick(start))
    jumped = snapshot(start + 900_000_000, bids=(9800, 9700, 9600, 0, 0), asks=(10_000,) * 5)
    assert proposals(bench.send(jumped)) == []
    assert proposals(bench.send(tick(start + S, level=5190.0)))


def test_books_older_than_our_own_change_move_nothing():
    bench = ready()
    bench.send(tick(NOW))
    outbid = (8000, 7500, 4200, 1000, 200)
    bench.send(tick(NOW + 15 * S // 10))
    bench.send(order(NOW + 16 * S // 10, TICKERS[2], "bid", 3600))
    bench.send(snapshot(NOW + 17 * S // 10, bids=outbid))
    assert proposals(bench.send(tick(NOW + 21 * S // 10))) == []
    settled = bench.send(snapshot(NOW + 22 * S // 10, bids=outbid))
    assert (TICKERS[2], "bid", 3600) not in [
        (quote.ticker, quote.side, quote.price_e4) for quote in proposals(settled)[0].quotes
    ]


def test_fair_ladders_are_rate_limited_and_need_a_newer_level():
    bench = ready()
    bench.send(tick(NOW))
    assert fairs(bench.send(tick(NOW + S // 10))) == []
    assert fairs(bench.send(snapshot(NOW + S))) != []
    assert fairs(bench.send(snapshot(NOW + 2 * S))) == []
    assert len(fairs(bench.send(tick(NOW + 2 * S + 1)))) == 1


def test_an_older_tick_or_snapshot_changes_nothing():
    bench = ready()
    bench.send(tick(NOW))
    assert bench.send(tick(NOW - S), now_ns=NOW + 1) == []
    assert bench.send(snapshot(NOW - 5 * S), now_ns=NOW + 1) == []


def test_a_tick_of_another_index_is_not_ours():
    assert ready().send(tick(NOW, level=18_000.0, symbol="I:NDX")) == []


def test_a_new_definition_keeps_no_set_of_the_old_one():
    bench = ready()
    bench.send(tick(NOW))
    bench.send(definition(NOW + 1, ladder_id="ladder-2"))
    (proposal,) = proposals(bench.send(tick(NOW + S)))
    assert proposal.reasons == ("ladder_mismatch",)


def test_equal_events_give_equal_bytes():
    def run() -> list[bytes]:
        bench = Bench(policy=PricerPolicy(quotes=QuotePolicy(tails_allowed=True, rungs_max=5)))
        bench.send(definition())
        for second in range(40):
            now_ns = NOW + second * S
            bench.send(snapshot(now_ns))
            bench.send(tick(now_ns, level=5220 + second % 7))
        return [encode(e.message) for e in bench.effects if hasattr(e, "message")]

    first = run()
    assert first == run()
    assert len(first) == len(set(first)) > 40


def test_ids_differ_when_one_tick_causes_two_proposals():
    bench = ready()
    other = "KXINXU-24AUG05H1100"
    bench.send(definition(event_ticker=other, target_ns=TARGET, ladder_id="ladder-1"))
    bench.send(snapshot(NOW - 1, event_ticker=other))
    found = [e.message.id for e in bench.send(tick(NOW)) if hasattr(e, "message")]
    assert len(found) == len(set(found)) == 4


def test_another_life_that_says_something_else_of_one_tick_is_not_its_copy():
    (first,) = proposals(ready().send(tick(NOW)))
    (same,) = proposals(ready().send(tick(NOW)))
    silent = Bench()
    silent.send(definition())
    (other,) = proposals(silent.send(tick(NOW)))
    assert first.quotes
    assert other.reasons == ("stale_books",)
    assert first.id == same.id != other.id


def test_past_events_are_forgotten():
    bench = Bench()
    bench.send(definition())
    later = TARGET + 2 * 60 * MINUTE
    bench.send(
        definition(later, event_ticker="KXINXU-24AUG05H1500", target_ns=TARGET + 180 * MINUTE)
    )
    assert bench.core.handle(timer(later)) == []
    assert "events 1" in bench.core.summary()


def test_messages_of_no_concern_are_ignored():
    core = PricerCore(PricerPolicy(), {})
    assert core.handle(TimerFired(now_ns=1, key="other", at_ns=1)) == []
    received = Received(now_ns=1, message=snapshot(NOW), stream="LADDERS", sequence=1)
    assert core.handle(received) == []
