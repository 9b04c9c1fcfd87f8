"""P&L by New York day, by hand: settled as paid, held at exit prices, unknown at the worst."""

from datetime import date

import pytest

from libs.common.messages import ExchangeSettlement, Fill
from libs.common.own_orders import OwnOrders
from libs.common.profit import Held, SettledProfit
from libs.domain.eastern import eastern_ns

MONDAY, TUESDAY = date(2024, 8, 5), date(2024, 8, 6)
NOON = eastern_ns(TUESDAY, 12)
FIELDS = {
    "ts_event_ns": NOON,
    "ts_pub_ns": NOON,
    "cause_id": "",
    "correlation_id": "c",
    "source": "broker",
    "event_ticker": "E",
    "series_ticker": "KXINXU",
}


class Books:
    """Orders, settled profit and what is held, folded from the same messages."""

    def __init__(self):
        self.own = OwnOrders()
        self.profit = SettledProfit()
        self.held = Held(self.own)
        self.count = 0

    def fold(self, message):
        self.count += 1
        if self.own.apply(message, "FILLS", self.count):
            self.profit.fold(message)
            self.held.fold(message)

    def fill(self, ticker, side, price_e4, count_e2, fee_e6=0):
        self.fold(
            Fill(
                **FIELDS,
                id=f"f{self.count}",
                trade_id=f"t{self.count}",
                order_id="o",
                client_order_id="c",
                ticker=ticker,
                side=side,
                price_e4=price_e4,
                count_e2=count_e2,
                is_taker=False,
                fee_e6=fee_e6,
                exchange_ns=NOON,
            )
        )

    def settle(self, ticker, result, day=TUESDAY, revenue_e6=0, yes_count_e2=0, no_count_e2=0):
        self.fold(
            ExchangeSettlement(
                **FIELDS,
                id=f"s-{ticker}",
                ticker=ticker,
                result=result,
                yes_count_e2=yes_count_e2,
                no_count_e2=no_count_e2,
                revenue_e6=revenue_e6,
                fee_e6=0,
                settled_ns=eastern_ns(day, 16),
            )
        )

    def day_and_week(self, exits=lambda event, ticker: None):
        held_e6 = self.held.pnl_e6(exits)
        return self.profit.day_e6(NOON) + held_e6, self.profit.week_e6(NOON) + held_e6


def test_what_was_settled_counts_on_its_day_and_in_its_week():
    books = Books()
    books.fill("A", "bid", 4_000, 200, fee_e6=5_000)  # 2 contracts at $0.40: $0.80 and the fee
    books.fill("B", "ask", 3_000, 100)  # 1 sold at $0.30
    books.settle("A", "no")
    books.settle("B", "yes", day=MONDAY)
    # A lost 0.805 today; B lost 0.70 on Monday.
    assert books.day_and_week() == (-805_000, -1_505_000)


def test_last_week_is_another_week():
    books = Books()
    books.fill("A", "bid", 4_000, 100)
    books.settle("A", "no", day=date(2024, 8, 2))
    assert books.day_and_week() == (0, 0)


def test_what_is_held_counts_at_the_price_at_which_we_could_get_out():
    books = Books()
    books.fill("A", "bid", 4_000, 100)
    books.fill("B", "ask", 3_000, 100)
    exits = {"A": (3_500, 4_500), "B": (2_000, 3_800)}
    # A is sold at 0.35: -0.05; B is bought back at 0.38: -0.08.
    expected = -130_000
    assert books.day_and_week(lambda event, ticker: exits[ticker]) == (expected, expected)
    # A book that is not known any more keeps its last mark.
    assert books.day_and_week() == (expected, expected)


def test_what_never_had_a_book_counts_as_lost():
    books = Books()
    books.fill("A", "bid", 4_000, 100)
    books.fill("B", "ask", 3_000, 100)
    assert books.day_and_week() == (-400_000 - 700_000,) * 2


@pytest.mark.parametrize(
    ("side", "result", "revenue_e6", "yes_e2", "no_e2", "expected_e6"),
    [
        ("bid", "yes", 1_000_000, 100, 0, 600_000),
        ("bid", "no", 0, 100, 0, -400_000),
        ("ask", "yes", 0, 0, 100, -600_000),
        ("ask", "no", 1_000_000, 0, 100, 400_000),
        ("bid", "scalar", 250_000, 100, 0, -150_000),
        ("ask", "scalar", 750_000, 0, 100, 150_000),  # a NO at 0.75 is a YES owed at 0.25
    ],
)
def test_one_contract_at_forty_cents_settled(side, result, revenue_e6, yes_e2, no_e2, expected_e6):
    books = Books()
    books.fill("A", side, 4_000, 100)
    books.settle("A", result, revenue_e6=revenue_e6, yes_count_e2=yes_e2, no_count_e2=no_e2)
    assert books.day_and_week() == (expected_e6, expected_e6)


def test_a_fill_that_comes_after_the_settlement_counts_on_its_day():
    books = Books()
    books.settle("A", "no")
    books.fill("A", "bid", 4_000, 100)
    assert books.day_and_week() == (-400_000, -400_000)
