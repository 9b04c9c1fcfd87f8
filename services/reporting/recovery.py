"""Fold what the ledger already holds into the core, before the streams go on from there."""

# ruff: noqa: S608 (the statements are built of message tags and integers)

from collections.abc import Callable

from libs.common import messages as m
from libs.common.messages import Message, decode
from services.reporting.ledger import Ledger

PAGE_ROWS = 5_000
TICKS_PER_SYMBOL = 20_000
PAGES_MAX = 2_000

Fold = Callable[[Message, str, int], None]


def fold_ledger(ledger: Ledger, since_ns: int, fold: Fold) -> int:
    """Give `fold` each stored message that the core needs, in stream order; return how many.

    Bounded: fills and settlements since `since_ns`, one intent per market, the newest
    definition per event, the newest prints per index.
    """
    folded = 0
    for sql in _selections(since_ns):
        after = 0
        for _ in range(PAGES_MAX):
            page = ledger.query(
                f"SELECT stream, seq, payload FROM ({sql}) WHERE seq > {after} "
                f"ORDER BY seq LIMIT {PAGE_ROWS}"
            )
            for stream, seq, payload in page.rows:
                after = int(seq)
                fold(decode(str(payload).encode()), str(stream), after)
            folded += len(page.rows)
            if len(page.rows) < PAGE_ROWS:
                break
    return folded


def _selections(since_ns: int) -> tuple[str, ...]:
    recent = f"ts_pub >= fromUnixTimestamp64Nano(toInt64({since_ns}))"
    tick, defined, intent = (m.tag_of(t) for t in (m.IndexTick, m.LadderDefined, m.OrderIntent))
    fills = ", ".join(f"'{m.tag_of(kind)}'" for kind in (m.Fill, m.ExchangeSettlement))
    settled = m.tag_of(m.Settlement)
    columns = "SELECT stream, seq, payload FROM messages FINAL WHERE"
    return (
        f"{columns} stream = 'TICKS' AND type = '{tick}' AND {recent} "
        f"ORDER BY seq DESC LIMIT {TICKS_PER_SYMBOL} BY subject",
        f"{columns} stream = 'LADDERS' AND type = '{defined}' AND {recent} "
        "ORDER BY seq DESC LIMIT 1 BY subject",
        f"{columns} stream = 'ORDERS' AND type = '{intent}' AND {recent} "
        "ORDER BY seq LIMIT 1 BY JSONExtractString(payload, 'ticker')",
        f"{columns} stream = 'FILLS' AND type IN ({fills}) AND {recent}",
        f"{columns} stream = 'STATUS' AND type = '{settled}' AND {recent}",
    )
