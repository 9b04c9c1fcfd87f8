"""Raw copies as feeds' inputs: the live code reads the frames; what REST brought comes along."""

import json
from datetime import date

import pytest

from lab.capture.errors import NotACapture
from lab.capture.raw import RawFeeds
from libs.common.messages import Cause, ExchangeStatus, LadderDefined, PriceRange, envelope
from libs.kalshi.ws_events import Delta, Gap, Snapshot, Subscribed
from services.feeds import events as f
from tests.lab.capture.messages import DAY_NS, S, clock_sample

DAY = date(2024, 8, 5)
EVENT = "KXINXU-24AUG05H1200"
TICKER = f"{EVENT}-T5199.9999"
MS = DAY_NS // 1_000_000


def bar(second):
    shown = {"ev": "A", "sym": "I:SPX", "op": 5200, "o": 5200, "c": 5200.25, "h": 5201, "l": 5199}
    return json.dumps([shown | {"s": MS + 1_000 * second - 1_000, "e": MS + 1_000 * second}])


def subscribed(sid):
    message = {"channel": "orderbook_delta", "sid": sid}
    return json.dumps({"type": "subscribed", "id": 1, "msg": message})


def snapshot(sid, seq):
    message = {
        "market_ticker": TICKER,
        "market_id": "m",
        "clock": 1,
        "yes_dollars_fp": [["0.4000", "5.00"]],
        "no_dollars_fp": [["0.6000", "5.00"]],
    }
    return json.dumps({"type": "orderbook_snapshot", "sid": sid, "seq": seq, "msg": message})


def delta(sid, seq, change="1.00"):
    message = {
        "market_ticker": TICKER,
        "market_id": "m",
        "price_dollars": "0.4100",
        "delta_fp": change,
        "side": "yes",
        "ts": "2024-08-05T16:00:00Z",
        "ts_ms": MS,
    }
    return json.dumps({"type": "orderbook_delta", "sid": sid, "seq": seq, "msg": message})


def write(folder, feed, *rows):
    folder.mkdir(exist_ok=True)
    lines = [
        row if isinstance(row, str) else json.dumps({"recv_ns": row[0], "raw": row[1]})
        for row in rows
    ]
    (folder / f"{feed}-2024-08-05.jsonl").write_text("\n".join(lines) + "\n")


def told():
    def cause(at_ns):
        return Cause(f"told {at_ns}", "", at_ns)

    listed = LadderDefined(
        **envelope(cause(DAY_NS), "feeds"),
        ladder_id="l",
        event_ticker=EVENT,
        series_ticker="KXINXU",
        family="INXU",
        symbol="I:SPX",
        kind="nested",
        target_ns=DAY_NS + 900 * S,
        close_ns=DAY_NS + 900 * S,
        tickers=(TICKER,),
        strike_types=("greater",),
        floors_e4=(51_999_999,),
        caps_e4=(None,),
        price_ranges=(PriceRange(0, 10_000, 100),),
    )
    status = ExchangeStatus(
        **envelope(cause(DAY_NS + 1), "feeds"), exchange_active=True, trading_active=True
    )
    return [listed, status, clock_sample(DAY_NS + 2, "c")]


def events(folder):
    raw = RawFeeds(folder, DAY)
    return raw, list(raw.events(told()))


def books(found):
    heard = [frame for one in found if isinstance(one, f.BooksHeard) for frame in one.events]
    return [frame for frame in heard if not isinstance(frame, Subscribed)]


def test_frames_bars_and_what_feeds_said_come_in_order_of_time(tmp_path):
    write(tmp_path, f.INDEX, (DAY_NS + 3 * S, bar(3)), (DAY_NS + 5 * S, bar(5)))
    rows = (subscribed(7), snapshot(7, 1), delta(7, 2))
    write(tmp_path, f.LADDERS, *((DAY_NS + 4 * S + n, text) for n, text in enumerate(rows)))
    raw, found = events(tmp_path)
    assert [one.now_ns for one in found] == sorted(one.now_ns for one in found)
    assert isinstance(found[0], f.Started)
    (listed,) = [one for one in found if isinstance(one, f.LaddersListed)]
    assert [rung.ticker for rung in listed.ladders[0].rungs] == [TICKER]
    bars = [one for one in found if isinstance(one, f.IndexBar)]
    assert [(one.level_e4, one.end_ns) for one in bars] == [
        (52_002_500, DAY_NS + 3 * S),
        (52_002_500, DAY_NS + 5 * S),
    ]
    book, change = books(found)
    assert isinstance(book, Snapshot)
    assert (book.bids, book.asks) == (((4_000, 500),), ((6_000, 500),))
    assert isinstance(change, Delta)
    assert (change.side, change.price_e4, change.change_e2) == ("bid", 4_100, 100)
    assert any(isinstance(one, f.FeedAlive) for one in found)
    assert raw.lines == 5


def test_a_new_connection_makes_the_books_anew_and_a_hole_is_a_gap(tmp_path):
    rows = (subscribed(7), snapshot(7, 1), delta(7, 3), subscribed(8), snapshot(8, 1), delta(8, 2))
    write(tmp_path, f.LADDERS, *((DAY_NS + S + n, text) for n, text in enumerate(rows)))
    kinds = [type(one) for one in books(events(tmp_path)[1])]
    assert kinds == [Snapshot, Gap, Gap, Snapshot, Delta]


def test_what_cannot_be_read_or_is_of_another_day_is_counted(tmp_path):
    write(
        tmp_path,
        f.INDEX,
        (DAY_NS - 86_400 * S, bar(0)),
        "half a li",
        (DAY_NS + S, "no frame"),
        (DAY_NS + 2 * S, bar(2)),
    )
    raw, found = events(tmp_path)
    assert raw.unreadable == {f.INDEX: 1}
    assert raw.other_days == {"2024-08-04": 1}
    assert sum(isinstance(one, f.IndexBar) for one in found) == 1


def test_no_raw_copies_are_named(tmp_path):
    with pytest.raises(NotACapture, match="expected raw copies"):
        RawFeeds(tmp_path, DAY)
