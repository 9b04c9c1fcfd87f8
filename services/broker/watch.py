"""Hear of our orders and fills: by the socket at once, by REST every few seconds.

The socket's private channels have no sequence (kalshi-api.md §3), so after each (re)subscription
and every so often the account is read, and both ways lead into the same core.
"""

import asyncio

from libs.common.runner import Context
from libs.kalshi.errors import KalshiError
from libs.kalshi.signing import WEBSOCKET_METHOD, WEBSOCKET_PATH, Signer
from libs.kalshi.wire.frames import FillUpdate, OrderGroupUpdate, OrderUpdate
from libs.kalshi.ws import KalshiStream
from libs.kalshi.ws_events import (
    BadFrame,
    Gap,
    StreamError,
    StreamEvent,
    Subscribed,
    UnknownFrame,
)
from libs.kalshi.ws_session import StreamSession
from services.broker import events as e
from services.broker.exchange import Exchange, fill_shown, order_shown

GROUPS = "order_group_updates"
CHANNELS = ("fill", "user_orders", "market_positions", GROUPS)
READ_ON = ("created", "limit_updated")
"""How a group looks that takes orders is read as soon as it is made (groups.py)."""
FEED = "broker.account"


class AccountWatch:
    """The account's socket and its poller."""

    def __init__(
        self,
        context: Context,
        exchange: Exchange,
        signer: Signer,
        ws_url: str,
        *,
        poll_s: float,
        session_type: type[StreamSession],
    ) -> None:
        self._context = context
        self._exchange = exchange
        self._signer = signer
        self._poll_s = poll_s
        self._wake = asyncio.Event()
        self._groups_unsure = False
        """Whether something was said of order groups that we may not have heard."""
        self.fills_since_ns: int | None = None
        """From when on fills are read; moves on with each read that worked."""
        self.overlap_ns = 0
        self._stream = KalshiStream()
        self._session = session_type(
            ws_url, self._stream, self._headers, self._on_events, context.clock
        )

    @property
    def is_connected(self) -> bool:
        """Tell whether the socket is open."""
        return self._session.is_connected

    async def run_socket(self) -> None:
        """Keep the socket until cancelled."""
        for channel in CHANNELS:
            await self._session.want(channel)
        await self._session.run()

    async def run_poller(self) -> None:
        """Read the account again and again until cancelled; at once after a subscription.

        Then without the balance, which may be read only so often and was read right before: there
        is one subscription per channel, and each of them wakes us.
        """
        while True:
            woken = True
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()
            except TimeoutError:
                woken = False
            self._wake.clear()
            try:
                await self.read_account(balance=not woken)
                if self._groups_unsure:
                    await self.read_groups()
            except KalshiError as error:
                self._context.log.warning("account unread", why=str(error))

    async def read_account(self, *, balance: bool = True) -> None:
        """Read what rests, then fills, positions, balance, and hand them to the core.

        Without the balance the comparison with our books is left to the next time. Raises
        KalshiError.
        """
        context = self._context
        started_ns = context.now_ns()
        orders = await self._exchange.resting_orders()
        await self.read_fills()
        context.dispatch(
            e.OrdersRead(
                now_ns=context.now_ns(),
                event_ticker="",
                started_ns=started_ns,
                complete=True,
                orders=orders,
            )
        )
        started_ns = context.now_ns()
        positions = await self._exchange.positions()
        context.dispatch(
            e.PositionsRead(now_ns=context.now_ns(), started_ns=started_ns, positions=positions)
        )
        if not balance:
            return
        started_ns = context.now_ns()
        balance_e6 = await self._exchange.balance()
        context.dispatch(
            e.BalanceRead(now_ns=context.now_ns(), started_ns=started_ns, balance_e6=balance_e6)
        )

    async def read_groups(self) -> None:
        """Read the order groups, once the fills are read. Raises KalshiError."""
        context = self._context
        started_ns = context.now_ns()
        self._groups_unsure = False
        try:
            groups = await self._exchange.groups()
        except KalshiError:
            self._groups_unsure = True
            raise
        context.dispatch(
            e.GroupsRead(now_ns=context.now_ns(), started_ns=started_ns, groups=groups)
        )

    async def read_fills(self) -> None:
        """Read new fills, with an overlap; new by the exchange's clock, for ours may be set.

        Raises KalshiError.
        """
        context = self._context
        for fill in await self._exchange.fills(self.fills_since_ns):
            context.dispatch(e.FillSeen(now_ns=context.now_ns(), fill=fill))
            since_ns = max(0, fill.exchange_ns - self.overlap_ns)
            self.fills_since_ns = max(self.fills_since_ns or 0, since_ns)

    def _doubt_groups(self, doubtful: bool) -> None:
        if doubtful:
            self._groups_unsure = True
            self._wake.set()

    async def _headers(self) -> dict[str, str]:
        signing_ms = self._exchange.client.signing_ms
        return self._signer.sign(signing_ms, WEBSOCKET_METHOD, WEBSOCKET_PATH)

    async def _on_events(self, events: list[StreamEvent], received_ns: int) -> None:
        context = self._context
        for event in events:
            context.metrics.frames_total.labels(FEED).inc()
            if isinstance(event, FillUpdate):
                context.dispatch(e.FillSeen(now_ns=context.now_ns(), fill=fill_shown(event)))
            elif isinstance(event, OrderUpdate):
                context.dispatch(e.OrderSeen(now_ns=context.now_ns(), order=order_shown(event)))
            elif isinstance(event, OrderGroupUpdate):
                group_id, now_ns = event.order_group_id, context.now_ns()
                context.dispatch(
                    e.GroupSeen(now_ns=now_ns, order_group_id=group_id, change=event.event_type)
                )
                self._doubt_groups(event.event_type in READ_ON)
            elif isinstance(event, Subscribed | Gap):
                self._doubt_groups(event.channel == GROUPS)
                self._wake.set()
            elif isinstance(event, BadFrame):
                self._doubt_groups(True)
                context.metrics.bad_frames_total.labels(FEED, "unreadable").inc()
                context.log.warning("bad frame", why=event.reason, shown=event.shown)
                self._wake.set()
            elif isinstance(event, UnknownFrame):
                context.metrics.bad_frames_total.labels(FEED, "unknown_frame").inc()
            elif isinstance(event, StreamError):
                context.log.warning("stream error", code=event.code, why=event.message)
