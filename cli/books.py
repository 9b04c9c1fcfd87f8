"""The books of a run, three times over: the exchange's own log, the streams, the ledger.

Each column is added up by code of its own. They agree when every figure is equal, in orders,
contracts and micro-dollars, and nothing rested after T−2 s.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct

from lab.exchange.books import AccountBooks, read_books
from libs.common import messages as m
from libs.common.clock import NS_PER_S
from libs.domain.money import PRICE_ONE_E4

CANCEL_BUFFER_S = 2
UNSETTLED = "is not settled"


class Books(Struct, frozen=True, kw_only=True):
    """What one account did in a run; `pnl_e6` is settled and after fees."""

    orders: int
    fills: int
    contracts_e2: int
    gross_e6: int
    fees_e6: int
    pnl_e6: int


class Comparison(Struct, frozen=True, kw_only=True):
    """Three books side by side, and every reason for which they don't agree."""

    exchange: Books
    streams: Books
    ledger: Books
    resting_after_t2: int
    problems: tuple[str, ...]

    @property
    def agree(self) -> bool:
        """Return whether there is nothing to explain."""
        return not self.problems

    @property
    def headline(self) -> str:
        """Return in a few words how they stand; what is not settled has no P&L to agree on."""
        if self.agree:
            return "the books agree"
        unsettled = [problem for problem in self.problems if UNSETTLED in problem]
        of_money = [problem for problem in self.problems if problem.startswith("pnl_e6:")]
        if unsettled and len(unsettled) + len(of_money) == len(self.problems):
            return "NOT ALL IS SETTLED, so the books can't agree"
        return "THE BOOKS DO NOT AGREE"


def exchange_books(truth_log: Path, account: str, target_ns: int) -> tuple[Books, int]:
    """Return our account's books from the exchange's own log, and what rested after T−2 s."""
    ours = read_books(truth_log).get(account, AccountBooks(account=account))
    late = ours.resting_after(target_ns - CANCEL_BUFFER_S * NS_PER_S)
    books = Books(
        orders=len(ours.orders),
        fills=len(ours.fills),
        contracts_e2=ours.filled_e2,
        gross_e6=sum(fill["price_e4"] * fill["count_e2"] for fill in ours.fills),
        fees_e6=ours.fees_e6,
        pnl_e6=ours.cash_flow_e6 + ours.settlement_e6,
    )
    return books, len(late)


def stream_books(messages: Iterable[m.Message]) -> tuple[Books, list[str]]:
    """Return the books that ORDERS and FILLS tell, and what is still open in them."""
    accepted: dict[str, str] = {}
    fills: dict[tuple[str, str], m.Fill] = {}
    results: dict[str, str] = {}
    for message in messages:
        match message:
            case m.OrderUpdate() if message.order_id:
                accepted[message.client_order_id] = message.state
            case m.Fill():
                fills[message.trade_id, message.order_id] = message
            case m.ExchangeSettlement():
                results[message.ticker] = message.result
    open_orders = [
        f"{client_order_id} is {state}"
        for client_order_id, state in accepted.items()
        if state in m.OPEN_STATES
    ]
    unsettled = {fill.ticker for fill in fills.values()} - set(results)
    books = Books(
        orders=len(accepted),
        fills=len(fills),
        contracts_e2=sum(fill.count_e2 for fill in fills.values()),
        gross_e6=sum(fill.price_e4 * fill.count_e2 for fill in fills.values()),
        fees_e6=sum(fill.fee_e6 for fill in fills.values()),
        pnl_e6=sum(
            _settled_e6(fill, results[fill.ticker])
            for fill in fills.values()
            if fill.ticker in results
        ),
    )
    return books, open_orders + [f"{ticker} {UNSETTLED}" for ticker in sorted(unsettled)]


def _settled_e6(fill: m.Fill, result: str) -> int:
    """Return what one fill came to: a YES pays a dollar when the result is yes."""
    value_e4 = PRICE_ONE_E4 if result == "yes" else 0
    signed_e2 = fill.count_e2 if fill.side == "bid" else -fill.count_e2
    return signed_e2 * (value_e4 - fill.price_e4) - fill.fee_e6


def ledger_books(answer: Any) -> tuple[Books, list[str]]:
    """Return the books as reporting added them up from ClickHouse (gRPC `Books`)."""
    problems = [f"ledger: {line}" for line in answer.settlement_differences]
    if answer.markets_unsettled:
        problems.append(f"ledger: {answer.markets_unsettled} markets, each of which {UNSETTLED}")
    books = Books(
        orders=answer.orders_accepted,
        fills=answer.fills,
        contracts_e2=answer.contracts_filled_e2,
        gross_e6=answer.gross_cash_e6,
        fees_e6=answer.fees_e6,
        pnl_e6=answer.settlement_pnl_e6,
    )
    return books, problems


def compare(
    exchange: tuple[Books, int],
    streams: tuple[Books, list[str]],
    ledger: tuple[Books, list[str]],
) -> Comparison:
    """Put the three side by side and list every difference."""
    problems = [*streams[1], *ledger[1]]
    if exchange[1]:
        problems.append(f"{exchange[1]} orders rested after T−{CANCEL_BUFFER_S} s")
    for name in Books.__struct_fields__:
        values = [getattr(books, name) for books in (exchange[0], streams[0], ledger[0])]
        if len(set(values)) > 1:
            problems.append(
                f"{name}: exchange {values[0]}, streams {values[1]}, ledger {values[2]}"
            )
    return Comparison(
        exchange=exchange[0],
        streams=streams[0],
        ledger=ledger[0],
        resting_after_t2=exchange[1],
        problems=tuple(problems),
    )
