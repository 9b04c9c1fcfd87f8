"""The session that the report and the books are checked on.

The index prints 5154.23 at noon. What we did, and what it must come to by hand:

| market       | fill              | settles | payout | less paid        | less fees | P&L       |
|--------------|-------------------|---------|--------|------------------|-----------|-----------|
| > 5149.9999  | buy 1.00 @ .45    | yes     | +1.00  | -0.45            | 0         | +0.550000 |
| > 5159.9999  | sell 2.00 @ .30   | no      | 0      | +0.60            | .003675   | +0.596325 |
| > 5169.9999  | buy 0.50 @ .20    | no      | 0      | -0.10            | 0         | -0.100000 |

Sum +1.046325. Expected at quote time: 1.00 × .06 + 2.00 × .05 + 0.50 × .051 = 0.1855.
Cash of the fills as the exchange moves it (a sold YES locks 1 - .30): -.45 - 1.40 - .10 less
the fee = -1.953675. It pays 1.00 + 2.00 + 0 = 3.00 at settlement, and -1.953675 + 3 = 1.046325.
"""

from libs.common import messages as m
from libs.common.effects import Publish, Received
from services.reporting.core import ReportingCore, SettlementPolicy
from services.reporting.events import Inserted, Recovered
from tests.services.reporting.making import (
    TARGET_NS,
    S,
    Streams,
    envelope,
    fill,
    heartbeat,
    intent,
    ladder,
    paid,
    sized,
    tick,
    troubles,
    update,
    verdict,
)

LEVEL_E4 = 51_542_300


def traded_session() -> Streams:
    """Return the streams of the session above, our settlements by the core included."""
    streams = Streams()
    streams.add(ladder())
    for second in range(-3, 3):
        streams.add(tick(TARGET_NS + second * S, LEVEL_E4 + second * 100))
    quotes = (
        sized(0, "bid", 4_500, 60_000),
        sized(1, "ask", 3_000, 50_000),
        sized(2, "bid", 2_000, 51_000),
    )
    streams.add(verdict("v1", quotes), verdict("v2", (), failed="polygon_ws_stale"))
    streams.add(
        m.BrokerEpoch(
            **envelope("epoch-1", TARGET_NS - 800 * S, "broker"),
            epoch=1,
            broker="broker-1",
            account="pilot",
        )
    )
    one = intent("c1", 0, "bid", 4_500, 100, "v1")
    two = intent("c2", 1, "ask", 3_000, 200, "v1")
    three = intent("c3", 2, "bid", 2_000, 100, "v1")
    four = intent("c4", 2, "ask", 9_000, 100, "v1")
    streams.add(one, two, three, four)
    streams.add(update(one, "resting"), update(two, "resting"), update(three, "resting"))
    streams.add(update(four, "rejected", order_id="", reason="post only cross"))
    streams.add(fill(one, "t1", 100), fill(two, "t2", 150, fee_e6=2_756))
    streams.add(fill(two, "t3", 50, fee_e6=919), fill(three, "t4", 50))
    streams.add(update(one, "filled", filled_e2=100), update(two, "filled", filled_e2=200))
    streams.add(update(three, "cancelled", filled_e2=50, reason="cancel_all T-2s"))
    streams.add(paid(0, "yes", 100, 0, 1_000_000), paid(1, "no", 0, 200, 2_000_000))
    streams.add(paid(2, "no", 50, 0, 0))
    streams.add(heartbeat("broker", "broker-11", TARGET_NS - 400 * S))
    streams.add(heartbeat("broker", "broker-12", TARGET_NS - 200 * S))
    streams.add(*troubles(TARGET_NS - 100 * S))
    streams.add(*settled_by_core(streams))
    return streams


def settled_by_core(streams: Streams, now_ns: int = TARGET_NS + 100 * S) -> list[m.Settlement]:
    """Return what the core publishes when it is told all that the streams hold."""
    core = ReportingCore("reporting", SettlementPolicy())
    for stream, held in streams.stored.items():
        for stored in held:
            message = m.decode(stored.data)
            core.handle(
                Received(now_ns=now_ns, message=message, stream=stream, sequence=stored.sequence)
            )
    core.handle(Inserted(now_ns=now_ns, watermarks={}, rows=1, news=1))
    effects = core.handle(Recovered(now_ns=now_ns))
    published = [effect.message for effect in effects if isinstance(effect, Publish)]
    return [message for message in published if isinstance(message, m.Settlement)]
