"""The start of every life: lease, epoch, log, exchange, and only then verdicts.

lease ─► epoch (fence) ─► ORDERS, FILLS ─► open orders, fills, positions ─► verdicts ─► READY
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from libs.common.effects import Received
from libs.common.inbox import Refused, read_stored
from libs.common.messages import Fill, Message
from libs.common.runner import Context
from libs.common.topology import Service, durables_of
from libs.kalshi.errors import KalshiError
from services.broker import events as e
from services.broker.core import BrokerCore
from services.broker.exchange import Exchange
from services.broker.watch import AccountWatch

FILLS_MARGIN_NS = 3_600_000_000_000
"""How long before the last fill we know a missed one may lie."""


async def fold_log(context: Context, core: BrokerCore) -> int | None:
    """Read ORDERS and FILLS back into the core; return since when fills may be missing.

    None means that the log knows of no fill and no order that could have one: whatever the
    account has is news.
    """
    last = await context.read_back("ORDERS", _folding(context, core, "ORDERS"))
    fence = context.app.fence or 0
    assert last >= fence, f"ORDERS ends at {last}, before our own epoch at {fence}"
    newest_ns: list[int] = []

    def note(message: Message, sequence: int) -> None:
        if isinstance(message, Fill):
            newest_ns[:] = [max([message.exchange_ns, *newest_ns])]
        fold(message, sequence)

    fold = _folding(context, core, "FILLS")
    await context.read_back("FILLS", note)
    short = [order for order in core.state.orders.values() if order.fills_e2 < order.filled_e2]
    lacking = [*core.state.open_orders(), *short]
    known_ns = [*newest_ns, *(order.settled_ns for order in lacking)]
    return max(0, min(known_ns) - FILLS_MARGIN_NS) if known_ns else None


def _folding(context: Context, core: BrokerCore, stream: str) -> Callable[[Message, int], None]:
    def fold(message: Message, sequence: int) -> None:
        now_ns = context.now_ns()
        core.handle(e.Folded(now_ns=now_ns, message=message, stream=stream, sequence=sequence))

    return fold


async def reconcile(
    context: Context, core: BrokerCore, exchange: Exchange, watch: AccountWatch, retry_s: float
) -> None:
    """Compare with the exchange until each question is answered: before that nothing is known."""

    async def insist(read: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await read()
            except KalshiError as error:
                context.log.warning("exchange unread, not READY", why=str(error))
                await asyncio.sleep(retry_s)

    since_ns = watch.fills_since_ns
    past_orders = False

    async def read_past() -> None:
        """Read the fills before the exchange's cutoff, and note whether orders may be there."""
        nonlocal past_orders
        if since_ns is None:
            return
        orders_ns, fills_ns = await exchange.cutoffs()
        past_orders = since_ns < orders_ns
        if since_ns < fills_ns:
            for fill in await exchange.past_fills(since_ns):
                context.dispatch(e.FillSeen(now_ns=context.now_ns(), fill=fill))

    async def read_event(event_ticker: str) -> None:
        started_ns = context.now_ns()
        orders = await exchange.event_orders(event_ticker, ())
        if past_orders:
            for ticker in {one.ticker for one in core.state.events[event_ticker].orders()}:
                orders += await exchange.past_orders(ticker)
        context.dispatch(
            e.OrdersRead(
                now_ns=context.now_ns(),
                event_ticker=event_ticker,
                started_ns=started_ns,
                complete=True,
                orders=orders,
            )
        )

    await insist(exchange.learn_limits)
    await insist(read_past)
    await insist(watch.read_account)
    await insist(watch.read_groups)
    for event in list(core.state.events.values()):
        if event.open:
            await insist(partial(read_event, event.event_ticker))


async def standing_verdicts(context: Context) -> None:
    """Hand the newest verdict of each event to the core: the durable may have passed it on."""
    for durable in durables_of(Service.BROKER):
        for subjects in durable.subjects:
            for stored in await context.bus.last_per_subject(durable.stream, subjects):
                try:
                    message = read_stored(stored, context.now_ns())
                except Refused:
                    continue  # counted and dead-lettered when it comes by the durable
                context.dispatch(
                    Received(
                        now_ns=context.now_ns(),
                        message=message,
                        stream=durable.stream,
                        sequence=stored.sequence,
                    )
                )
