"""The three books: each added up by its own code; arithmetic written out here."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from cli.books import Books, compare, exchange_books, ledger_books, stream_books
from libs.common import messages as m
from proto import reporting_pb2

TARGET_NS = 1_790_956_800_000_000_000
EVENT, SERIES = "KXINXU-26OCT02H1200", "KXINXU"
TICKER = f"{EVENT}-T6809.9999"
ENVELOPE: dict[str, Any] = {
    "ts_event_ns": TARGET_NS,
    "ts_pub_ns": TARGET_NS,
    "cause_id": "",
    "correlation_id": "c",
    "source": "broker",
    "event_ticker": EVENT,
    "series_ticker": SERIES,
    "ticker": TICKER,
}


def update(client: str, state: m.OrderState, order_id: str = "o") -> m.OrderUpdate:
    return m.OrderUpdate(
        **ENVELOPE,
        id=f"{client}-{state}",
        client_order_id=client,
        order_id=order_id,
        side="bid",
        price_e4=4_500,
        count_e2=100,
        filled_count_e2=0,
        remaining_count_e2=100,
        previous_state="submitted",
        state=state,
        trigger="REST",
        reason="",
        exchange_ns=TARGET_NS,
    )


def fill(trade: str, side: m.Side, price_e4: int, count_e2: int, fee_e6: int = 0) -> m.Fill:
    return m.Fill(
        **ENVELOPE,
        id=f"fill-{trade}",
        trade_id=trade,
        order_id=f"o-{trade}",
        client_order_id=f"c-{trade}",
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        is_taker=False,
        fee_e6=fee_e6,
        exchange_ns=TARGET_NS,
    )


def settled(result: Literal["yes", "no"]) -> m.ExchangeSettlement:
    return m.ExchangeSettlement(
        **ENVELOPE,
        id="paid",
        result=result,
        yes_count_e2=100,
        no_count_e2=0,
        revenue_e6=1_000_000,
        fee_e6=0,
        settled_ns=TARGET_NS,
    )


@pytest.mark.parametrize(("result", "pnl_e6"), [("yes", 550_000 - 125), ("no", -450_125)])
def test_a_bought_yes_pays_a_dollar_or_nothing(result: Literal["yes", "no"], pnl_e6: int) -> None:
    # 1 contract at $0.45 with a fee of $0.000125.
    books, problems = stream_books(
        [update("c-1", "filled"), fill("1", "bid", 4_500, 100, 125), settled(result)]
    )
    assert problems == []
    assert books == Books(
        orders=1, fills=1, contracts_e2=100, gross_e6=450_000, fees_e6=125, pnl_e6=pnl_e6
    )


def test_a_sold_yes_costs_a_dollar_when_it_happens() -> None:
    # Sold 2.50 contracts at $0.60: 1.50 in, 2.50 out.
    books, _ = stream_books([fill("1", "ask", 6_000, 250), settled("yes")])
    assert books.pnl_e6 == 1_500_000 - 2_500_000


def test_a_fill_that_came_twice_counts_once() -> None:
    books, _ = stream_books([fill("1", "bid", 4_500, 100)] * 2 + [settled("no")])
    assert (books.fills, books.contracts_e2) == (1, 100)


def test_what_is_open_or_unsettled_is_a_problem() -> None:
    _, problems = stream_books([update("c-1", "unknown"), fill("1", "bid", 4_500, 100)])
    assert problems == ["c-1 is unknown", f"{TICKER} is not settled"]


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_what_is_not_settled_has_neither_gained_nor_lost(side: m.Side) -> None:
    # Sold at $0.60 it would be a gain of $0.60 if no word meant "no".
    books, _ = stream_books([fill("1", side, 6_000, 100)])
    assert (books.fills, books.pnl_e6) == (1, 0)


def test_an_order_that_never_reached_the_exchange_is_no_order_there() -> None:
    books, problems = stream_books([update("c-1", "rejected", order_id="")])
    assert (books.orders, problems) == (0, [])


def truth(path: Path, *lines: dict[str, object]) -> Path:
    rows = [
        {"n": number, "at_ns": TARGET_NS - 10**11, **line} for number, line in enumerate(lines, 1)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ORDER = {
    "kind": "order",
    "account": "alpha",
    "order_id": "o-1",
    "client_order_id": "c-1",
    "ticker": TICKER,
    "count_e2": 100,
    "remaining_e2": 100,
}


def test_an_order_at_rest_after_t_minus_2_is_counted(tmp_path: Path) -> None:
    end = {**ORDER, "kind": "end", "remaining_e2": 0, "reason": "expired"}
    log = truth(tmp_path / "a", ORDER, {**end, "at_ns": TARGET_NS - 1_999_999_999})
    assert exchange_books(log, "alpha", TARGET_NS)[1] == 1
    log = truth(tmp_path / "b", ORDER, {**end, "at_ns": TARGET_NS - 2_000_000_000})
    assert exchange_books(log, "alpha", TARGET_NS)[1] == 0
    placed = {**ORDER, "at_ns": TARGET_NS - 1_000_000_000}  # later than it may, and gone again
    log = truth(tmp_path / "c", placed, {**end, "at_ns": TARGET_NS - 500_000_000})
    assert exchange_books(log, "alpha", TARGET_NS)[1] == 1


def test_somebody_elses_orders_are_not_ours(tmp_path: Path) -> None:
    log = truth(tmp_path / "a", {**ORDER, "account": "crowd"})
    assert exchange_books(log, "alpha", TARGET_NS)[0].orders == 0


def test_books_agree_only_if_every_figure_does() -> None:
    one = Books(orders=3, fills=2, contracts_e2=200, gross_e6=9, fees_e6=1, pnl_e6=-5)
    assert compare((one, 0), (one, []), (one, [])).agree
    other = Books(orders=3, fills=2, contracts_e2=200, gross_e6=9, fees_e6=1, pnl_e6=-4)
    different = compare((one, 0), (one, []), (other, []))
    assert different.problems == ("pnl_e6: exchange -5, streams -5, ledger -4",)
    assert different.headline == "THE BOOKS DO NOT AGREE"
    late = compare((other, 0), (one, [f"{TICKER} is not settled"]), (one, []))
    assert late.headline.startswith("NOT ALL IS SETTLED")
    assert not late.agree
    fewer = Books(orders=2, fills=2, contracts_e2=200, gross_e6=9, fees_e6=1, pnl_e6=-5)
    worse = compare((fewer, 0), (one, [f"{TICKER} is not settled"]), (one, []))
    assert worse.headline == "THE BOOKS DO NOT AGREE"
    assert not compare((one, 1), (one, []), (one, [])).agree
    assert not compare((one, 0), (one, ["x is unknown"]), (one, [])).agree


def test_the_ledgers_answer_with_what_it_can_not_explain() -> None:
    answer = reporting_pb2.Books(
        orders=9,
        orders_accepted=7,
        fills=2,
        contracts_filled_e2=200,
        gross_cash_e6=900_000,
        fees_e6=10,
        settlement_pnl_e6=-20,
        markets_unsettled=1,
        settlement_differences=["A: exchange yes, we no"],
    )
    books, problems = ledger_books(answer)
    assert books == Books(
        orders=7, fills=2, contracts_e2=200, gross_e6=900_000, fees_e6=10, pnl_e6=-20
    )
    assert problems == [
        "ledger: A: exchange yes, we no",
        "ledger: 1 markets, each of which is not settled",
    ]
