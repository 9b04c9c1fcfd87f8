"""Which verdicts the broker may act on: the last check before money."""

from libs.common.messages import Verdict
from libs.domain.families import UnknownFamilyError, family_of_series
from libs.domain.money import PRICE_ONE_E4
from services.broker.orders import Key
from services.broker.policy import Policy
from services.broker.state import event_of, target_of


def refusal(verdict: Verdict, target_ns: int, policy: Policy, *, live_only: bool) -> str:
    """Return why a verdict can't be acted on, "" if it can.

    `target_ns` is the event's target as known from before, 0 if it is not.
    """
    if live_only and verdict.provenance != "live":
        return f"not_live: inputs are {verdict.provenance} and the exchange is real"
    if not verdict.event_ticker.startswith(verdict.series_ticker + "-"):
        return f"series {verdict.series_ticker} does not hold {verdict.event_ticker}"
    try:
        family_of_series(verdict.series_ticker)
    except UnknownFamilyError as error:
        return f"unknown event {verdict.event_ticker}: {error}"
    named_ns = target_of(verdict.event_ticker) or target_ns
    if named_ns and named_ns != verdict.target_ns:
        return f"target: expected {named_ns}, got {verdict.target_ns}"
    prices: dict[Key, int] = {}
    for quote in verdict.quotes:
        key: Key = (quote.ticker, quote.side)
        if event_of(quote.ticker)[1] != verdict.event_ticker:
            return f"{quote.ticker} is no market of {verdict.event_ticker}"
        if key in prices:
            return f"two quotes for {quote.side} of {quote.ticker}"
        if not 0 < quote.price_e4 < PRICE_ONE_E4:
            return f"{quote.ticker}: expected a price inside 0 and 1, got {quote.price_e4}"
        if not 0 < quote.count_e2 <= policy.max_order_count_e2:
            return (
                f"{quote.ticker}: expected 1 to {policy.max_order_count_e2}, got {quote.count_e2}"
            )
        prices[key] = quote.price_e4
    for (ticker, side), bid_e4 in prices.items():
        if side == "bid" and bid_e4 >= prices.get((ticker, "ask"), PRICE_ONE_E4):
            return f"{ticker}: its bid and ask would meet each other"
    return ""
