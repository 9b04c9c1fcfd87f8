"""Order writes, V2 only (kalshi-api.md §2.3). Never sent again unless proven undone (Caller).

NotDoneError is proof that nothing happened; OutcomeUnknownError is not and must be resolved by
reading (errors.py). A cancelled coroutine counts as unknown too: the request may be on its way.
"""

from msgspec import Struct

from libs.kalshi import endpoints as at
from libs.kalshi.caller import Caller, query_of
from libs.kalshi.endpoints import Endpoint
from libs.kalshi.errors import UnreadableError
from libs.kalshi.fields import decoder
from libs.kalshi.wire import orders as wire

_created = decoder(wire.Created)
_amended = decoder(wire.Amended)
_decreased = decoder(wire.Decreased)
_cancelled = decoder(wire.Cancelled)
_batch_created = decoder(wire.BatchCreateAnswer)
_batch_cancelled = decoder(wire.BatchCancelAnswer)
_groups = decoder(wire.OrderGroupsAnswer)
_group = decoder(wire.OrderGroupAnswer)
_group_created = decoder(wire.OrderGroupCreated)

_FAULT_WORDS = ("internal", "timeout", "unavailable", "unknown")


class ItemRefused(Struct, frozen=True):
    """An item of a batch that the exchange refused, or whose fate it does not know.

    `id` is the client order id of a create, the order id of a cancel. `proven` is False when the
    code tells of a fault at the exchange and not of a decision.
    """

    id: str
    refusal: wire.Refusal

    @property
    def proven(self) -> bool:
        """Tell whether the item is certainly not done."""
        code = self.refusal.code.lower()
        return bool(code) and not any(word in code for word in _FAULT_WORDS)


class OrderWrites:
    """Calls that change orders. All raise KalshiError."""

    _caller: Caller

    async def create_order(self, order: wire.NewOrder) -> wire.Created:
        """Place an order. Refused with order_already_exists (409): the id was used before."""
        body = wire.encode_order(order)
        answer = await self._caller.call(at.CREATE_ORDER, _created, body=body)
        _check_id("POST create", order.client_order_id, answer.client_order_id)
        return answer

    async def create_orders(self, orders: list[wire.NewOrder]) -> list[wire.Created | ItemRefused]:
        """Place a batch; the answers are in the order of the requests."""
        body = wire.encode_orders(orders)
        answer = await self._caller.call(at.BATCH_CREATE, _batch_created, body=body)
        _check_count("POST batched", len(orders), len(answer.orders))
        pairs = zip(orders, answer.orders, strict=True)
        return [_created_item(order, item) for order, item in pairs]

    async def amend_order(
        self, order_id: str, change: wire.Amendment, *, subaccount: int | None = None
    ) -> wire.Amended:
        """Change price, size or expiry; keep the order id that comes back."""
        answer = await self._caller.call(
            at.AMEND_ORDER,
            _amended,
            names={"order_id": order_id},
            query=query_of([("subaccount", subaccount)]),
            body=wire.encode_amendment(change),
        )
        named = change.updated_client_order_id or change.client_order_id
        _check_id("POST amend", named or answer.client_order_id, answer.client_order_id)
        return answer

    async def decrease_order(
        self, order_id: str, remaining_e2: int, *, subaccount: int | None = None
    ) -> wire.Decreased:
        """Lower what rests to `remaining_e2`; the queue place stays."""
        answer = await self._caller.call(
            at.DECREASE_ORDER,
            _decreased,
            names={"order_id": order_id},
            query=query_of([("subaccount", subaccount)]),
            body=wire.encode_decrease(remaining_e2),
        )
        _check_id("POST decrease", order_id, answer.order_id)
        return answer

    async def cancel_order(self, order_id: str, *, subaccount: int | None = None) -> wire.Cancelled:
        """Cancel one order. Refused with not_found (404): it is done, perhaps by a fill."""
        answer = await self._caller.call(
            at.CANCEL_ORDER,
            _cancelled,
            names={"order_id": order_id},
            query=query_of([("subaccount", subaccount), ("exchange_index", 0)]),
        )
        _check_id("DELETE order", order_id, answer.order_id)
        return answer

    async def cancel_orders(
        self, order_ids: list[str], *, subaccount: int | None = None
    ) -> list[wire.BatchCancelItem | ItemRefused]:
        """Cancel a batch; the answers are in the order of the ids."""
        body = wire.encode_cancels(order_ids, subaccount)
        answer = await self._caller.call(at.BATCH_CANCEL, _batch_cancelled, body=body)
        _check_count("DELETE batched", len(order_ids), len(answer.orders))
        for order_id, item in zip(order_ids, answer.orders, strict=True):
            _check_id("DELETE batched", order_id, item.order_id)
        return [
            item if item.error is None else ItemRefused(item.order_id, item.error)
            for item in answer.orders
        ]

    async def cancel_all(self, *, subaccount: int | None = None) -> None:
        """Cancel everything that rests: the kill switch.

        Orders placed in the following minute may be cancelled too. Confirm by reading back.
        """
        query = query_of([("subaccount", subaccount)])
        await self._caller.call_without_answer(at.CANCEL_ALL, query=query)

    async def order_groups(self) -> tuple[wire.OrderGroup, ...]:
        """Return the order groups."""
        return (await self._caller.call(at.ORDER_GROUPS, _groups)).order_groups or ()

    async def order_group(self, order_group_id: str) -> wire.OrderGroupAnswer:
        """Return one group with the ids of its orders."""
        names = {"order_group_id": order_group_id}
        return await self._caller.call(at.ORDER_GROUP, _group, names=names)

    async def create_order_group(self, contracts_limit_e2: int) -> str:
        """Create a brake of so many contracts per rolling 15 s; return its id."""
        body = wire.encode_group(contracts_limit_e2)
        return (await self._caller.call(at.CREATE_GROUP, _group_created, body=body)).order_group_id

    async def limit_order_group(self, order_group_id: str, contracts_limit_e2: int) -> None:
        """Set another limit."""
        body = wire.encode_group_limit(contracts_limit_e2)
        await self._change_group(at.LIMIT_GROUP, order_group_id, body)

    async def reset_order_group(self, order_group_id: str) -> None:
        """Let a triggered group accept orders again."""
        await self._change_group(at.RESET_GROUP, order_group_id, b"{}")

    async def trigger_order_group(self, order_group_id: str) -> None:
        """Cancel every order of the group and refuse new ones until a reset."""
        await self._change_group(at.TRIGGER_GROUP, order_group_id, b"{}")

    async def delete_order_group(self, order_group_id: str) -> None:
        """Delete the group; the exchange cancels its orders."""
        await self._change_group(at.DELETE_GROUP, order_group_id, None)

    async def _change_group(
        self, endpoint: Endpoint, order_group_id: str, body: bytes | None
    ) -> None:
        await self._caller.call_without_answer(
            endpoint,
            names={"order_group_id": order_group_id},
            query=query_of([("exchange_index", 0)]),
            body=body,
        )


def _created_item(order: wire.NewOrder, item: wire.BatchCreateItem) -> wire.Created | ItemRefused:
    _check_id("POST batched", order.client_order_id, item.client_order_id)
    if item.error is not None:
        return ItemRefused(order.client_order_id, item.error)
    if (
        item.order_id is None
        or item.filled_e2 is None
        or item.remaining_e2 is None
        or item.processed_ns is None
    ):
        return ItemRefused(order.client_order_id, wire.Refusal(message="answered without a result"))
    return wire.Created(
        order_id=item.order_id,
        filled_e2=item.filled_e2,
        remaining_e2=item.remaining_e2,
        processed_ns=item.processed_ns,
        client_order_id=item.client_order_id,
    )


def _check_id(call: str, sent: str | None, answered: str | None) -> None:
    """Refuse an answer about another order than the one asked for."""
    if answered is not None and answered != sent:
        raise UnreadableError(call, 200, f"expected the answer for {sent!r}, got {answered!r}")


def _check_count(call: str, sent: int, answered: int) -> None:
    if sent != answered:
        raise UnreadableError(call, 200, f"expected {sent} items, got {answered}")
