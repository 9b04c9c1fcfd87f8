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
    engine.listen(lambda event: heard.append(event) if isinstance(event, x.Filled) else None)
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


def rest(world, price_e4=4_000, count_e2=100):
    engine, market, _ = world
    market.expect_order(TICKER, NOW)
    order = x.NewOrder(
        ticker=TICKER, side="bid", price_e4=price_e4, count_e2=count_e2, post_only=True
    )
    return engine.place(OURS, order, NOW)


def ahead(world, order_id):
    engine = world[0]
    return engine.market(TICKER).book.bids.ahead_of(engine.state.orders[order_id])


def test_the_engine_holds_the_recorded_book_only_while_we_trade_there(world):
    engine, market, _ = world
    assert engine.book(TICKER).bids == ()
    placed = rest(world)
    assert engine.book(TICKER).bids == ((4_000, 600), (3_900, 900))
    assert engine.book(TICKER).asks == ((6_000, 500),)
    engine.cancel(OURS, placed.order_id, NOW)
    market.change(TICKER, "ask", 6_100, 200, NOW)
    assert engine.book(TICKER) == x.BookView((), (), engine.book(TICKER).clock)
    assert market.view(TICKER).asks == ((6_000, 500), (6_100, 200))


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
    assert not [one for one in heard if one.account == OURS]
    assert ahead(world, placed.order_id) == 50
    market.change(TICKER, "ask", 4_000, 80, NOW)
    (fill,) = [one for one in heard if one.account == OURS]
    assert (fill.count_e2, fill.price_e4, fill.is_taker) == (30, 4_000, False)


def test_a_post_only_order_that_would_take_is_refused(world):
    placed = rest(world, price_e4=6_000)
    assert isinstance(placed, x.Rejected)


def test_what_cannot_be_true_is_counted_and_changes_nothing(world):
    engine, market, _ = world
    rest(world)
    market.change(TICKER, "bid", 4_000, -501, NOW)
    market.change(TICKER, "bid", 0, 100, NOW)
    market.snapshot(TICKER, ((4_000, -5),), (), NOW)
    market.change("KXINXU-ELSE", "bid", 4_000, 100, NOW)  # a market that was never listed
    assert market.refused == 3
    assert engine.book(TICKER).bids == ((4_000, 600), (3_900, 900))


def test_a_new_snapshot_replaces_the_recorded_part_alone(world):
    engine, market, _ = world
    rest(world)
    market.snapshot(TICKER, ((3_800, 100),), ((6_200, 100),), NOW)
    assert engine.book(TICKER).bids == ((4_000, 100), (3_800, 100))
    assert engine.book(TICKER).asks == ((6_200, 100),)
    assert market.view(TICKER).bids == ((4_000, 100), (3_800, 100))
