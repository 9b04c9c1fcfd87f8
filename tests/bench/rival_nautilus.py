"""The rival of bench_backtest.py, run by the interpreter that has nautilus_trader installed.

    rivals/bin/python tests/bench/rival_nautilus.py EVENTS MARKETS EVERY

Feeds EVENTS quote ticks of MARKETS instruments, in turn, to the popular engine's backtester. A
strategy places a post-only bid below the market at every EVERYth tick and cancels the one before.
Prints one JSON line: how long `engine.run` took, and how many orders it placed.
"""

import json
import sys
import time
from decimal import Decimal

from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, BookType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

GAP_NS = 400_000


class EveryNth(Strategy):  # type: ignore[misc]
    """A bid at every nth tick, in place of the one before it."""

    def __init__(self, instruments, every):
        super().__init__()
        self.instruments = instruments
        self.every = every
        self.ticks = self.placed = 0
        self.order = None

    def on_start(self):
        for instrument in self.instruments.values():
            self.subscribe_quote_ticks(instrument.id)

    def on_quote_tick(self, tick):
        self.ticks += 1
        if self.ticks % self.every:
            return
        if self.order is not None and self.order.is_open:
            self.cancel_order(self.order)
        instrument = self.instruments[tick.instrument_id]
        self.order = self.order_factory.limit(
            instrument_id=tick.instrument_id,
            order_side=OrderSide.BUY,
            quantity=instrument.make_qty(Decimal(100)),
            price=instrument.make_price(tick.bid_price.as_double() - 0.05),
            post_only=True,
        )
        self.submit_order(self.order)
        self.placed += 1


def main():
    events, markets, every = map(int, sys.argv[1:4])
    config = BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True))
    engine = BacktestEngine(config=config)
    venue = Venue("XNAS")
    engine.add_venue(
        venue=venue,
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        book_type=BookType.L1_MBP,
        base_currency=USD,
        starting_balances=[Money(10_000_000, USD)],
    )
    instruments = [TestInstrumentProvider.equity(f"M{n}", "XNAS") for n in range(markets)]
    for instrument in instruments:
        engine.add_instrument(instrument)
    prices = [Price(40 + cents / 100, 2) for cents in range(200)]
    size = Quantity.from_int(500)
    ticks = []
    for number in range(events):
        cents = (number * 7) % 60
        at_ns = 1_722_872_700_000_000_000 + number * GAP_NS
        ticks.append(
            QuoteTick(
                instruments[number % markets].id,
                prices[cents],
                prices[cents + 20],
                size,
                size,
                at_ns,
                at_ns,
            )
        )
    engine.add_data(ticks)
    strategy = EveryNth({one.id: one for one in instruments}, every)
    engine.add_strategy(strategy)
    began_s = time.perf_counter()
    engine.run()
    took_s = time.perf_counter() - began_s
    found = {"took_s": took_s, "ticks": strategy.ticks, "orders": strategy.placed}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
