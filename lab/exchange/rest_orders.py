"""Order writes, V2: create, cancel, cancel all, amend, decrease, and batches of the first two."""

from typing import Any, Literal, cast

from lab.exchange.call import Call, Fields, Json, decode_object
from lab.exchange.errors import ApiError, error_object, flat, rejected
from lab.exchange.limits import CANCEL_COST, DEFAULT_COST
from lab.exchange.model import (
    NS_PER_S,
    Amendment,
    NewOrder,
    Placed,
    Reduced,
    Rejected,
    SelfTrade,
    Side,
    TimeInForce,
)
from lab.exchange.wire import wire_ms
from libs.domain.money import format_count, format_money

BATCH_MAX = 1_000
CLIENT_ID_MAX = 64
_SIDES = ("bid", "ask")
_TIMES_IN_FORCE = ("fill_or_kill", "good_till_canceled", "immediate_or_cancel")
_SELF_TRADES = ("taker_at_cross", "maker")
_SECONDS_MAX = 10**11


def create(call: Call) -> Json:
    """Answer POST /portfolio/events/orders."""
    schema = "CreateOrderV2Request"
    order = read_order(Fields(decode_object(call.body, schema), schema))
    outcome = call.engine.place(call.member, order, call.now_ns)
    if isinstance(outcome, Rejected):
        raise rejected(outcome)
    return _placed(outcome)


def create_batch(call: Call) -> Json:
    """Answer POST /portfolio/events/orders/batched; one bad order does not spoil the others."""
    answers = []
    for item in batch_items(call.body, "BatchCreateOrdersV2Request"):
        client_id = item.get("client_order_id") if isinstance(item, dict) else None
        try:
            order = read_order(Fields(item, "CreateOrderV2Request"))
            outcome = call.engine.place(call.member, order, call.now_ns)
            if isinstance(outcome, Rejected):
                raise rejected(outcome)
            answers.append(_batch_placed(_placed(outcome)))
        except ApiError as error:
            shown = client_id if isinstance(client_id, str) else None
            answers.append({**_NOTHING_PLACED, "client_order_id": shown, "error": _inner(error)})
    return {"orders": answers}


def cancel(call: Call) -> Json:
    """Answer DELETE /portfolio/events/orders/{order_id}."""
    call.check_account_scope()
    outcome = call.engine.cancel(call.member, call.path["order_id"], call.now_ns)
    if isinstance(outcome, Rejected):
        raise rejected(outcome)
    return _reduced(outcome)


def cancel_batch(call: Call) -> Json:
    """Answer DELETE /portfolio/events/orders/batched, which has a body."""
    answers: list[Json] = []
    for item in batch_items(call.body, "BatchCancelOrdersV2Request"):
        order_id = ""
        try:
            fields = Fields(item, "BatchCancelOrdersV2RequestOrder")
            order_id = fields.needed("order_id")
            fields.scope()
            outcome = call.engine.cancel(call.member, order_id, call.now_ns)
            if isinstance(outcome, Rejected):
                raise rejected(outcome)
            answers.append(_reduced(outcome))
        except ApiError as error:
            answers.append(
                {
                    "order_id": order_id,
                    "client_order_id": None,
                    "reduced_by": "0.00",
                    "ts_ms": None,
                    "error": _inner(error),
                }
            )
    return {"orders": answers}


def cancel_all(call: Call) -> None:
    """Answer DELETE /portfolio/events/orders: 204 without a body."""
    call.check_account_scope()
    outcome = call.engine.cancel_all(call.member, call.now_ns)
    if isinstance(outcome, Rejected):
        raise rejected(outcome)


def amend(call: Call) -> Json:
    """Answer POST /portfolio/events/orders/{order_id}/amend."""
    schema = "AmendOrderV2Request"
    fields = Fields(decode_object(call.body, schema), schema)
    fields.scope()
    expiration_s = _expiration_s(fields)
    change = Amendment(
        ticker=fields.needed("ticker"),
        side=cast(Side, fields.word("side", _SIDES)),
        price_e4=fields.price_e4("price"),
        count_e2=fields.count_e2("count"),
        client_order_id=fields.text("client_order_id") or None,
        new_client_order_id=_client_id(fields, "updated_client_order_id") or None,
        expiration_ns=None if expiration_s is None else expiration_s * NS_PER_S,
    )
    outcome = call.engine.amend(call.member, call.path["order_id"], change, call.now_ns)
    if isinstance(outcome, Rejected):
        raise rejected(outcome)
    if outcome.resized or outcome.filled_e2:
        return {**_NO_AVERAGES, **_placed(outcome)}
    return {**_NO_AVERAGES, **_placed(outcome), "fill_count": None, "remaining_count": None}


def decrease(call: Call) -> Json:
    """Answer POST /portfolio/events/orders/{order_id}/decrease."""
    schema = "DecreaseOrderV2Request"
    fields = Fields(decode_object(call.body, schema), schema)
    fields.scope()
    if fields.has("reduce_by") == fields.has("reduce_to"):
        raise flat("exactly one of reduce_by and reduce_to is required")
    which: Literal["reduce_by", "reduce_to"] = (
        "reduce_by" if fields.has("reduce_by") else "reduce_to"
    )
    count_e2 = fields.count_e2(which)
    outcome = call.engine.decrease(
        call.member,
        call.path["order_id"],
        call.now_ns,
        by_e2=count_e2 if which == "reduce_by" else None,
        to_e2=count_e2 if which == "reduce_to" else None,
    )
    if isinstance(outcome, Rejected):
        raise rejected(outcome)
    return {
        "order_id": outcome.order_id,
        "client_order_id": outcome.client_order_id,
        "remaining_count": format_count(outcome.remaining_e2),
        "ts_ms": wire_ms(outcome.at_ns),
    }


def batch_items(body: bytes, schema: str) -> list[Any]:
    """Return the items of a batch body. Raises ApiError."""
    items = Fields(decode_object(body, schema), schema).items("orders")
    if not 0 < len(items) <= BATCH_MAX:
        raise flat(f"{schema}.orders: expected 1 to {BATCH_MAX} orders, got {len(items)}")
    return items


def batch_create_cost(body: bytes) -> int:
    """Return what a batch of creates costs; it is billed whole. Raises ApiError."""
    return DEFAULT_COST * len(batch_items(body, "BatchCreateOrdersV2Request"))


def batch_cancel_cost(body: bytes) -> int:
    """Return what a batch of cancels costs; it is billed whole. Raises ApiError."""
    return CANCEL_COST * len(batch_items(body, "BatchCancelOrdersV2Request"))


def read_order(fields: Fields) -> NewOrder:
    """Return the order of a create request's fields. Raises ApiError."""
    ticker = fields.needed("ticker")
    side = cast(Side, fields.word("side", _SIDES))
    for name in ("count", "price"):
        fields.needed(name)  # a wrong JSON type is told before anything else is judged
    fields.scope()
    expiration_s = _expiration_s(fields)
    return NewOrder(
        ticker=ticker,
        side=side,
        price_e4=fields.price_e4("price"),
        count_e2=fields.count_e2("count"),
        time_in_force=cast(TimeInForce, fields.word("time_in_force", _TIMES_IN_FORCE)),
        self_trade=cast(SelfTrade, fields.word("self_trade_prevention_type", _SELF_TRADES)),
        client_order_id=_client_id(fields, "client_order_id"),
        post_only=fields.flag("post_only"),
        reduce_only=fields.flag("reduce_only"),
        cancel_on_pause=fields.flag("cancel_order_on_pause"),
        expiration_ns=None if expiration_s is None else expiration_s * NS_PER_S,
        group_id=fields.text("order_group_id") or None,
    )


def _client_id(fields: Fields, name: str) -> str:
    text = fields.text(name)
    if len(text) > CLIENT_ID_MAX:
        raise fields.invalid(name, "max")
    return text


def _expiration_s(fields: Fields) -> int | None:
    value = fields.number("expiration_time")
    if value is not None and not 0 <= value <= _SECONDS_MAX:
        raise fields.invalid("expiration_time", "gte" if value < 0 else "lte")
    return value


_NO_AVERAGES: Json = {"average_fill_price": None, "average_fee_paid": None}
_NOTHING_PLACED: Json = {
    **_NO_AVERAGES,
    "order_id": "",
    "fill_count": None,
    "remaining_count": None,
    "ts_ms": None,
}


def _placed(placed: Placed) -> Json:
    shown: Json = {
        "order_id": placed.order_id,
        "client_order_id": placed.client_order_id,
        "fill_count": format_count(placed.filled_e2),
        "remaining_count": format_count(placed.remaining_e2),
        "ts_ms": wire_ms(placed.at_ns),
    }
    if placed.average_price_e4 is not None and placed.average_fee_e6 is not None:
        shown["average_fill_price"] = f"{placed.average_price_e4 / 10_000:.4f}"
        shown["average_fee_paid"] = _fee(placed.average_fee_e6)
    return shown


def _batch_placed(shown: Json) -> Json:
    return {**_NO_AVERAGES, **shown, "error": None}


def _fee(average_e6: float) -> str:
    text = format_money(round(average_e6))
    return text[:-2] if text.endswith("00") else text


def _reduced(reduced: Reduced) -> Json:
    return {
        "order_id": reduced.order_id,
        "client_order_id": reduced.client_order_id,
        "reduced_by": format_count(reduced.reduced_e2),
        "ts_ms": wire_ms(reduced.at_ns),
    }


def _inner(error: ApiError) -> Json:
    body = error.body
    if isinstance(body.get("error"), dict):
        return cast(Json, body["error"])
    return error_object(body["code"], body["message"], body.get("details"))
