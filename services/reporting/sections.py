"""The SQL behind each section of a session report: every figure can be asked for again.

The statements stand by themselves: put one into gRPC `Ledger.Query` and compare.
"""

# ruff: noqa: S608 (event tickers are quoted; everything else is constant)

from collections.abc import Sequence

from libs.common import messages as m
from libs.common.topology import STREAMS
from services.reporting.ledger import quote_text

LEVEL_PRINTS = 4
FEED_SILENCE_S = 2
ROWS_MAX = 2_000

_TICK = f"stream = 'TICKS' AND type = '{m.tag_of(m.IndexTick)}'"
_DEFINED = f"stream = 'LADDERS' AND type = '{m.tag_of(m.LadderDefined)}'"
_VERDICT = f"stream = 'VERDICTS' AND type = '{m.tag_of(m.Verdict)}'"


def events_sql(event_tickers: Sequence[str], session: str) -> str:
    """Return the SQL of the events a report is about: named, of a New York day, or all."""
    where = "1"
    if event_tickers:
        where = f"event_ticker IN ({_listed(event_tickers)})"
    elif session:
        where = f"toDate(target, 'America/New_York') = toDate({quote_text(session)})"
    return f"""SELECT event_ticker, series_ticker, symbol, target_ns, rungs FROM (
    SELECT seq, JSONExtractString(payload, 'event_ticker') AS event_ticker,
        JSONExtractString(payload, 'series_ticker') AS series_ticker,
        JSONExtractString(payload, 'symbol') AS symbol,
        JSONExtract(payload, 'target_ns', 'Int64') AS target_ns,
        JSONLength(payload, 'tickers') AS rungs,
        fromUnixTimestamp64Nano(target_ns, 'UTC') AS target
    FROM messages FINAL WHERE {_DEFINED}
    ORDER BY seq DESC LIMIT 1 BY event_ticker
) WHERE {where} ORDER BY target_ns, event_ticker LIMIT {ROWS_MAX}"""


def window_sql(event_tickers: Sequence[str]) -> str:
    """Return the SQL of the first and last order, verdict or fill of the events."""
    return f"""SELECT toUnixTimestamp64Nano(min(ts_pub)) AS first_ns,
    toUnixTimestamp64Nano(max(ts_pub)) AS last_ns, count() AS messages
FROM messages FINAL WHERE stream IN ('PROPOSALS', 'VERDICTS', 'ORDERS', 'FILLS')
    AND JSONExtractString(payload, 'event_ticker') IN ({_listed(event_tickers)})"""


def event_sections(event_tickers: Sequence[str]) -> dict[str, str]:
    """Return the SQL of each section about the events themselves, by the section's name."""
    listed = _listed(event_tickers)
    ours = f"event_ticker IN ({listed})"
    payload_ours = f"JSONExtractString(payload, 'event_ticker') IN ({listed})"
    return {
        "settlements": f"""SELECT event_ticker, ticker, result, level_e4, level_ns, fallback,
    position_e2, cost_e6, fee_e6, pnl_e6
FROM settlements WHERE {ours} ORDER BY event_ticker, ticker LIMIT {ROWS_MAX}""",
        "reconciliation": f"""SELECT e.ticker AS ticker, e.result AS exchange_result,
    s.result AS our_result, e.yes_count_e2 - e.no_count_e2 AS exchange_position_e2,
    coalesce(p.position_e2, 0) AS our_position_e2, e.revenue_e6 AS exchange_revenue_e6,
    if(s.result = 'yes', greatest(our_position_e2, 0), greatest(-our_position_e2, 0)) * 10000
        AS our_revenue_e6,
    e.fee_e6 AS exchange_fee_e6, coalesce(p.fee_e6, 0) AS our_fee_e6,
    ifNull(our_result = exchange_result, 0) AND our_position_e2 = exchange_position_e2
        AND our_revenue_e6 = exchange_revenue_e6 AS agrees
FROM exchange_settlements AS e
LEFT JOIN settlements AS s ON s.ticker = e.ticker
LEFT JOIN positions AS p ON p.ticker = e.ticker
WHERE e.{ours} ORDER BY e.ticker LIMIT {ROWS_MAX}""",
        "orders": f"""SELECT event_ticker, state, count() AS orders, sum(count_e2) AS count_e2,
    sum(filled_count_e2) AS filled_count_e2
FROM orders WHERE {ours} GROUP BY event_ticker, state ORDER BY event_ticker, state""",
        "order_reasons": f"""SELECT state, reason, count() AS orders
FROM orders WHERE {ours} AND reason != '' GROUP BY state, reason
ORDER BY orders DESC, state, reason LIMIT 50""",
        "fills": f"""SELECT exchange_ns, ticker, side, price_e4, count_e2, is_taker, fee_e6,
    ev_per_contract_e6, expected_e8, result, settled_e6, trade_id, client_order_id
FROM trades WHERE {ours} ORDER BY exchange_ns, trade_id LIMIT {ROWS_MAX}""",
        "pnl": f"""SELECT t.event_ticker AS event_ticker, count() AS fills,
    sum(t.count_e2) AS contracts_e2, sum(t.fee_e6) AS fee_e6,
    countIf(t.expected_e8 IS NULL) AS fills_without_expectation,
    sum(t.expected_e8) AS expected_e8, countIf(t.settled_e6 IS NULL) AS fills_unsettled,
    sum(t.settled_e6) AS settled_e6
FROM trades AS t WHERE t.{ours} GROUP BY t.event_ticker ORDER BY event_ticker""",
        "fees": f"""SELECT event_ticker, is_taker, fills, contracts_e2, fee_e6
FROM fees WHERE {ours} ORDER BY event_ticker, is_taker""",
        "order_fill_differences": f"""SELECT o.client_order_id AS client_order_id,
    o.filled_count_e2 AS order_filled_e2, coalesce(f.filled_e2, 0) AS fills_e2
FROM orders AS o
LEFT JOIN (SELECT order_id, sum(count_e2) AS filled_e2 FROM fills GROUP BY order_id) AS f
    ON f.order_id = o.order_id
WHERE o.{ours} AND order_filled_e2 != fills_e2
ORDER BY client_order_id LIMIT {ROWS_MAX}""",
        "fills_without_order": f"""SELECT trade_id, order_id, ticker FROM fills
WHERE {ours} AND order_id NOT IN (SELECT order_id FROM orders)
ORDER BY trade_id LIMIT {ROWS_MAX}""",
        "open_orders": f"""SELECT client_order_id, ticker, state FROM orders
WHERE {ours} AND state IN ({_listed(sorted(m.OPEN_STATES))})
ORDER BY client_order_id LIMIT {ROWS_MAX}""",
        "decisions": f"""SELECT JSONExtractString(payload, 'event_ticker') AS event_ticker,
    JSONExtractString(payload, 'decision') AS decision, count() AS verdicts
FROM messages FINAL WHERE {_VERDICT} AND {payload_ours}
GROUP BY event_ticker, decision ORDER BY event_ticker, decision""",
        "gates": f"""SELECT JSONExtractString(asked, 'gate') AS gate,
    JSONExtractString(asked, 'reason') AS reason,
    if(JSONExtractBool(asked, 'advisory'), 'advice', 'decides') AS weight, count() AS verdicts
FROM (SELECT arrayJoin(JSONExtractArrayRaw(payload, 'gates')) AS asked FROM messages FINAL
    WHERE {_VERDICT} AND {payload_ours})
WHERE NOT JSONExtractBool(asked, 'ok') GROUP BY gate, reason, weight
ORDER BY weight DESC, verdicts DESC, gate, reason LIMIT 100""",
        "config_hashes": f"""SELECT JSONExtractString(payload, 'config_hash') AS config_hash,
    count() AS verdicts FROM messages FINAL
WHERE {_VERDICT} AND {payload_ours}
GROUP BY config_hash ORDER BY config_hash LIMIT 50""",
    }


def levels_sql(symbol: str, target_ns: int) -> str:
    """Return the SQL of the prints of one index around a target, in order of time."""
    ends = "JSONExtract(payload, 'bar_end_ns', 'Int64')"
    chosen = f"""SELECT {ends} AS bar_end_ns, JSONExtract(payload, 'level_e4', 'Int64') AS level_e4,
    JSONExtractString(payload, 'provenance') AS provenance
FROM messages FINAL WHERE {_TICK} AND JSONExtractString(payload, 'symbol') = {quote_text(symbol)}"""
    return f"""SELECT * FROM (
({chosen} AND {ends} <= {target_ns} ORDER BY bar_end_ns DESC LIMIT {LEVEL_PRINTS})
UNION ALL
({chosen} AND {ends} > {target_ns} ORDER BY bar_end_ns LIMIT {LEVEL_PRINTS})
) ORDER BY bar_end_ns"""


def run_sections(first_ns: int, last_ns: int) -> dict[str, str]:
    """Return the SQL of what happened around the trading, from `first_ns` to `last_ns`."""
    during = f"""ts_pub >= fromUnixTimestamp64Nano(toInt64({first_ns}))
    AND ts_pub <= fromUnixTimestamp64Nano(toInt64({last_ns}))"""
    return {
        "provenance": f"""SELECT JSONExtractString(payload, 'provenance') AS provenance,
    count() AS messages FROM messages FINAL
WHERE stream IN ('TICKS', 'VERDICTS') AND JSONHas(payload, 'provenance') AND {during}
GROUP BY provenance ORDER BY provenance""",
        "feed_gaps": f"""SELECT symbol, countIf(gap_ns > {FEED_SILENCE_S}000000000) AS gaps,
    max(gap_ns) AS longest_ns, count() AS prints
FROM (
    SELECT JSONExtractString(payload, 'symbol') AS symbol,
        JSONExtract(payload, 'bar_end_ns', 'Int64') AS bar_end_ns,
        if(row_number() OVER w = 1, 0, bar_end_ns - lagInFrame(bar_end_ns) OVER w) AS gap_ns
    FROM messages FINAL WHERE {_TICK} AND {during}
    WINDOW w AS (PARTITION BY JSONExtractString(payload, 'symbol')
        ORDER BY JSONExtract(payload, 'bar_end_ns', 'Int64'))
) GROUP BY symbol ORDER BY symbol""",
        "feed_failures": f"""SELECT JSONExtractString(payload, 'feed') AS feed,
    JSONExtractString(payload, 'detail') AS detail, count() AS messages
FROM messages FINAL WHERE stream = 'STATUS' AND type = '{m.tag_of(m.FeedStatus)}' AND {during}
    AND NOT JSONExtractBool(payload, 'ok')
GROUP BY feed, detail ORDER BY messages DESC, feed, detail LIMIT 50""",
        "services": f"""SELECT JSONExtractString(payload, 'service') AS service,
    uniqExact(JSONExtractString(payload, 'instance')) - 1 AS restarts, count() AS heartbeats,
    max(JSONExtract(payload, 'loop_lag_ns', 'Int64')) AS loop_lag_ns_max
FROM messages FINAL WHERE stream = 'STATUS' AND type = '{m.tag_of(m.Heartbeat)}' AND {during}
GROUP BY service ORDER BY service""",
        "brokers": f"""SELECT ts_pub_ns, epoch, broker, account FROM epochs
WHERE ts_pub_ns <= {last_ns} ORDER BY seq LIMIT 1 BY epoch, broker LIMIT 100""",
        "alerts": f"""SELECT JSONExtractString(payload, 'monitor') AS monitor,
    JSONExtractString(payload, 'state') AS state, count() AS messages
FROM messages FINAL WHERE stream = 'STATUS' AND type = '{m.tag_of(m.MonitorResult)}' AND {during}
    AND JSONExtractString(payload, 'state') != 'OK'
GROUP BY monitor, state ORDER BY monitor, state""",
        "overrides": f"""SELECT JSONExtractString(payload, 'kind') AS kind,
    JSONExtractString(payload, 'scope') AS scope, JSONExtractString(payload, 'value') AS value,
    JSONExtractString(payload, 'by') AS by, JSONExtractString(payload, 'reason') AS reason,
    JSONExtract(payload, 'issued_ns', 'Int64') AS issued_ns,
    JSONExtract(payload, 'expires_ns', 'Int64') AS expires_ns
FROM messages FINAL WHERE stream = 'STATUS' AND type = '{m.tag_of(m.Override)}' AND {during}
ORDER BY issued_ns LIMIT 100""",
        "panic": f"""SELECT JSONExtractString(payload, 'day') AS day,
    JSONExtract(payload, 'latched_ns', 'Int64') AS latched_ns,
    arrayStringConcat(JSONExtract(payload, 'monitors', 'Array(String)'), ', ') AS monitors
FROM messages FINAL WHERE stream = 'STATUS' AND type = '{m.tag_of(m.PanicLatch)}' AND {during}
ORDER BY seq LIMIT 100""",
        "dead_letters": f"""SELECT JSONExtractString(payload, 'stream') AS of_stream,
    JSONExtractString(payload, 'reason') AS reason, count() AS messages
FROM messages FINAL WHERE stream = 'DEAD' AND {during}
GROUP BY of_stream, reason ORDER BY messages DESC, of_stream, reason LIMIT 50""",
    }


def books_sql() -> str:
    """Return the SQL of how much of each stream the ledger holds; complete is `missing` 0."""
    names = _listed([stream.name for stream in STREAMS if stream.name in ("ORDERS", "FILLS")])
    return f"""SELECT stream, count() AS rows, uniqExact(seq) AS sequences, min(seq) AS first,
    max(seq) AS last, max(seq) - uniqExact(seq) AS missing, countIf(type = 'bad') AS bad
FROM messages FINAL WHERE stream IN ({names}) GROUP BY stream ORDER BY stream"""


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(quote_text(text) for text in texts) or "''"
