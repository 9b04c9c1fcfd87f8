"""Messages of sizing's tests that the builders of risk's do not have."""

from libs.common.messages import ExchangeSettlement, OrderIntent
from tests.services.risk.builders import NOW, TARGET, TICKERS, of_event


def intent_of(client: str, verdict_id="v1", action="place", count_e2=100) -> OrderIntent:
    return OrderIntent(
        **of_event(f"intent-{client}-{verdict_id}-{action}", NOW),
        action=action,
        client_order_id=client,
        order_id="",
        ticker=TICKERS[1],
        side="bid",
        price_e4=4000,
        count_e2=count_e2,
        expiration_ns=TARGET,
        verdict_id=verdict_id,
        epoch=1,
        reason="quote",
    )


def settlement(result="yes", *, ticker=TICKERS[1], at_ns=NOW, yes=0, no=0, revenue_e6=0):
    return ExchangeSettlement(
        **of_event(f"settlement-{ticker}", at_ns),
        ticker=ticker,
        result=result,
        yes_count_e2=yes,
        no_count_e2=no,
        revenue_e6=revenue_e6,
        fee_e6=0,
        settled_ns=at_ns,
    )
