"""The REST client: every call the system makes, typed, in our units.

>>> client = KalshiClient(base_url, transport, clock, signer)
>>> book = await client.orderbook("KXINXU-26OCT02H1100-T7869.9999")

It holds no secret and keeps no rate budget: the caller takes tokens first (rate.py).
"""

from libs.common.clock import Clock
from libs.kalshi.caller import ONCE, Caller, Repeats
from libs.kalshi.rest_history import HistoryReads
from libs.kalshi.rest_market import MarketReads
from libs.kalshi.rest_orders import OrderWrites
from libs.kalshi.rest_portfolio import PortfolioReads
from libs.kalshi.signing import Signer
from libs.kalshi.transport import Transport


class KalshiClient(MarketReads, HistoryReads, PortfolioReads, OrderWrites):
    """All calls over one transport. `base_url` ends in /trade-api/v2.

    Nothing is sent twice, except reads when `repeats` says so, and what Caller says of a refused
    timestamp.
    """

    def __init__(
        self,
        base_url: str,
        transport: Transport,
        clock: Clock,
        signer: Signer | None = None,
        repeats: Repeats = ONCE,
    ) -> None:
        self._transport = transport
        self._caller = Caller(base_url, transport, clock, signer, repeats)

    @property
    def signing_ms(self) -> int:
        """Return the Unix milliseconds to sign a WebSocket handshake with (see Caller)."""
        return self._caller.signing_ms

    @property
    def last_skew_ns(self) -> int | None:
        """Return our clock minus the exchange's (positive: ahead); None before any answer."""
        return self._caller.skew.skew_ns

    @property
    def last_skew_uncertainty_ns(self) -> int | None:
        """Return the half width of the interval around `last_skew_ns`."""
        return self._caller.skew.uncertainty_ns

    async def close(self) -> None:
        """Close the transport's connections."""
        await self._transport.close()
