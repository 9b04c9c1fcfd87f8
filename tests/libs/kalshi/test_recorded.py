"""Verbatim answers of the demo exchange decode into our units; expectations read off by eye."""

from typing import Any

import msgspec
import pytest

from libs.kalshi.fields import decoder
from libs.kalshi.wire import market, orders, portfolio
from tests.shared_data import shared_file

CASES = [
    ("account__limits", portfolio.AccountLimits),
    ("account__endpoint_costs", portfolio.EndpointCosts),
    ("auth__balance_ok", portfolio.Balance),
    ("exchange__status", market.ExchangeStatus),
    ("fills__after_taker", portfolio.FillsPage),
    ("markets__garbage_cursor", market.MarketsPage),
    ("markets__high_temp", market.MarketsPage),
    ("markets__page1", market.MarketsPage),
    ("markets__page2", market.MarketsPage),
    ("markets__single", market.MarketAnswer),
    ("markets__status_closed", market.MarketsPage),
    ("markets__status_open", market.MarketsPage),
    ("markets__status_settled", market.MarketsPage),
    ("orderbook__base", market.WireBookAnswer),
    ("orders__cancel_v2", orders.Cancelled),
    ("orders__create_v2_maker", orders.Created),
    ("orders__create_v2_taker_ioc", orders.Created),
    ("orders__get_after_cancel", portfolio.OrderAnswer),
    ("orders__stp_self_cross", orders.Created),
    ("portfolio__orders_list", portfolio.OrdersPage),
    ("portfolio__positions", portfolio.PositionsPage),
    ("series__fee_changes", market.SeriesFeeChangesAnswer),
    ("settlements__page", portfolio.SettlementsPage),
]


def read(name: str, kind: type[Any]) -> Any:
    body = shared_file(f"kalshi/recorded/{name}.json").read_bytes()
    return decoder(kind).decode(body)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_recorded_answer_decodes(name: str, kind: type[Any]) -> None:
    assert isinstance(read(name, kind), kind)


def test_balance() -> None:
    balance = read("auth__balance_ok", portfolio.Balance)
    assert balance.balance_e6 == 98_018_600
    assert balance.updated_ns == 1_781_159_348_000_000_000
    assert balance.by_shard == (portfolio.ShardBalance(0, 98_018_600),)


def test_a_no_bid_is_a_yes_ask() -> None:
    answer = read("orderbook__base", market.WireBookAnswer)
    book = market.yes_book("T", answer.orderbook_fp)
    assert book.bids == ((4700, 300),)
    assert book.asks == ((5200, 300),)


def test_books_are_best_first() -> None:
    wire = market.WireBook(yes=((100, 1), (4500, 2), (4700, 3)), no=((100, 4), (4800, 5)))
    book = market.yes_book("T", wire)
    assert book.bids == ((4700, 3), (4500, 2), (100, 1))
    assert book.asks == ((5200, 5), (9900, 4))


def test_fill() -> None:
    fill = read("fills__after_taker", portfolio.FillsPage).items[0]
    assert (fill.side, fill.price_e4, fill.count_e2) == ("bid", 5200, 100)
    assert (fill.fee_e6, fill.is_taker) == (17_500, True)
    assert fill.created_ns == 1_781_159_370_164_956_000


def test_order() -> None:
    order = read("orders__get_after_create", portfolio.OrderAnswer).order
    assert (order.status, order.side, order.price_e4) == ("resting", "bid", 100)
    assert (order.initial_e2, order.filled_e2, order.remaining_e2) == (100, 0, 100)
    assert order.expiration_ns is None


def test_position() -> None:
    position = read("portfolio__positions", portfolio.PositionsPage).items[0]
    assert (position.position_e2, position.exposure_e6, position.fees_paid_e6) == (
        300,
        2_500_000,
        18_900,
    )


def test_self_trade_prevention_leaves_nothing_filled_and_nothing_resting() -> None:
    created = read("orders__stp_self_cross", orders.Created)
    assert (created.filled_e2, created.remaining_e2) == (0, 0)


def test_an_initialized_market_has_no_quote() -> None:
    first = read("markets__page1", market.MarketsPage).items[0]
    assert (first.strike_type, first.floor_e4, first.cap_e4) == ("greater", 35_000, None)
    assert (first.yes_bid_size_e2, first.yes_ask_size_e2) == (0, 0)
    assert first.price_ranges == (market.PriceRange(0, 10_000, 100),)


def test_requests_are_written_as_the_exchange_took_them() -> None:
    """The recorded maker order, plus what we always send (post_only, pause, shard 0)."""
    meta = msgspec.json.decode(
        shared_file("kalshi/recorded/orders__create_v2_maker.meta.json").read_bytes()
    )
    asked = meta["request_body"]
    order = orders.NewOrder(
        ticker=asked["ticker"],
        client_order_id=asked["client_order_id"],
        side="bid",
        price_e4=100,
        count_e2=100,
        expires_ns=1_781_159_400_999_999_999,
    )
    assert msgspec.json.decode(orders.encode_order(order)) == asked | {
        "post_only": True,
        "cancel_order_on_pause": True,
        "exchange_index": 0,
        "expiration_time": 1_781_159_400,
    }
