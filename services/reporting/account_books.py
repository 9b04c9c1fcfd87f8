"""What an account did, added up from the ledger, to compare with the exchange's own log."""

# ruff: noqa: S608 (event tickers are quoted; everything else is constant)

from collections.abc import Sequence
from typing import Any

from libs.domain.money import PRICE_ONE_E4
from services.reporting.ledger import Ledger, quote_text

RESTING_STATES = ("resting", "partially_filled")
MARKETS_MAX = 10_000


def account_books(ledger: Ledger, event_tickers: Sequence[str]) -> dict[str, Any]:
    """Return the fields of gRPC `Books` but the settlement differences, which the core knows."""
    listed = ", ".join(quote_text(text) for text in event_tickers)
    ours = f"event_ticker IN ({listed})" if listed else "1"
    account = ledger.query("SELECT account FROM epochs ORDER BY seq DESC LIMIT 1").rows
    states = ledger.query(
        "SELECT state, count() AS orders, countIf(order_id != '') AS accepted "
        f"FROM orders WHERE {ours} GROUP BY state"
    ).records()
    markets = ledger.query(
        "SELECT p.ticker AS ticker, p.event_ticker AS event_ticker, fills, contracts_e2, "
        "p.position_e2 AS position_e2, p.cost_e6 AS cost_e6, p.fee_e6 AS fee_e6, "
        "s.result AS result, "
        "if(s.result = 'yes', p.position_e2, 0) * 10000 - p.cost_e6 - p.fee_e6 AS pnl_e6 "
        f"FROM (SELECT * FROM positions WHERE {ours}) AS p "
        "LEFT JOIN settlements AS s ON s.ticker = p.ticker "
        f"ORDER BY ticker LIMIT {MARKETS_MAX}"
    ).records()
    gross = ledger.query(f"SELECT sum(price_e4 * count_e2) FROM fills WHERE {ours}").rows
    paid = ledger.query(f"SELECT sum(revenue_e6) FROM exchange_settlements WHERE {ours}").rows
    settled = [row for row in markets if row["result"]]
    fees_e6 = sum(row["fee_e6"] for row in markets)
    return {
        "account": account[0][0] if account else "",
        "orders": sum(row["orders"] for row in states),
        "orders_accepted": sum(row["accepted"] for row in states),
        "orders_by_state": {row["state"]: row["orders"] for row in states},
        "resting": sum(row["orders"] for row in states if row["state"] in RESTING_STATES),
        "fills": sum(row["fills"] for row in markets),
        "contracts_filled_e2": sum(row["contracts_e2"] for row in markets),
        "gross_cash_e6": int(gross[0][0]),
        "fees_e6": fees_e6,
        "cash_flow_e6": sum(_cash_flow_e6(row) for row in markets) - fees_e6,
        "exchange_revenue_e6": int(paid[0][0]),
        "settlement_pnl_e6": sum(row["pnl_e6"] for row in settled),
        "markets_settled": len(settled),
        "markets_unsettled": len(markets) - len(settled),
        "markets": [_market(row) for row in markets],
    }


def _cash_flow_e6(row: dict[str, Any]) -> int:
    # A short YES is held as NO at $1 less the price, so each locks a dollar until it pays.
    return -int(row["cost_e6"]) - PRICE_ONE_E4 * max(0, -int(row["position_e2"]))


def _market(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "ticker": row["ticker"],
        "event_ticker": row["event_ticker"],
        "fills": row["fills"],
        "contracts_filled_e2": row["contracts_e2"],
        "position_e2": row["position_e2"],
        "cost_e6": row["cost_e6"],
        "fees_e6": row["fee_e6"],
        "result": row["result"] or "",
        "settlement_pnl_e6": row["pnl_e6"] if row["result"] else 0,
    }
