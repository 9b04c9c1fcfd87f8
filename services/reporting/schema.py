"""The ledger's table and views, as SQL that chDB and a ClickHouse server both run.

One table holds every message of every stream under (stream, seq). All else is a view of it.
Money is Int64 of $0.000001, prices $0.0001, counts 0.01 contract: nothing here is a float but
probabilities. `expected_e8` is EV per contract (e6) times count (e2), still an integer.
"""

# ruff: noqa: S608 (every part of these statements is a constant of this file)

from libs.common import messages as m

TABLE = "messages"
BAD = "bad"
"""The type of a row whose payload is no message of ours, or came on a foreign subject."""

COLUMNS = ("stream", "seq", "subject", "type", "id", "ts_event", "ts_pub", "source", "payload")
COLUMN_TYPES = (
    "LowCardinality(String)",
    "UInt64",
    "String",
    "LowCardinality(String)",
    "String",
    "DateTime64(9, 'UTC')",
    "DateTime64(9, 'UTC')",
    "LowCardinality(String)",
    "String",
)

# Every part is fsynced: the watermark is max(seq), so a part lost by an OS crash in the middle
# would be a hole that nobody reads again. Small merges keep the embedded engine's memory small.
_CREATE_TABLE = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    stream LowCardinality(String),
    seq UInt64,
    subject String CODEC(ZSTD(1)),
    type LowCardinality(String),
    id String,
    ts_event DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    ts_pub DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    source LowCardinality(String),
    payload String CODEC(ZSTD(3))
) ENGINE = ReplacingMergeTree ORDER BY (stream, seq)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 1024,
    merge_max_block_size = 1024, merge_max_block_size_bytes = 2097152
"""


def _text(field: str) -> str:
    return f"JSONExtractString(payload, '{field}') AS {field}"


def _int(field: str) -> str:
    return f"JSONExtract(payload, '{field}', 'Int64') AS {field}"


def _columns(texts: str, integers: str) -> str:
    fields = [_text(name) for name in texts.split()] + [_int(name) for name in integers.split()]
    return ",\n    ".join(fields)


def _rows(stream: str, *kinds: type[m.Message]) -> str:
    tags = ", ".join(f"'{m.tag_of(kind)}'" for kind in kinds)
    return f"{TABLE} FINAL WHERE stream = '{stream}' AND type IN ({tags})"


_MARKET = "event_ticker series_ticker ticker"

_ORDERS = f"""
SELECT client_order_id, argMax(order_id, place) AS order_id, any(event_ticker) AS event_ticker,
    any(series_ticker) AS series_ticker, any(ticker) AS ticker, any(side) AS side,
    argMax(price_e4, place) AS price_e4, argMax(count_e2, place) AS count_e2,
    argMax(filled_count_e2, place) AS filled_count_e2,
    argMax(remaining_count_e2, place) AS remaining_count_e2,
    argMax(state, place) AS state, argMax(reason, place) AS reason, max(place.2) AS seq
FROM (
    SELECT {_columns(f"client_order_id order_id {_MARKET} side reason", "price_e4 count_e2")},
        JSONExtract(payload, 'filled_count_e2', 'Int64') AS filled_count_e2,
        if(type = '{m.tag_of(m.OrderUpdate)}',
            JSONExtract(payload, 'remaining_count_e2', 'Int64'), count_e2) AS remaining_count_e2,
        if(type = '{m.tag_of(m.OrderUpdate)}',
            JSONExtractString(payload, 'state'), 'intent') AS state,
        (type = '{m.tag_of(m.OrderUpdate)}', seq) AS place
    FROM {_rows("ORDERS", m.OrderIntent, m.OrderUpdate)}
        AND JSONExtractString(payload, 'action') IN ('', 'place')
) GROUP BY client_order_id
"""

_INTENTS = f"""
SELECT seq, {_columns(f"action client_order_id verdict_id {_MARKET} side", "price_e4 count_e2")}
FROM {_rows("ORDERS", m.OrderIntent)}
"""

_EPOCHS = f"""
SELECT seq, toUnixTimestamp64Nano(ts_pub) AS ts_pub_ns, {_columns("broker account", "epoch")}
FROM {_rows("ORDERS", m.BrokerEpoch)}
"""

_FILLS = f"""
SELECT seq, {_columns(f"trade_id order_id client_order_id {_MARKET} side", "")},
    {_columns("", "price_e4 count_e2 fee_e6 exchange_ns")},
    JSONExtractBool(payload, 'is_taker') AS is_taker,
    if(side = 'bid', count_e2, -count_e2) AS change_e2,
    change_e2 * price_e4 AS cost_e6
FROM {_rows("FILLS", m.Fill)}
ORDER BY seq LIMIT 1 BY trade_id, order_id
"""

_EXCHANGE_SETTLEMENTS = f"""
SELECT seq, {_columns(f"{_MARKET} result", "yes_count_e2 no_count_e2 revenue_e6 fee_e6 settled_ns")}
FROM {_rows("FILLS", m.ExchangeSettlement)}
ORDER BY seq DESC LIMIT 1 BY ticker
"""

_SETTLEMENTS = f"""
SELECT seq, {_columns(f"{_MARKET} result fallback", "level_e4 level_ns position_e2")},
    {_columns("", "cost_e6 fee_e6 pnl_e6")}
FROM {_rows("STATUS", m.Settlement)}
ORDER BY seq DESC LIMIT 1 BY ticker
"""

_POSITIONS = """
SELECT event_ticker, series_ticker, ticker, sum(change_e2) AS position_e2,
    sum(cost_e6) AS cost_e6, sum(fee_e6) AS fee_e6, sum(count_e2) AS contracts_e2,
    count() AS fills
FROM fills GROUP BY event_ticker, series_ticker, ticker
"""

_FEES = """
SELECT series_ticker, event_ticker, is_taker, count() AS fills, sum(count_e2) AS contracts_e2,
    sum(fee_e6) AS fee_e6
FROM fills GROUP BY series_ticker, event_ticker, is_taker
"""

_VERDICT_QUOTES = f"""
SELECT id AS verdict_id, JSONExtractString(quote, 'ticker') AS ticker,
    JSONExtractString(quote, 'side') AS side, JSONExtract(quote, 'price_e4', 'Int64') AS price_e4,
    JSONExtract(quote, 'ev_per_contract_e6', 'Int64') AS ev_per_contract_e6,
    JSONExtractFloat(quote, 'probability') AS probability
FROM (
    SELECT id, arrayJoin(JSONExtractArrayRaw(payload, 'quotes')) AS quote
    FROM {_rows("VERDICTS", m.Verdict)}
)
"""

# A maker's fill is at its resting price, so the intent of that price names the verdict behind it.
# P&L is NULL (`join_use_nulls`, set on every handle) until the market is settled: nothing is
# called realised before.
_TRADES = """
SELECT f.seq AS seq, f.trade_id AS trade_id, f.order_id AS order_id, o.client_order_id
        AS client_order_id, f.event_ticker AS event_ticker, f.series_ticker AS series_ticker,
    f.ticker AS ticker, f.side AS side, f.price_e4 AS price_e4, f.count_e2 AS count_e2,
    f.is_taker AS is_taker, f.fee_e6 AS fee_e6, f.exchange_ns AS exchange_ns,
    q.ev_per_contract_e6 AS ev_per_contract_e6,
    q.ev_per_contract_e6 * f.count_e2 AS expected_e8,
    q.probability AS probability, s.result AS result,
    if(s.result = 'yes', 10000, 0) * f.change_e2 - f.cost_e6 - f.fee_e6 AS settled_e6_if_any,
    if(s.result IS NULL, NULL, settled_e6_if_any) AS settled_e6
FROM fills AS f
LEFT JOIN orders AS o ON o.order_id = f.order_id
LEFT JOIN (
    SELECT client_order_id, price_e4, argMax(verdict_id, seq) AS verdict_id
    FROM intents WHERE action != 'cancel' GROUP BY client_order_id, price_e4
) AS i ON i.client_order_id = o.client_order_id AND i.price_e4 = f.price_e4
LEFT JOIN verdict_quotes AS q
    ON q.verdict_id = i.verdict_id AND q.ticker = f.ticker AND q.side = f.side
LEFT JOIN settlements AS s ON s.ticker = f.ticker
"""

VIEWS: dict[str, str] = {
    "orders": _ORDERS,
    "intents": _INTENTS,
    "epochs": _EPOCHS,
    "fills": _FILLS,
    "exchange_settlements": _EXCHANGE_SETTLEMENTS,
    "settlements": _SETTLEMENTS,
    "positions": _POSITIONS,
    "fees": _FEES,
    "verdict_quotes": _VERDICT_QUOTES,
    "trades": _TRADES,
}


def statements() -> tuple[str, ...]:
    """Return what makes an empty database a ledger; safe to run on a ledger."""
    views = (f"CREATE OR REPLACE VIEW {name} AS {sql}" for name, sql in VIEWS.items())
    return (_CREATE_TABLE, *views)
