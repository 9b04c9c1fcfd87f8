"""The stream's protocol core: recorded frames, gaps, terminal errors, repetitions."""

from typing import Any

import msgspec
import pytest

from libs.kalshi.wire.frames import FillUpdate, OrderUpdate, Trade
from libs.kalshi.ws import BOOKS, KalshiStream
from libs.kalshi.ws_events import (
    BadFrame,
    Command,
    Delta,
    Gap,
    Reconnect,
    Snapshot,
    StreamError,
    StreamEvent,
    Subscribed,
    UnknownFrame,
)
from tests.shared_data import shared_file

MS = 1_000_000
S = 1_000_000_000
A, B = "KXINXU-26OCT02H1100-T7869.9999", "KXINXU-26OCT02H1100-T7879.9999"


def text(**fields: Any) -> str:
    return msgspec.json.encode(fields).decode() + "\n"


def subscribed(channel: str, sid: int, id: int = 1) -> str:
    return text(type="subscribed", id=id, msg={"channel": channel, "sid": sid})


def snapshot(ticker: str, seq: int, sid: int = 1, **sides: Any) -> str:
    msg = {"market_ticker": ticker, "market_id": "m", "clock": 7} | sides
    return text(type="orderbook_snapshot", sid=sid, seq=seq, msg=msg)


def delta(ticker: str, seq: int, sid: int = 1, **fields: Any) -> str:
    msg = {
        "market_ticker": ticker,
        "market_id": "m",
        "clock": 8,
        "price_dollars": "0.4700",
        "delta_fp": "-3.00",
        "side": "yes",
    } | fields
    return text(type="orderbook_delta", sid=sid, seq=seq, msg=msg)


def error(code: int, **fields: Any) -> str:
    return text(type="error", msg={"code": code, "msg": "m"}, **fields)


def commands(events: list[StreamEvent]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(one.text) for one in events if isinstance(one, Command)]


def kinds(events: list[StreamEvent]) -> list[type]:
    return [type(event) for event in events]


def live_stream(*tickers: str) -> KalshiStream:
    """Return a connected stream whose books have their snapshots; the next seq follows."""
    stream = KalshiStream()
    stream.want(BOOKS, tickers, now_ns=0)
    stream.on_connected(0)
    stream.on_text(subscribed(BOOKS, 1), 0)
    for seq, ticker in enumerate(tickers, 1):
        stream.on_text(snapshot(ticker, seq), 0)
    assert not any(stream.is_stale(ticker) for ticker in tickers)
    return stream


def test_subscribing_says_use_yes_price_and_counts_ids_up() -> None:
    stream = KalshiStream()
    assert stream.want(BOOKS, [A, B], now_ns=0) == []
    assert stream.want("fill", now_ns=0) == []
    assert commands(stream.on_connected(0)) == [
        {
            "id": 1,
            "cmd": "subscribe",
            "params": {"channels": [BOOKS], "use_yes_price": True, "market_tickers": [A, B]},
        },
        {"id": 2, "cmd": "subscribe", "params": {"channels": ["fill"]}},
    ]
    assert stream.on_text(subscribed(BOOKS, 1), 0) == [Subscribed(BOOKS, 1)]
    assert stream.is_stale(A)
    assert commands([stream.probe()])[0] == {"id": 3, "cmd": "list_subscriptions"}


def test_books_come_in_yes_prices_and_empty_sides_are_omitted() -> None:
    stream = KalshiStream()
    stream.want(BOOKS, [A], now_ns=0)
    stream.on_connected(0)
    stream.on_text(subscribed(BOOKS, 1), 0)
    got = stream.on_text(snapshot(A, 1, no_dollars_fp=[["0.5200", "1.00"]]), 0)
    assert got == [Snapshot(A, (), ((5200, 100),), 1, 1, 7)]
    got = stream.on_text(delta(A, 2, side="no", price_dollars="0.5200", ts_ms=5), 0)
    assert got == [Delta(A, "ask", 5200, -300, 1, 2, 8, 5 * MS, None)]


@pytest.mark.parametrize(
    ("name", "use_yes_price", "ask_e4"),
    [("ws__orderbook_trade_noleg", False, 5200), ("ws__orderbook_trade_yes", True, 5200)],
)
def test_recorded_frames(name: str, use_yes_price: bool, ask_e4: int) -> None:
    ticker = "KXWTACHALLENGERMATCH-26JUN11JIMLEP-LEP"
    stream = KalshiStream(use_yes_price=use_yes_price)
    stream.want(BOOKS, [ticker], now_ns=0)
    stream.want("trade", [ticker], now_ns=0)
    stream.on_connected(0)
    events: list[StreamEvent] = []
    for line in shared_file(f"kalshi/recorded/{name}.jsonl").read_text().splitlines():
        if line:
            events += stream.on_text(line, 0)
    assert events[:2] == [Subscribed(BOOKS, 1), Subscribed("trade", 2)]
    book = events[2]
    assert isinstance(book, Snapshot)
    assert book.bids == ((4700, 300),)
    assert book.asks[0][0] == ask_e4
    rest = events[3:]
    assert len(rest) >= 2
    assert all(isinstance(event, Delta) for event in rest)
    asks = {event.price_e4 for event in rest if isinstance(event, Delta) and event.side == "ask"}
    assert asks == {ask_e4}


def test_a_gap_makes_every_book_of_the_subscription_stale() -> None:
    stream = live_stream(A, B)
    events = stream.on_text(delta(A, 4), S)
    assert events[0] == Gap(BOOKS, (A, B), "expected seq 3, got 4")
    assert commands(events) == [
        {
            "id": 2,
            "cmd": "update_subscription",
            "params": {"sids": [1], "market_tickers": [A, B], "action": "get_snapshot"},
        }
    ]
    assert len(events) == 2  # the delta itself is dropped
    assert stream.on_text(delta(B, 5), S) == []
    assert kinds(stream.on_text(snapshot(A, 6), S)) == [Snapshot]
    assert not stream.is_stale(A)
    assert stream.is_stale(B)
    assert kinds(stream.on_text(delta(A, 7), S)) == [Delta]
    assert stream.on_text(delta(B, 8), S) == []
    assert kinds(stream.on_text(snapshot(B, 9), S)) == [Snapshot]
    assert kinds(stream.on_text(delta(B, 10), S)) == [Delta]


def test_an_exact_repetition_is_dropped_and_harms_nothing() -> None:
    stream = live_stream(A)
    assert kinds(stream.on_text(delta(A, 2), 0)) == [Delta]
    assert stream.on_text(delta(A, 2), 0) == []
    assert not stream.is_stale(A)
    assert kinds(stream.on_text(delta(A, 3), 0)) == [Delta]


@pytest.mark.parametrize("seq", [1, 2, 0, -5, 10**30])
def test_a_sequence_that_goes_back_is_a_gap(seq: int) -> None:
    stream = live_stream(A)
    stream.on_text(delta(A, 2), 0)
    events = stream.on_text(delta(A, seq, delta_fp="9.00"), S)
    assert kinds(events)[0] in (Gap, BadFrame)
    assert not any(isinstance(event, Delta) for event in events)


def test_snapshots_are_asked_for_again_until_they_come() -> None:
    stream = live_stream(A)
    assert len(commands(stream.on_text(delta(A, 5), 10 * S))) == 1
    assert stream.on_tick(10 * S + 900 * MS) == []
    assert len(commands(stream.on_tick(11 * S))) == 1
    assert stream.on_tick(12 * S) == []  # the wait doubles
    assert len(commands(stream.on_tick(13 * S))) == 1
    assert kinds(stream.on_text(snapshot(A, 6), 13 * S)) == [Snapshot]
    assert stream.on_tick(14 * S - 1) == []


def test_a_quiet_subscription_is_asked_for_one_book_after_the_other() -> None:
    stream = live_stream(A, B)
    assert stream.on_tick(S - 1) == []
    asked = []
    for second in range(1, 5):
        (command,) = commands(stream.on_tick(second * S))
        assert command["params"]["action"] == "get_snapshot"
        (ticker,) = command["params"]["market_tickers"]
        asked.append(ticker)
        assert stream.on_tick(second * S) == []  # one is enough
        assert kinds(stream.on_text(snapshot(ticker, 2 + second), second * S)) == [Snapshot]
    assert sorted(asked) == [A, A, B, B]


def test_a_loss_at_the_end_shows_within_a_second() -> None:
    """The last delta was lost and the market is quiet: nothing else would ever tell."""
    stream = live_stream(A, B)
    (command,) = commands(stream.on_tick(S))
    (ticker,) = command["params"]["market_tickers"]
    events = stream.on_text(snapshot(ticker, 4), S)
    assert events[0] == Gap(BOOKS, (A, B), "expected seq 3, got 4")
    assert (stream.is_stale(A), stream.is_stale(B)) == (ticker != A, ticker != B)


def test_a_subscription_that_does_not_answer_is_taken_up_anew() -> None:
    stream = live_stream(A)
    assert len(commands(stream.on_tick(S))) == 1
    assert stream.on_tick(6 * S - 1) == []
    assert stream.heard_ns(BOOKS) == 0  # nobody vouches for the books meanwhile
    events = stream.on_tick(6 * S)
    assert kinds(events) == [Gap, Command]
    assert stream.is_stale(A)
    assert commands(events)[0]["cmd"] == "subscribe"
    assert stream.heard_ns(BOOKS) is None


def test_a_refused_check_is_an_answer() -> None:
    stream = live_stream(A)
    (command,) = commands(stream.on_tick(S))
    assert kinds(stream.on_text(error(11, id=command["id"]), S)) == [StreamError]
    assert not stream.is_stale(A)
    assert len(commands(stream.on_tick(2 * S))) == 1


def test_the_exchange_s_stamp_of_the_last_book_message_is_kept() -> None:
    stream = live_stream(A)
    assert stream.books_sent_ns() is None  # recordings of June 2026 have none
    stamped = msgspec.json.decode(delta(A, 2)) | {"sending_ts_ms": 1_790_952_300_123}
    stream.on_text(msgspec.json.encode(stamped), 0)
    assert stream.books_sent_ns() == 1_790_952_300_123 * MS
    stream.on_disconnected("gone")
    assert stream.books_sent_ns() is None


def test_a_storm_of_gaps_asks_at_a_bounded_rate() -> None:
    stream = live_stream(A)
    asked = 0
    for index in range(1000):
        asked += len(commands(stream.on_text(delta(A, 10 + 2 * index), 10 * S + index * MS)))
        asked += len(commands(stream.on_tick(10 * S + index * MS)))
    assert asked <= 6


def test_a_gap_elsewhere_leaves_books_alone() -> None:
    stream = live_stream(A)
    stream.want("trade", now_ns=0)
    stream.on_text(subscribed("trade", 2), 0)
    trade = {
        "trade_id": "t",
        "market_ticker": A,
        "yes_price_dollars": "0.4700",
        "no_price_dollars": "0.5300",
        "count_fp": "1.50",
        "taker_side": "no",
        "taker_outcome_side": "no",
        "taker_book_side": "ask",
        "ts": 1,
        "ts_ms": 1000,
    }
    events = stream.on_text(text(type="trade", sid=2, seq=3, msg=trade), 0)
    assert events == [
        Gap("trade", (), "expected seq 1, got 3"),
        Trade("t", A, 4700, 150, "ask", S),
    ]
    assert not stream.is_stale(A)


def test_answers_on_a_subscription_are_part_of_its_sequence() -> None:
    stream = live_stream(A)
    added = stream.want(BOOKS, [B], now_ns=0)
    assert commands(added)[0]["params"] == {
        "sids": [1],
        "market_tickers": [B],
        "action": "add_markets",
    }
    ok = text(type="ok", id=2, sid=1, seq=2, msg={"market_tickers": [A, B]})
    assert stream.on_text(ok, 0) == []
    assert kinds(stream.on_text(snapshot(B, 3), 0)) == [Snapshot]
    assert not stream.is_stale(B)


def test_markets_wanted_while_subscribing_are_added_afterwards() -> None:
    stream = KalshiStream()
    stream.want(BOOKS, [A], now_ns=0)
    stream.on_connected(0)
    assert stream.want(BOOKS, [B], now_ns=0) == []
    assert commands(stream.on_text(subscribed(BOOKS, 1), 0))[0]["params"] == {
        "sids": [1],
        "market_tickers": [B],
        "action": "add_markets",
    }


def test_a_dropped_market_is_heard_no_more() -> None:
    stream = live_stream(A, B)
    assert commands(stream.drop(BOOKS, [A, "never wanted"]))[0]["params"] == {
        "sids": [1],
        "market_tickers": [A],
        "action": "delete_markets",
    }
    assert stream.on_text(delta(A, 3), 0) == []
    assert stream.is_stale(A)
    assert kinds(stream.on_text(delta(B, 4), 0)) == [Delta]


@pytest.mark.parametrize("code", [10, 25])
def test_terminal_errors_resubscribe(code: int) -> None:
    stream = live_stream(A)
    events = stream.on_text(error(code, sid=1), 100 * S)
    assert kinds(events) == [StreamError, Gap, Command]
    assert commands(events)[0]["cmd"] == "subscribe"
    assert stream.is_stale(A)
    assert stream.on_text(delta(A, 2), 100 * S) == []  # the old subscription's
    stream.on_text(subscribed(BOOKS, 2), 100 * S)
    assert kinds(stream.on_text(snapshot(A, 1, sid=2), 100 * S)) == [Snapshot]
    assert not stream.is_stale(A)


def test_terminal_errors_in_a_row_end_the_connection() -> None:
    stream = live_stream(A)
    for sid in (1, 2, 3):
        assert Reconnect not in kinds(stream.on_text(error(25, sid=sid), 100 * S))
        stream.on_text(subscribed(BOOKS, sid + 1), 100 * S)
    assert kinds(stream.on_text(error(25, sid=4), 101 * S))[-1] is Reconnect
    assert kinds(live_stream(A).on_text(error(10), 0)) == [StreamError, Reconnect]


def test_a_subscription_that_the_exchange_does_not_know_is_taken_up_again() -> None:
    """Error 7 answers a command about a sid: without this its books would stay stale."""
    stream = live_stream(A)
    asked = commands(stream.on_text(delta(A, 5), 100 * S))  # a gap, so get_snapshot of sid 1
    events = stream.on_text(error(7, id=asked[0]["id"]), 100 * S)
    assert kinds(events) == [StreamError, Gap, Command]
    assert commands(events)[0]["cmd"] == "subscribe"
    stream.on_text(subscribed(BOOKS, 2), 100 * S)
    late = error(7, id=asked[0]["id"])
    assert kinds(stream.on_text(late, 100 * S)) == [StreamError]  # about the one we left


def test_other_errors_are_reported_with_their_channel() -> None:
    stream = KalshiStream()
    stream.want(BOOKS, [A], now_ns=0)
    stream.on_connected(0)
    assert stream.on_text(error(8, id=1), 0) == [StreamError(8, "m", BOOKS, ())]
    assert stream.on_tick(60 * S) == []  # a refusal is not repeated for ever
    assert len(commands(stream.want(BOOKS, [B], now_ns=0))) == 1  # but a new wish is tried


def test_an_unanswered_subscribe_ends_the_connection() -> None:
    stream = KalshiStream()
    stream.want(BOOKS, [A], now_ns=0)
    stream.on_connected(0)
    assert stream.on_text(error(18, id=1), 0) == [StreamError(18, "m", BOOKS, ())]
    assert stream.on_tick(4 * S) == []
    assert kinds(stream.on_tick(5 * S)) == [Reconnect]


def test_a_subscription_that_is_no_longer_listed_is_taken_up_again() -> None:
    stream = live_stream(A)
    stream.probe()
    assert stream.on_text(text(type="ok", id=2, msg=[{"channel": BOOKS, "sid": 1}]), 0) == []
    stream.probe()
    events = stream.on_text(text(type="ok", id=3, msg=[]), 0)
    assert kinds(events) == [Gap, Command]
    assert stream.is_stale(A)


def test_a_subscription_that_takes_the_place_of_another_begins_with_stale_books() -> None:
    stream = live_stream(A, B)
    events = stream.on_text(subscribed(BOOKS, 9), S)
    assert kinds(events) == [Gap, Subscribed]
    assert stream.is_stale(A)
    assert stream.is_stale(B)
    stream.on_text(snapshot(A, 1, sid=9), S)
    assert (stream.is_stale(A), stream.is_stale(B)) == (False, True)


def test_a_lost_connection_makes_all_stale_and_ids_go_on() -> None:
    stream = live_stream(A)
    assert stream.on_disconnected("gone") == [Gap(BOOKS, (A,), "gone", ended=True)]
    assert stream.is_stale(A)
    assert commands(stream.on_connected(0))[0]["id"] == 2
    stream.on_text(subscribed(BOOKS, 1), 0)
    assert kinds(stream.on_text(snapshot(A, 1), 0)) == [Snapshot]


def test_an_unreadable_frame_of_a_subscription_counts_as_lost() -> None:
    stream = live_stream(A)
    events = stream.on_text(delta(A, 2, price_dollars="cheap"), S)
    assert kinds(events) == [BadFrame, Gap, Command]
    assert stream.is_stale(A)


@pytest.mark.parametrize("frame", ["", "\n", "hello", "[]", "{}", '{"type":5}', "\ud800", b"\xff"])
def test_garbage_is_reported_and_changes_nothing(frame: str | bytes) -> None:
    stream = live_stream(A)
    assert kinds(stream.on_text(frame, 0)) == [BadFrame]
    assert not stream.is_stale(A)


def test_frames_of_new_types_are_passed_over() -> None:
    stream = live_stream(A)
    assert stream.on_text(text(type="new_thing", msg={"x": 1}), 0) == [UnknownFrame("new_thing")]
    assert stream.on_text(text(type="new_thing", sid=1, seq=2), 0) == [UnknownFrame("new_thing")]
    assert kinds(stream.on_text(delta(A, 3), 0)) == [Delta]


def test_own_fills_and_orders_come_in_our_units() -> None:
    stream = KalshiStream()
    stream.want("fill", now_ns=0)
    stream.want("user_orders", now_ns=0)
    stream.on_connected(0)
    stream.on_text(subscribed("fill", 1), 0)
    stream.on_text(subscribed("user_orders", 2), 0)
    fill = {
        "trade_id": "t",
        "order_id": "o",
        "client_order_id": "c",
        "market_ticker": A,
        "exchange_index": 0,
        "is_taker": False,
        "side": "yes",  # deprecated and never read
        "yes_price_dollars": "0.5300",
        "count_fp": "2.50",
        "fee_cost": "0.007739",
        "action": "sell",
        "outcome_side": "no",
        "book_side": "ask",
        "ts": 1,
        "ts_ms": 1500,
        "post_position_fp": "-2.50",
        "purchased_side": "no",
    }
    assert stream.on_text(text(type="fill", sid=1, msg=fill), 0) == [
        FillUpdate("t", "o", A, "ask", 5300, 250, 7739, False, 1500 * MS, -250, "c")
    ]
    order = {
        "order_id": "o",
        "user_id": "u",
        "ticker": A,
        "exchange_index": 0,
        "status": "canceled",
        "side": "no",
        "is_yes": False,
        "outcome_side": "no",
        "book_side": "ask",
        "yes_price_dollars": "0.5300",
        "fill_count_fp": "2.50",
        "remaining_count_fp": "0.00",
        "initial_count_fp": "4.00",
        "taker_fill_cost_dollars": "0.000000",
        "maker_fill_cost_dollars": "1.175000",
        "taker_fees_dollars": "0.000000",
        "maker_fees_dollars": "0.007739",
        "client_order_id": "c",
        "created_time": None,
        "created_ts_ms": None,
        "last_update_reason": "ExpiryCancel",
        "last_updated_ts_ms": 2500,
    }
    (update,) = stream.on_text(text(type="user_order", sid=2, msg=order), 0)
    assert isinstance(update, OrderUpdate)
    assert (update.side, update.price_e4, update.filled_e2) == ("ask", 5300, 250)
    assert (update.initial_e2, update.remaining_e2, update.maker_fees_e6) == (400, 0, 7739)
    assert (update.created_ns, update.updated_ns) == (None, 2500 * MS)
    assert update.last_update_reason == "ExpiryCancel"


def test_many_markets_are_asked_for_in_parts() -> None:
    tickers = [f"T{index}" for index in range(1200)]
    stream = KalshiStream()
    stream.want(BOOKS, tickers, now_ns=0)
    first = commands(stream.on_connected(0))
    rest = commands(stream.on_text(subscribed(BOOKS, 1), 0))
    asked = [name for one in first + rest for name in one["params"]["market_tickers"]]
    assert asked == tickers
    assert max(len(one["params"]["market_tickers"]) for one in first + rest) == 500


def test_books_without_markets_are_refused() -> None:
    with pytest.raises(ValueError, match="market tickers"):
        KalshiStream().want(BOOKS, now_ns=0)
