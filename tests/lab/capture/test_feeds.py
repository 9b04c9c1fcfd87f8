"""What feeds was told comes out of a capture as it went in."""

from lab.capture.feeds import decode_row, event_of, records_of
from services.feeds.events import IndexBar, MinuteBar

NOW = 1_722_873_600_000_000_000
MINUTE = MinuteBar(
    now_ns=NOW,
    symbol="I:SPX",
    open_e4=52_000_000,
    high_e4=52_050_000,
    low_e4=51_980_000,
    close_e4=52_010_000,
    start_ns=NOW - 60_000_000_000,
)
BAR = IndexBar(now_ns=NOW, symbol="I:NDX", level_e4=180_000_000, start_ns=NOW - 10**9, end_ns=NOW)


def test_bars_come_out_as_they_went_in():
    for event in (MINUTE, BAR):
        (record,) = records_of(event)
        assert event_of(decode_row(record.data), record.at_ns) == event
