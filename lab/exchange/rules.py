"""Which orders the exchange refuses, and with what words."""

from copy import copy

from lab.exchange.charges import fee_bound_e6
from lab.exchange.matching import on_tick
from lab.exchange.model import Amendment, MarketStatus, NewOrder, Order, Rejected
from lab.exchange.state import Market, State

ORDER_COUNT_MAX_E2 = 10**11

NOT_FOUND = Rejected(status=404, code="not_found", message="not found")
NO_MARKET = Rejected(status=404, code="market_not_found", message="market not found")
INACTIVE = Rejected(status=400, code="MARKET_INACTIVE", message="market inactive")
EXISTS = Rejected(status=409, code="order_already_exists", message="order already exists")
BAD_PRICE = Rejected(status=400, code="invalid_price", message="invalid price")
BAD_SIZE = Rejected(status=400, code="invalid_order_size", message="invalid order size")
NO_FUNDS = Rejected(status=400, code="insufficient_balance", message="insufficient balance")
PAUSED = Rejected(status=503, code="exchange_paused", message="exchange is paused")
TRADING_PAUSED = Rejected(status=503, code="trading_paused", message="trading is paused")
NOT_FILLABLE = Rejected(
    status=409,
    code="fill_or_kill_insufficient_resting_volume",
    message="fill or kill insufficient resting volume",
)
OTHER_TICKER = Rejected(status=400, code="order_ticker_mismatch", message="order ticker mismatch")
OTHER_SIDE = Rejected(status=400, code="order_side_mismatch", message="order side mismatch")
OTHER_CLIENT_ID = Rejected(
    status=400,
    code="order_id_and_client_order_id_mismatch",
    message="order id and client order id mismatch",
)


def invalid_order(details: str) -> Rejected:
    """Return the refusal of an order whose fields do not go together."""
    return Rejected(status=400, code="invalid_order", message="invalid order", details=details)


PAST_EXPIRATION = invalid_order("Expiration timestamp must be in the future")


def refuse_pause(state: State) -> Rejected | None:
    """Refuse placing and amending while the exchange or its trading stands still."""
    if not state.exchange_active:
        return PAUSED
    return None if state.trading_active else TRADING_PAUSED


def refuse_new(state: State, account: str, new: NewOrder) -> Rejected | None:
    """Return why an order cannot be taken, funds and fill-or-kill aside."""
    refusal = refuse_pause(state)
    if refusal is not None:
        return refusal
    market = state.markets.get(new.ticker)
    if market is None or not state.is_known(market):
        return NO_MARKET
    if market.status is not MarketStatus.ACTIVE:
        return INACTIVE
    if new.client_order_id and new.client_order_id in state.accounts[account].client_ids:
        return EXISTS
    refusal = refuse_numbers(market, new.price_e4, new.count_e2)
    return refusal or _refuse_flags(state, market, new)


def refuse_numbers(market: Market, price_e4: int, count_e2: int) -> Rejected | None:
    """Refuse a count that is not positive or a price off the market's grid."""
    if not 0 < count_e2 <= ORDER_COUNT_MAX_E2:
        return BAD_SIZE
    return None if on_tick(price_e4, market.spec.price_ranges) else BAD_PRICE


def _refuse_flags(state: State, market: Market, new: NewOrder) -> Rejected | None:
    resting = new.time_in_force == "good_till_canceled"
    if new.expiration_ns is not None:
        if not resting:
            return invalid_order("expiration_time requires good_till_canceled")
        if new.expiration_ns <= state.now_ns:
            return PAST_EXPIRATION
    if new.reduce_only and new.time_in_force != "immediate_or_cancel":
        return invalid_order("reduce_only requires immediate_or_cancel")
    if new.post_only:
        if not resting:
            return invalid_order("post_only requires good_till_canceled")
        if market.book.crosses(new.side, new.price_e4):
            return invalid_order("post only cross")
    return None


def refuse_funds(state: State, order: Order, market: Market) -> Rejected | None:
    """Refuse an order, not on the book yet, that the account could not pay with its fees."""
    if order.remaining_e2 == 0:
        return None
    account = state.accounts[order.account]
    best_e4 = market.book.against(order.side).best_price_e4()
    takes = market.book.crosses(order.side, order.price_e4)
    other_e4 = best_e4 if takes and best_e4 is not None else order.price_e4
    fees_e6 = fee_bound_e6(
        state.schedule(market),
        "taker" if takes else "maker",
        min(order.price_e4, other_e4),
        max(order.price_e4, other_e4),
        order.remaining_e2,
    )
    lock_e6 = account.lock_with_e6(order, market.event.ticker)
    return NO_FUNDS if lock_e6 + fees_e6 > account.cash_e6 else None


def refuse_unfillable(order: Order, market: Market) -> Rejected | None:
    """Refuse a fill-or-kill order that the book cannot fill whole, own orders left out."""
    wanted_e2 = order.remaining_e2
    for maker in market.book.against(order.side).in_priority():
        worse = (
            maker.price_e4 > order.price_e4
            if order.side == "bid"
            else maker.price_e4 < order.price_e4
        )
        own = maker.account == order.account
        if worse or (own and order.self_trade == "taker_at_cross"):
            break
        if not own:
            wanted_e2 -= maker.remaining_e2
        if wanted_e2 <= 0:
            return None
    return NOT_FILLABLE


def refuse_amendment(
    state: State, order: Order, market: Market, change: Amendment
) -> Rejected | None:
    """Return why a resting order cannot be changed like that."""
    if change.ticker != order.ticker:
        return OTHER_TICKER
    if change.side != order.side:
        return OTHER_SIDE
    if change.client_order_id not in (None, order.client_order_id):
        return OTHER_CLIENT_ID
    if market.status is not MarketStatus.ACTIVE:
        return INACTIVE
    used = state.accounts[order.account].client_ids
    if change.new_client_order_id is not None and change.new_client_order_id in used:
        return EXISTS
    remaining_e2 = change.count_e2 - order.filled_e2
    refusal = refuse_numbers(market, change.price_e4, remaining_e2)
    if refusal is not None:
        return refusal
    if change.expiration_ns and change.expiration_ns <= state.now_ns:
        return PAST_EXPIRATION
    if order.post_only and market.book.crosses(order.side, change.price_e4):
        return invalid_order("post only cross")
    amended = copy(order)
    amended.price_e4 = change.price_e4
    amended.remaining_e2 = remaining_e2
    return refuse_funds(state, amended, market)
