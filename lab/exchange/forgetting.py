"""Let go of an event that has been paid: a long run keeps only what can still change."""

from lab.exchange.engine import Engine
from lab.exchange.model import MarketStatus
from lab.exchange.state import History


def forget_paid(engine: Engine, event_ticker: str) -> dict[str, History]:
    """Drop a paid event with its markets, and all accounts' orders, fills and positions in them.

    Cash stays. Nobody may ask for any of it again: reads answer as if it had never been. Returns
    what it took out of each account's history.
    """
    state = engine.state
    markets = state.event_markets[event_ticker]
    for market in markets:
        ticker = market.spec.ticker
        assert market.status is MarketStatus.FINALIZED, f"{ticker}: expected it to be paid"
    gone = {market.spec.ticker for market in markets}
    for account in state.accounts.values():
        account.forget(event_ticker, gone)
    taken: dict[str, History] = {}
    for name, history in state.histories.items():
        taken[name] = dropped = History(
            [one for one in history.orders if one.ticker in gone],
            [one for one in history.fills if one.ticker in gone],
            [one for one in history.settlements if one.ticker in gone],
        )
        for order in dropped.orders:
            assert order.status != "resting", f"{order.order_id} rests in a paid market"
            del state.orders[order.order_id]
            state.accounts[name].client_ids.discard(order.client_order_id)
        history.orders[:] = [one for one in history.orders if one.ticker not in gone]
        history.fills[:] = [one for one in history.fills if one.ticker not in gone]
        history.settlements[:] = [one for one in history.settlements if one.ticker not in gone]
    trades = [one for one in state.trades if one.ticker not in gone]
    state.trades.clear()
    state.trades.extend(trades)
    for ticker in gone:
        del state.markets[ticker]
    del state.event_markets[event_ticker], state.events[event_ticker]
    return taken
