"""From streams to a capture: one day, in order of time, what can't be read counted and left out."""

from datetime import date

import pytest

from lab.capture.export import NothingToExport, export
from lab.capture.format import CaptureReader
from libs.common.bus import Stored
from libs.common.messages import Cause, ExchangeStatus, encode, envelope
from libs.common.topology import subject_of
from tests.lab.capture.messages import DAY_NS, S, tick

DAY = date(2024, 8, 5)


def status(at_ns):
    cause = Cause(f"status {at_ns}", "", at_ns)
    return ExchangeStatus(**envelope(cause, "feeds"), exchange_active=True, trading_active=True)


def reading(**messages):
    """Serve streams from lists, some rows raw bytes, two at a time."""
    rows = {
        name: [
            Stored("raw" if isinstance(one, bytes) else subject_of(one), number, one)
            if isinstance(one, bytes)
            else Stored(subject_of(one), number, encode(one))
            for number, one in enumerate(given, 1)
        ]
        for name, given in messages.items()
    }

    async def read(stream, after, limit):
        del limit
        return [one for one in rows[stream] if one.sequence > after][:2]

    return read


async def exported(tmp_path, day=DAY, **messages):
    path = tmp_path / "x.cap"
    found = await export(reading(**messages), list(messages), day, path, lambda count: None)
    with CaptureReader(path) as reader:
        return found, reader.head, list(reader.read())


async def test_streams_are_merged_in_order_of_time(tmp_path):
    ticks = [tick(DAY_NS + second * S) for second in (1, 3, 5)]
    statuses = [status(DAY_NS + second * S) for second in (0, 4)]
    found, head, records = await exported(tmp_path, TICKS=ticks, STATUS=statuses)
    assert [(one.source, one.sequence, one.at_ns - DAY_NS) for one in records] == [
        ("STATUS", 1, 0),
        ("TICKS", 1, S),
        ("TICKS", 2, 3 * S),
        ("STATUS", 2, 4 * S),
        ("TICKS", 3, 5 * S),
    ]
    assert records[1].data == encode(ticks[0])
    assert found.records == {"TICKS": 3, "STATUS": 2}
    assert found.provenance == "synthetic"
    assert head.kind == "streams"
    assert head.about == {"day": "2024-08-05", "streams": "TICKS,STATUS"}


async def test_other_days_and_unreadable_messages_are_counted_and_left_out(tmp_path):
    ticks = [tick(DAY_NS - 86_400 * S), b"junk", tick(DAY_NS), tick(DAY_NS + 86_400 * S)]
    found, _, records = await exported(tmp_path, TICKS=ticks)
    assert [one.sequence for one in records] == [3]
    assert found.unreadable == {"TICKS": 1}
    assert found.other_days == {"2024-08-04": 1, "2024-08-06": 1}


async def test_a_clock_that_went_back_keeps_the_streams_own_order(tmp_path):
    ticks = [tick(DAY_NS + 5 * S), tick(DAY_NS + 2 * S)]
    _, _, records = await exported(tmp_path, TICKS=ticks)
    assert [(one.sequence, one.at_ns) for one in records] == [
        (1, DAY_NS + 5 * S),
        (2, DAY_NS + 5 * S),
    ]


async def test_a_day_that_is_not_there_says_which_are_and_leaves_no_file(tmp_path):
    with pytest.raises(NothingToExport, match="expected messages of 2024-08-07, found 2024-08-05"):
        await exported(tmp_path, day=date(2024, 8, 7), TICKS=[tick(DAY_NS)])
    assert not (tmp_path / "x.cap").exists()
