"""The broker's outside in a dry replay: nothing is sent, and it is said so at once."""

from lab.drive.account import Dispatch
from lab.drive.schedule import Schedule
from libs.common.effects import Effect
from services.broker import events as e

DRY = "dry"


class DryAccount:
    """Answer as a broker in mode dry does: every place is recorded and not sent."""

    def __init__(self, schedule: Schedule, dispatch: Dispatch) -> None:
        self._schedule = schedule
        self._dispatch = dispatch

    def perform(self, effect: Effect) -> None:
        """Answer one effect of the broker's core, after it has been handled."""
        now_ns = self._schedule.now_ns
        match effect:
            case e.SubmitOrder():
                self._schedule.at(now_ns, self._not_sent, effect.client_order_id)
            case e.LookupOrders():
                self._schedule.at(now_ns, self._no_orders, effect.event_ticker)
            case e.FetchSettlements():
                self._schedule.at(now_ns, self._no_payouts, effect.event_ticker)
            case e.Alert() | e.Stopped():
                pass
            case _:
                raise AssertionError(f"a dry broker asks for no {type(effect).__name__}")

    def _not_sent(self, client_order_id: str) -> None:
        self._dispatch(
            e.OrderAnswer(
                now_ns=self._schedule.now_ns,
                call="place",
                client_order_id=client_order_id,
                outcome="not_sent",
                code=DRY,
            )
        )

    def _no_orders(self, event_ticker: str) -> None:
        now_ns = self._schedule.now_ns
        self._dispatch(
            e.OrdersRead(now_ns=now_ns, event_ticker=event_ticker, started_ns=now_ns, complete=True)
        )

    def _no_payouts(self, event_ticker: str) -> None:
        now_ns = self._schedule.now_ns
        self._dispatch(e.SettlementsRead(now_ns=now_ns, event_ticker=event_ticker, complete=True))
