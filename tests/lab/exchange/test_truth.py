"""The truth log and the books that are read from it."""

import json
from pathlib import Path

import pytest

from lab.exchange.books import TruthError, read_books, read_requests
from lab.exchange.model import Event, NewOrder
from lab.exchange.truth import TruthLog, TruthLogError
from tests.lab.exchange.harness import (
    API,
    EVENT,
    MARKET,
    ORDERS,
    RSA_ID,
    TARGET_NS,
    Exchange,
    S,
    order_body,
    small_engine,
)


async def test_the_books_of_a_session_agree_with_what_the_exchange_answered(
    exchange: Exchange,
) -> None:
    exchange.other_places("ask", 4_000, 400)
    expires_s = TARGET_NS // S - 2
    first = await exchange.call(
        "POST", ORDERS, order_body(client_order_id="one", expiration_time=expires_s)
    )
    second = await exchange.call("POST", ORDERS, order_body(client_order_id="two", price="0.1000"))
    await exchange.call("DELETE", f"{ORDERS}/{second.json()['order_id']}")
    await exchange.call("POST", ORDERS, order_body(client_order_id="three", price="0.2000"))
    exchange.levels["I:SPX"] = 78_700_000
    await exchange.clock.advance_to(TARGET_NS + 10 * S)
    fills = (await exchange.call("GET", "/portfolio/fills")).json()["fills"]
    balance = (await exchange.call("GET", "/portfolio/balance")).json()
    # Every line is in the file already: the server still runs
    books = read_books(exchange.truth_path)[RSA_ID]
    assert {order.client_order_id for order in books.orders.values()} == {"one", "two", "three"}
    one = books.orders[first.json()["order_id"]]
    assert (one.filled_e2, one.reason, one.ended_ns) == (400, "ExpiryCancel", expires_s * S)
    assert [fill["trade_id"] for fill in books.fills] == [fill["trade_id"] for fill in fills]
    assert books.filled_e2 == 400
    assert books.fees_e6 == 67_200
    assert books.cash_flow_e6 == -1_600_000 - 67_200
    assert books.settlement_e6 == 4_000_000
    total_e6 = 10_000_000_000 + books.cash_flow_e6 + books.settlement_e6
    assert balance["balance_dollars"] == f"{total_e6 / 1e6:.4f}"
    three = [order.client_order_id for order in books.resting_at(TARGET_NS - 2 * S)]
    assert three == ["three"]
    assert books.resting_at(TARGET_NS) == []


def test_lines_are_numbered_and_flushed_as_written(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    log = TruthLog(path)
    engine = small_engine()
    engine.listen(log.write)
    engine.place(
        "a", NewOrder(ticker=MARKET, side="bid", price_e4=4_000, count_e2=100), TARGET_NS - S
    )
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["n"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["kind"] == "order"
    assert lines[-1]["price_e4"] == 4_000
    engine.advance(TARGET_NS)
    engine.settle(EVENT, 1, TARGET_NS)
    log.close()
    log.close()
    assert read_books(path)["a"].orders.popitem()[1].reason == "CloseCancel"


async def test_every_write_request_is_in_the_log_with_its_time_key_and_answer(
    exchange: Exchange,
) -> None:
    start_ns = exchange.clock.now_ns()
    placed = await exchange.call("POST", ORDERS, order_body(client_order_id="one"))
    await exchange.call("GET", "/portfolio/orders")
    await exchange.clock.advance_to(start_ns + S)
    await exchange.call("POST", ORDERS, order_body(client_order_id="one"))
    await exchange.call("POST", ORDERS, key_id=None, content=b"{\xff")
    await exchange.call("POST", "/portfolio/orders", {})
    order_id = placed.json()["order_id"]
    await exchange.call("DELETE", f"{ORDERS}/{order_id}")
    requests = read_requests(exchange.truth_path)
    assert [(request.call, request.status) for request in requests] == [
        (f"POST {API}{ORDERS}", 201),
        (f"POST {API}{ORDERS}", 409),
        (f"POST {API}{ORDERS}", 401),
        (f"POST {API}/portfolio/orders", 410),
        (f"DELETE {API}{ORDERS}/{order_id}", 200),
    ]
    times = [request.received_ns - start_ns for request in requests]
    assert times == [0, S, S, S, S]
    assert [request.key_id for request in requests] == [RSA_ID, RSA_ID, "", RSA_ID, RSA_ID]
    assert json.loads(requests[0].body) == order_body(client_order_id="one")
    assert requests[0].answer == placed.json()
    assert requests[1].answer["error"]["code"] == "order_already_exists"
    lines = [json.loads(line) for line in exchange.truth_path.read_text().splitlines()]
    done = {line["kind"]: line["request"] for line in lines if line.get("order_id") == order_id}
    assert done == {"order": requests[0].number, "end": requests[4].number}


async def test_a_request_that_makes_the_exchange_fail_is_in_the_log_too(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError(f"no ear for {event}")

    exchange.engine.listen(broken)
    answer = await exchange.call("POST", ORDERS, order_body())
    assert answer.status_code == 500
    assert "no ear" in caplog.text
    [request] = read_requests(exchange.truth_path)
    assert request.status == 500


def test_pauses_and_groups_are_in_the_log(tmp_path: Path) -> None:
    log = TruthLog(tmp_path / "truth.jsonl")
    engine = small_engine()
    engine.listen(log.write)
    group = engine.groups.create("a", 500)
    engine.groups.trigger(group)
    engine.set_pause(exchange_active=True, trading_active=False, now_ns=TARGET_NS - S)
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
    assert [(line["kind"], line.get("event_type")) for line in lines] == [
        ("group", "created"),
        ("group", "triggered"),
        ("pause", None),
    ]
    assert (lines[2]["exchange_active"], lines[2]["trading_active"]) == (True, False)


def test_an_old_truth_log_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    TruthLog(path).close()
    with pytest.raises(TruthLogError, match="name a new file"):
        TruthLog(path)
    with pytest.raises(TruthLogError, match="expected to create"):
        TruthLog(tmp_path / "no" / "truth.jsonl")


def test_a_torn_last_line_is_left_out_and_a_wrong_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_bytes(b'{"n":1,"at_ns":5,"kind":"account","account":"a"}\n{"n":2,"at')
    assert set(read_books(path)) == {"a"}
    for bad in (b"nonsense\n", b'{"n":7}\n', b'{"n":1,"kind":"order","account":"a"}\n'):
        path.write_bytes(bad)
        with pytest.raises(TruthError, match=":1:"):
            read_books(path)
