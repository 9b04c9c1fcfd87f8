"""Messages of feeds and risk, a few of each, at times of our choosing."""

from libs.common.messages import Cause, ClockSample, IndexTick, envelope

S = 1_000_000_000
DAY_NS = 1_722_873_600 * S
"""2024-08-05 12:00 in New York."""


def clock_sample(at_ns, name):
    cause = Cause(name, name, at_ns)
    return ClockSample(**envelope(cause, "feeds"), reference="x", skew_ns=0, uncertainty_ns=0)


def tick(at_ns, level_e4=52_000_000, symbol="I:SPX"):
    cause = Cause.first("bar", f"{symbol}|{at_ns}", at_ns)
    return IndexTick(
        **envelope(cause, "feeds"),
        symbol=symbol,
        level_e4=level_e4,
        bar_start_ns=at_ns - S,
        bar_end_ns=at_ns,
        recv_ns=at_ns,
        provenance="synthetic",
    )
