"""Read a truth log back and add up what each account did, to compare with somebody's ledger."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field, structs


class TruthError(ValueError):
    """A truth log that cannot be read or contradicts itself; says in which line."""


class OrderBook(Struct, kw_only=True):
    """One order's life: times, the counts in e2, and how it ended."""

    order_id: str
    client_order_id: str
    ticker: str
    count_e2: int
    accepted_ns: int
    filled_e2: int = 0
    remaining_e2: int = 0
    ended_ns: int | None = None
    reason: str = ""


class AccountBooks(Struct, kw_only=True):
    """One account's totals: counts in e2, money in e6, its orders by id and its trade ids."""

    account: str
    orders: dict[str, OrderBook] = field(default_factory=dict)
    fills: list[dict[str, Any]] = field(default_factory=list)
    filled_e2: int = 0
    fees_e6: int = 0
    cash_flow_e6: int = 0
    settlement_e6: int = 0
    positions_e2: dict[str, int] = field(default_factory=dict)

    def resting_at(self, at_ns: int) -> list[OrderBook]:
        """Return the orders that were on the book just after `at_ns`."""
        return [
            order
            for order in self.orders.values()
            if order.accepted_ns <= at_ns and (order.ended_ns is None or order.ended_ns > at_ns)
        ]

    def resting_after(self, at_ns: int) -> list[OrderBook]:
        """Return the orders that were on the book at any time after `at_ns`, however briefly."""
        return [
            order
            for order in self.orders.values()
            if order.ended_ns is None or order.ended_ns > at_ns
        ]


class WriteRequest(Struct, frozen=True, kw_only=True):
    """A write request as it came in; `status` is 0 when the log ends before its answer.

    `key_id` is what the caller claimed: with a status of 401 it proved nothing.
    """

    number: int
    received_ns: int
    key_id: str
    call: str
    body: str
    status: int = 0
    answer: Any = None


def read_requests(path: Path) -> list[WriteRequest]:
    """Return every write request that the exchange got, in order; raises TruthError."""
    requests: dict[int, WriteRequest] = {}
    for number, line in _numbered(path):
        if line["kind"] == "request":
            requests[number] = WriteRequest(
                number=number,
                received_ns=line["received_ns"],
                key_id=line["key_id"],
                call=line["call"],
                body=line["body"],
            )
        elif line["kind"] == "answer":
            asked = requests[line["request"]]
            answered = structs.replace(asked, status=line["status"], answer=line["body"])
            requests[asked.number] = answered
    return list(requests.values())


def read_books(path: Path) -> dict[str, AccountBooks]:
    """Return each account's books. A torn last line (a crash) is left out; raises TruthError."""
    books: dict[str, AccountBooks] = {}
    for number, line in _numbered(path):
        if "account" not in line:
            continue
        account = books.setdefault(line["account"], AccountBooks(account=line["account"]))
        try:
            _take(account, line)
        except KeyError as error:
            raise TruthError(f"{path}:{number}: expected {error} in a {line['kind']}") from error
    return books


def _numbered(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(path):
        if line.get("n") != number:
            raise TruthError(f"{path}:{number}: expected line number {number}, got {line.get('n')}")
        yield number, line


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    with path.open("rb") as log:
        for number, raw in enumerate(log, start=1):
            if not raw.endswith(b"\n"):
                return
            try:
                yield number, decode(raw)
            except msgspec.DecodeError as error:
                raise TruthError(f"{path}:{number}: expected a JSON object: {error}") from error


def _take(books: AccountBooks, line: dict[str, Any]) -> None:
    match line["kind"]:
        case "order":
            books.orders[line["order_id"]] = OrderBook(
                order_id=line["order_id"],
                client_order_id=line["client_order_id"],
                ticker=line["ticker"],
                count_e2=line["count_e2"],
                accepted_ns=line["at_ns"],
                remaining_e2=line["remaining_e2"],
            )
        case "amend" | "reduce" | "trade" | "end":
            order = books.orders[line["order_id"]]
            order.remaining_e2 = line["remaining_e2"]
            order.client_order_id = line["client_order_id"]
            if line["kind"] == "end":
                order.ended_ns = line["at_ns"]
                order.reason = line["reason"]
        case "fill":
            books.orders[line["order_id"]].filled_e2 += line["count_e2"]
            books.fills.append(line)
            books.filled_e2 += line["count_e2"]
            books.fees_e6 += line["fee_e6"]
            books.cash_flow_e6 += line["cash_change_e6"]
            books.positions_e2[line["ticker"]] = line["position_e2"]
        case "settlement":
            books.settlement_e6 += line["revenue_e6"]
            books.positions_e2[line["ticker"]] = 0
