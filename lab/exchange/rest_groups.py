"""Order groups over REST."""

from lab.exchange.call import Call, Fields, Json, decode_object
from lab.exchange.errors import nested, not_found
from lab.exchange.groups import Group
from libs.domain.money import format_count

LIMIT_MAX_E2 = 100_000_000


def create(call: Call) -> Json:
    """Answer POST /portfolio/order_groups/create."""
    group = call.engine.groups.create(call.member, _limit_e2(call, "CreateOrderGroupRequest"))
    return {"order_group_id": group.group_id, "subaccount": 0, "exchange_index": 0}


def listed(call: Call) -> Json:
    """Answer /portfolio/order_groups."""
    call.check_account_scope()
    groups = call.engine.groups.of_account(call.member)
    return {
        "order_groups": [
            {
                "id": group.group_id,
                "contracts_limit_fp": format_count(group.limit_e2),
                "is_auto_cancel_enabled": group.triggered,
                "exchange_index": 0,
            }
            for group in groups
        ]
    }


def get(call: Call) -> Json:
    """Answer GET /portfolio/order_groups/{order_group_id}."""
    group = _group(call)
    return {
        "is_auto_cancel_enabled": group.triggered,
        "contracts_limit_fp": format_count(group.limit_e2),
        "orders": call.engine.groups.orders(group),
        "exchange_index": 0,
    }


def delete(call: Call) -> Json:
    """Answer DELETE /portfolio/order_groups/{order_group_id}."""
    call.engine.groups.delete(_group(call))
    return {}


def reset(call: Call) -> Json:
    """Answer PUT /portfolio/order_groups/{order_group_id}/reset."""
    call.engine.groups.reset(_group(call))
    return {}


def trigger(call: Call) -> Json:
    """Answer PUT /portfolio/order_groups/{order_group_id}/trigger."""
    call.engine.groups.trigger(_group(call))
    return {}


def limit(call: Call) -> Json:
    """Answer PUT /portfolio/order_groups/{order_group_id}/limit."""
    limit_e2 = _limit_e2(call, "UpdateOrderGroupLimitRequest")
    call.engine.groups.set_limit(_group(call), limit_e2)
    return {}


def _group(call: Call) -> Group:
    call.check_account_scope()
    group = call.engine.groups.get(call.member, call.path["order_group_id"])
    if group is None:
        raise not_found()
    return group


def _limit_e2(call: Call, schema: str) -> int:
    fields = Fields(decode_object(call.body, schema), schema)
    fields.scope()
    whole = fields.number("contracts_limit")
    limits = set() if whole is None else {100 * whole}
    if whole is None or fields.has("contracts_limit_fp"):
        limits.add(fields.count_e2("contracts_limit_fp"))
    if len(limits) > 1:
        raise _invalid("contracts_limit and contracts_limit_fp differ")
    limit_e2 = limits.pop()
    if not 100 <= limit_e2 <= LIMIT_MAX_E2:
        raise _invalid("limit: 1 to 1,000,000")
    return limit_e2


def _invalid(details: str) -> Exception:
    return nested(400, "invalid_parameters", "invalid parameters", details)
