"""Which quotes are wanted: on the grid, never crossing, worth their minimum, few, and kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.messages import PriceRange, Quote
from services.pricer.fills import Coefficients, Fills, SeriesFills
from services.pricer.ladder import LadderRefused, PricedLadder
from services.pricer.quotes import (
    Moment,
    QuotePolicy,
    attention_of,
    choose_quotes,
    fill_state,
    participation,
)
from services.pricer.ticks import TickGrid
from tests.services.pricer.builders import (
    EVENT,
    OPEN,
    STRIKES,
    TICKERS,
    definition,
    snapshot,
)

LADDER = PricedLadder(definition(), OPEN)
# Level 5220, σ 10: survival at 5200 … 5240.
FAIR = np.array([0.977, 0.841, 0.500, 0.159, 0.023])
POLICY = QuotePolicy()
FILLS = Fills()
TAPERED = (PriceRange(0, 1000, 10), PriceRange(1000, 9000, 100), PriceRange(9000, 10_000, 10))


def books(bids=(8000, 6500, 3500, 1000, 200), asks=(9900, 9000, 6500, 3500, 1500), own=None):
    return LADDER.books_of_others(snapshot(OPEN, bids, asks), own or {})


def choose(fair=FAIR, found=None, standing=(), policy=POLICY, fills=FILLS, **options):
    moment = Moment(LADDER, fair, found or books(), policy, fills, 15.0, attention_of(fair))
    return choose_quotes(moment, standing, **options)


def brief(quotes) -> list[tuple[str, str, int]]:
    return [(quote.ticker, quote.side, quote.price_e4) for quote in quotes]


def test_it_improves_the_best_of_others_by_one_tick_next_to_the_mode():
    """The likeliest interval is 5210–5220 or 5220–5230: its two thresholds are quoted.

    At 5210 the bid is 66 against fair 84.1; the ask at 89 would earn less. At 5220 the bid
    36 and the ask 64 are worth the same 14 cents; the bid is taken.
    """
    assert brief(choose()) == [(TICKERS[1], "bid", 6600), (TICKERS[2], "bid", 3600)]


def test_ev_is_the_shrunk_edge_after_fees():
    """0.9 × (84.1 − 66) cents, and no maker fee on the index."""
    quote = choose()[0]
    assert quote.ev_per_contract_e6 == pytest.approx(0.9 * 0.181 * 1e6, abs=1)
    assert quote.probability == pytest.approx(0.841)


def test_a_tight_market_is_left_alone():
    tight = books((9700, 8400, 4900, 1500, 200), (9900, 8500, 5100, 1700, 300))
    assert choose(found=tight) == ()


def test_the_price_never_gives_away_the_entry_ev():
    """Others bid 44 against fair 50: with 6 cents at 0.9 we stop at ⌊50 − 6.67⌋ = 43."""
    near = books((8000, 8400, 4400, 1000, 200), (9900, 8500, 5100, 3500, 1500))
    quotes = choose(found=near)
    assert brief(quotes) == [(TICKERS[2], "bid", 4300)]
    assert quotes[0].ev_per_contract_e6 >= POLICY.ev_min_e6 + POLICY.ev_entry_margin_e6


def test_alone_it_stays_at_a_distance():
    nobody = books((0,) * 5, (10_000,) * 5)
    assert {q.price_e4 for q in choose(found=nobody)} <= {7400, 4000, 6000, 9500}


def test_tails_need_permission():
    policy = QuotePolicy(tails_allowed=True, rungs_max=5)
    wide = books((5000, 4000, 2000, 0, 0), (10_000, 10_000, 8000, 6000, 5000))
    assert len(choose(found=wide, policy=policy)) == 5
    assert len(choose(found=wide, policy=QuotePolicy(rungs_max=5))) == 2


def test_own_orders_are_not_outbid():
    own = {(TICKERS[2], "bid", 3600): 1000}
    bids, depths = (8000, 6500, 3600, 1000, 200), (2000,) * 5
    shown = snapshot(OPEN, bids=bids, count=1000, bid_depth_e2=depths)
    found = LADDER.books_of_others(shown, own)
    assert found.bid_price_e4[2] == 3500
    assert brief(choose(found=found))[1] == (TICKERS[2], "bid", 3600)


def test_others_at_our_price_are_seen_beside_us():
    own = {(TICKERS[2], "bid", 3600): 1000}
    shown = snapshot(OPEN, bids=(8000, 6500, 3600, 1000, 200), count=2500)
    assert LADDER.books_of_others(shown, own).bid_price_e4[2] == 3600


def standing_quote(price_e4, rung=2, side="bid") -> Quote:
    return Quote(
        ticker=TICKERS[rung],
        side=side,
        price_e4=price_e4,
        count_e2=1000,
        probability=0.5,
        ev_per_contract_e6=0,
        fill_probability=0.0,
    )


def test_a_standing_quote_keeps_its_place_against_a_tick():
    """Others bid 35; at 37 we stand a tick dearer than a new quote at 36 would: not worth it."""
    kept = choose(standing=[standing_quote(3700)])
    assert (TICKERS[2], "bid", 3700) in brief(kept)


def test_a_standing_quote_that_was_outbid_moves():
    outbid = books((8000, 6500, 3900, 1000, 200), (9900, 9000, 5600, 3500, 1500))
    moved = choose(found=outbid, standing=[standing_quote(3600)])
    assert (TICKERS[2], "bid", 4000) in brief(moved)


def test_within_the_rest_it_only_keeps_or_pulls():
    outbid = books((8000, 6500, 3900, 1000, 200))
    assert brief(choose(found=outbid, standing=[standing_quote(3600)], may_change=False)) == [
        (TICKERS[2], "bid", 3600)
    ]
    assert choose(standing=[standing_quote(4600)], may_change=False) == ()


def test_a_quote_that_would_cross_is_pulled():
    crossed = books(asks=(9900, 9000, 3600, 3500, 1500))
    assert choose(found=crossed, standing=[standing_quote(3600)], may_change=False) == ()


@pytest.mark.parametrize(
    ("side", "price_e4", "behind_e4", "ahead_e2"),
    [
        ("bid", 3600, -100, 0),
        ("bid", 3500, 0, 10_000),
        ("bid", 3300, 200, 25_000),
        ("ask", 6400, -100, 0),
        ("ask", 6500, 0, 10_000),
        ("ask", 6700, 200, 25_000),
    ],
)
def test_the_queue_is_what_rests_at_our_price_and_behind_it_all_of_the_depth(
    side, price_e4, behind_e4, ahead_e2
):
    deep = snapshot(OPEN, bid_depth_e2=(25_000,) * 5, ask_depth_e2=(25_000,) * 5)
    found = LADDER.books_of_others(deep, {})
    state = fill_state(found, 2, side, price_e4, 1000, 0.5, 10.0, 0.2)
    assert (state.behind_e4, state.ahead_e2) == (behind_e4, ahead_e2)
    edge_e4 = 5000 - price_e4 if side == "bid" else price_e4 - 5000
    assert state.edge_cents == pytest.approx(edge_e4 / 100)


def test_attention_is_the_part_of_the_ladders_doubt():
    """p(1 − p) of 0.5, 0.5, 0.1 and 1: .25, .25, .09 and 0 of .59."""
    found = attention_of(np.array([1.0, 0.5, 0.5, 0.1]))
    assert found == pytest.approx(np.array([0.0, 0.25, 0.25, 0.09]) / 0.59)
    assert attention_of(np.array([1.0, 0.0])).tolist() == [0.0, 0.0]


def test_our_own_orders_are_neither_before_us_nor_depth_of_others():
    own = {(TICKERS[2], "bid", 3500): 1000}
    found = LADDER.books_of_others(snapshot(OPEN), own)
    assert fill_state(found, 2, "bid", 3500, 1000, 0.5, 10.0, 0.2).ahead_e2 == 9_000
    assert participation(found, 2, "bid", 1000) == 0.1  # 10 of 90 others' and ours


def test_a_quote_whose_slippage_eats_its_ev_is_not_made():
    """The best of the four earns 16.3 cents: with a fifteenth of 17 · 15 more, none is left."""
    assert choose(fills=Fills(series=SeriesFills(adverse_cents=16.0 * 15))) != ()
    assert choose(fills=Fills(series=SeriesFills(adverse_cents=17.0 * 15))) == ()


def test_what_fills_more_often_comes_first():
    """At 5220 bid and ask are worth the same; asks that fill twice as often win."""
    fills = Fills(coefficients=Coefficients(ask=0.7))
    assert (TICKERS[2], "ask", 6400) in brief(choose(fills=fills))


def test_what_hardly_ever_fills_is_not_made():
    assert choose(policy=QuotePolicy(fill_rate_min_per_min=10.0)) == ()


def test_a_quote_says_its_fill_probability_and_slippage():
    fills = Fills(series=SeriesFills(adverse_cents=30.0))
    found = books()
    (first, *_) = choose(found=found, fills=fills)
    state = fill_state(found, 1, "bid", 6600, 1000, 0.841, 15.0, float(attention_of(FAIR)[1]))
    assert first.fill_probability == fills.probability(state)
    share = 1000 / (1000 + 10_000)
    assert first.slippage_e6 == round(10_000 * (2 + 0.5 * share))


def test_quotes_that_rise_where_survival_must_fall_are_counted():
    rising = books(bids=(8000, 6500, 3500, 6600, 200))
    assert LADDER.contradictions(books()) == 0
    assert LADDER.contradictions(rising) == 1  # 66 bid above the 65 ask one strike lower


def test_a_partition_has_a_market_only_where_every_range_is_quoted():
    """Middles .3, .4, .5 sum to 1.2: a third of .2 less for each."""
    ladder = PricedLadder(
        definition(
            series_ticker="KXINX",
            event_ticker="KXINX-24AUG05H1600",
            family="INX",
            kind="partition",
            tickers=tuple(f"KXINX-24AUG05H1600-B{place}" for place in range(3)),
            strike_types=("less", "between", "greater"),
            floors_e4=(None, 52_000_000, 52_249_999),
            caps_e4=(52_000_000, 52_249_999, None),
        ),
        OPEN,
    )
    whole = snapshot(OPEN, bids=(2000, 3000, 4000), asks=(4000, 5000, 6000))
    found = ladder.market(ladder.books_of_others(whole, {}))
    assert found.tolist() == pytest.approx([0.3 - 0.2 / 3, 0.4 - 0.2 / 3, 0.5 - 0.2 / 3])
    part = snapshot(OPEN, bids=(2000, 0, 4000), asks=(4000, 10_000, 6000))
    assert ladder.market(ladder.books_of_others(part, {})) is None


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"floors_e4": tuple(s * 10_000 for s in reversed(STRIKES))}, "out of order"),
        ({"strike_types": ("custom",) * 5}, "threshold"),
        ({"strike_types": ("sideways",) * 5}, "sideways"),
        ({"kind": "heap"}, "heap"),
        ({"series_ticker": "KXNOVEL", "event_ticker": EVENT}, "KXNOVEL"),
        ({"price_ranges": ()}, "tick"),
    ],
)
def test_a_ladder_that_cannot_be_priced_is_refused(changes, complaint):
    with pytest.raises(LadderRefused, match=complaint):
        PricedLadder(definition(**changes), OPEN)


def test_a_tapered_grid_rounds_within_each_range():
    grid = TickGrid(TAPERED)
    assert list(map(grid.at_or_below, (995.0, 1099.0, 9999.0, 5.0))) == [990, 1000, 9990, 0]
    assert list(map(grid.at_or_above, (995.0, 1001.0, 9995.0))) == [1000, 1100, 10_000]
    assert list(map(grid.above, (0, 1000))) == [10, 1100]
    assert list(map(grid.below, (10_000, 9000))) == [9990, 8900]


@given(price=st.floats(-2_000, 12_000) | st.integers(0, 10_000))
def test_rounding_to_the_grid_is_the_nearest_tick_on_that_side(price):
    """0 and 10,000 stand for "no order can be there"."""
    grid = TickGrid(TAPERED)
    ends = [0, *grid.prices_e4.tolist(), 10_000]
    inside = ends[1:-1]
    assert grid.at_or_below(price) == max((tick for tick in inside if tick <= price), default=0)
    assert grid.below(price) == max((tick for tick in inside if tick < price), default=0)
    assert grid.at_or_above(price) == min((t for t in inside if t >= price), default=10_000)
    assert grid.above(price) == min((t for t in inside if t > price), default=10_000)


prices = st.integers(1, 99).map(lambda cents: cents * 100)


@given(data=st.data())
def test_whatever_the_books_a_quote_is_sound(data):
    """On the grid, inside the book, worth its minimum, few, one per rung."""
    fair = np.array(sorted(data.draw(st.lists(st.floats(0, 1), min_size=5, max_size=5)))[::-1])
    quotes_of = [sorted(data.draw(st.tuples(prices, prices))) for _ in range(5)]
    bids = tuple(data.draw(st.sampled_from([0, low])) for low, _ in quotes_of)
    asks = tuple(data.draw(st.sampled_from([10_000, high])) for _, high in quotes_of)
    standing = [standing_quote(data.draw(prices), rung=data.draw(st.integers(0, 4)))]
    wanted = choose(fair=fair, found=books(bids, asks), standing=standing)
    assert len(wanted) <= POLICY.rungs_max
    assert len({quote.ticker for quote in wanted}) == len(wanted)
    for quote in wanted:
        rung = TICKERS.index(quote.ticker)
        assert quote.price_e4 % 100 == 0
        assert 0 < quote.price_e4 < 10_000
        assert quote.ev_per_contract_e6 >= POLICY.ev_min_e6
        if quote.side == "bid":
            assert quote.price_e4 < asks[rung]
        else:
            assert quote.price_e4 > bids[rung]
