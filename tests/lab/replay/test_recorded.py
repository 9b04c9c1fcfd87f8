"""Recorded books with an order of ours in them: a queue place that flatters nothing."""

import pytest

from lab.exchange import model as x
from lab.exchange.engine import Engine
from lab.replay.recorded import RecordedMarket
from libs.common.messages import PriceRange
from libs.domain.strikes import Rung, StrikeType
from services.feeds.events import LadderSpec

S = 1_000_000_000
NOW = 1_722_872_700 * S
TARGET = 1_722_873_600 * S
EVENT = "KXINXU-24AUG05H1200"
TICKER = f"{EVENT}-T5199.9999"
OURS = "ours"


@pytest.fixture
def world():
    engine, heard = Engine(1), []
    engine.advance(NOW)
    market = RecordedMarket(engine, OURS)
    engine.open_account(OURS, 10**10)

    def take(event):
        if isinstance(event, x.Filled):
            heard.append(event)
        if isinstance(event, x.OrderChanged) and event.order.account == OURS:
            market.take(event)

    engine.listen(take)
    spec = LadderSpec(
        event_ticker=EVENT,
        series_ticker="KXINXU",
        family="INXU",
        symbol="I:SPX",
        kind="nested",
        target_ns=TARGET,
        close_ns=TARGET,
        rungs=(Rung(TICKER, StrikeType.GREATER, floor_e4=51_999_999),),
        price_ranges=(PriceRange(0, 10_000, 100),),
    )
    market.list(spec, NOW, 0)
    market.snapshot(TICKER, ((4_000, 500), (3_900, 900)), ((6_000, 500),), NOW)
    return engine, market, heard


def rest(world, price_e4=4_000, count_e2=100, side="bid"):
    order = x.NewOrder(
        ticker=TICKER, side=side, price_e4=price_e4, count_e2=count_e2, post_only=True
    )
    return world[1].place(order, NOW)


def ahead(world, order_id):
    engine, market, _ = world
    return market.ahead_e2(engine.state.orders[order_id])


def test_the_book_that_feeds_may_ask_for_has_both_in_it(world):
    engine, market, _ = world
    placed = rest(world)
    assert engine.book(TICKER).bids == ((4_000, 100),)  # the engine holds ours alone
    assert market.view(TICKER).bids == ((4_000, 600), (3_900, 900))
    engine.cancel(OURS, placed.order_id, NOW)
    assert market.view(TICKER).bids == ((4_000, 500), (3_900, 900))


def test_we_stand_behind_what_was_recorded_and_before_what_comes_later(world):
    placed = rest(world)
    assert ahead(world, placed.order_id) == 500
    world[1].change(TICKER, "bid", 4_000, 300, NOW)
    assert ahead(world, placed.order_id) == 500


def test_what_leaves_a_level_leaves_from_behind_us_first(world):
    placed, market = rest(world), world[1]
    market.change(TICKER, "bid", 4_000, 300, NOW)
    market.change(TICKER, "bid", 4_000, -300, NOW)
    assert ahead(world, placed.order_id) == 500
    market.change(TICKER, "bid", 4_000, -200, NOW)
    assert ahead(world, placed.order_id) == 300


def test_a_recorded_quote_fills_us_only_through_everything_ahead(world):
    _, market, heard = world
    placed = rest(world)
    market.change(TICKER, "ask", 4_000, 450, NOW)  # 500 of others rest before our 100
    assert not heard
    assert ahead(world, placed.order_id) == 50
    market.change(TICKER, "ask", 4_000, 80, NOW)
    (fill,) = [one for one in heard if one.account == OURS]
    assert (fill.count_e2, fill.price_e4, fill.is_taker) == (30, 4_000, False)


def test_better_prices_are_recorded_ahead_too_and_the_best_of_ours_goes_first(world):
    _, market, heard = world
    rest(world, price_e4=3_900)
    rest(world, price_e4=4_100)
    market.change(TICKER, "ask", 3_900, 1_600, NOW)  # 4,100: ours 100; 4,000: 500; 3,900: 900
    fills = [(one.price_e4, one.count_e2) for one in heard if one.account == OURS]
    assert fills == [(4_100, 100), (3_900, 100)]
    heard.clear()
    rest(world, price_e4=6_000, side="ask")
    market.change(TICKER, "bid", 5_900, 9_999, NOW)
    assert not heard  # it does not reach our price


def test_a_new_price_is_a_place_at_the_back_and_a_smaller_count_keeps_it(world):
    engine, market, _ = world
    placed = rest(world, count_e2=200)
    market.change(TICKER, "bid", 4_000, 300, NOW)

    def amend(price_e4, count_e2):
        change = x.Amendment(ticker=TICKER, side="bid", price_e4=price_e4, count_e2=count_e2)
        assert isinstance(engine.amend(OURS, placed.order_id, change, NOW), x.Placed)

    amend(4_000, 100)
    assert ahead(world, placed.order_id) == 500
    amend(3_900, 100)
    assert ahead(world, placed.order_id) == 900


def test_a_post_only_order_that_would_take_is_refused(world):
    placed = rest(world, price_e4=6_000)
    assert isinstance(placed, x.Rejected)


def test_what_cannot_be_true_is_counted_and_changes_nothing(world):
    _, market, _ = world
    rest(world)
    market.change(TICKER, "bid", 4_000, -501, NOW)
    market.change(TICKER, "bid", 0, 100, NOW)
    market.snapshot(TICKER, ((4_000, -5),), (), NOW)
    market.change("KXINXU-ELSE", "bid", 4_000, 100, NOW)  # a market that was never listed
    assert market.refused == 3
    assert market.view(TICKER).bids == ((4_000, 600), (3_900, 900))


def test_a_new_snapshot_replaces_the_recorded_part_alone(world):
    _, market, heard = world
    placed = rest(world)
    market.snapshot(TICKER, ((4_000, 200), (3_800, 100)), ((6_200, 100),), NOW)
    assert ahead(world, placed.order_id) == 200
    assert market.view(TICKER).bids == ((4_000, 300), (3_800, 100))
    assert market.view(TICKER).asks == ((6_200, 100),)
    market.snapshot(TICKER, (), ((3_900, 60),), NOW)
    assert [(one.count_e2, one.price_e4) for one in heard if one.account == OURS] == [(60, 4_000)]
