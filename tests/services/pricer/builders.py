"""Messages and calibrations for the pricer's tests: one SPX noon event of 2024-08-05."""

from typing import Any

from libs.common.effects import Effect, Publish, Received, SetTimer
from libs.common.messages import (
    FairLadder,
    IndexTick,
    LadderDefined,
    LadderSnapshot,
    Message,
    OrderUpdate,
    PriceRange,
    Proposal,
)
from services.pricer.calibration import (
    Calibration,
    Mixture,
    Parameters,
    Runbook,
    SigmaTable,
    sealed,
)
from services.pricer.core import PricerCore
from services.pricer.models.session import BINS
from services.pricer.policy import PricerPolicy

S = 1_000_000_000
MINUTE = 60 * S
TARGET = 1_722_873_600 * S  # 2024-08-05 12:00 in New York
OPEN = TARGET - 15 * MINUTE
EVENT = "KXINXU-24AUG05H1200"
STRIKES = (5200, 5210, 5220, 5230, 5240)
TICKERS = tuple(f"{EVENT}-T{strike - 1}.9999" for strike in STRIKES)
CENTS = (PriceRange(0, 10_000, 100),)


def calibration(sigma_15=10.0, symbol="I:SPX", artifact=None, **changes) -> Calibration:
    """The runbook's model: σ grows with the root of time, 10 points at 15 minutes."""
    fields: dict[str, Any] = {
        "samples": (0, *([50] * 20)),
        "sigma_points": tuple(sigma_15 * (m / 15) ** 0.5 for m in range(21)),
        "drift_points": (0.0,) * 21,
        "residual_floor_points": 0.5,
    }
    own = {name: changes.pop(name) for name in ("kappa_event", "pit_bias") if name in changes}
    table = SigmaTable(**(fields | changes))
    return sealed_of({symbol: Runbook(hourly=table, close=table, **own)}, **(artifact or {}))


def mixture(**changes) -> Calibration:
    """The index model: 2.5 points a minute at 5,220 at any time of day, a usual day's spread."""
    fields: dict[str, Any] = {
        "bin_sigmas": (2.5 / 5220,) * len(BINS),
        "bin_moves": (100,) * len(BINS),
        "log_sigma": 0.5,
        "memory_minutes": 300.0,
        "tail_degrees": 8.0,
        "kappa_cpi": 1.1,
        "kappa_fomc": 1.5,
    }
    return sealed_of({"I:SPX": Mixture(**(fields | changes))})


def sealed_of(symbols: dict[str, Parameters], **changes) -> Calibration:
    fields: dict[str, Any] = {
        "fitted_ns": OPEN - 86_400 * S,
        "data_end_ns": OPEN - 86_400 * S,
        "window_start": "2024-06-03",
        "window_end": "2024-08-02",
        "minute_days": ("2024-06-03", "2024-08-02"),
        "symbols": symbols,
    }
    return sealed(Calibration(**(fields | changes)))


def envelope(name: str, now_ns: int) -> dict:
    return {
        "id": name,
        "ts_event_ns": now_ns,
        "ts_pub_ns": now_ns,
        "cause_id": "",
        "correlation_id": name,
        "source": "feeds",
    }


def tick(now_ns, level=5220.0, symbol="I:SPX") -> IndexTick:
    return IndexTick(
        **envelope(f"tick-{symbol}-{now_ns}", now_ns),
        symbol=symbol,
        level_e4=round(level * 10_000),
        bar_start_ns=now_ns - S,
        bar_end_ns=now_ns,
        recv_ns=now_ns,
        provenance="synthetic",
    )


def definition(now_ns=OPEN - MINUTE, **changes) -> LadderDefined:
    fields = envelope(f"definition-{now_ns}", now_ns) | {
        "ladder_id": "ladder-1",
        "event_ticker": EVENT,
        "series_ticker": "KXINXU",
        "family": "INXU",
        "symbol": "I:SPX",
        "kind": "nested",
        "target_ns": TARGET,
        "close_ns": TARGET,
        "tickers": TICKERS,
        "strike_types": ("greater",) * 5,
        "floors_e4": tuple(strike * 10_000 - 1 for strike in STRIKES),
        "caps_e4": (None,) * 5,
        "price_ranges": CENTS,
    }
    return LadderDefined(**(fields | changes))


def snapshot(
    now_ns,
    bids=(8000, 6500, 3500, 1000, 200),
    asks=(9900, 9000, 6500, 3500, 1500),
    count=10_000,
    **changes,
) -> LadderSnapshot:
    """Books of others with 28 cents between bid and ask, as recorded on these ladders."""
    fields = envelope(f"snapshot-{now_ns}", now_ns) | {
        "ladder_id": "ladder-1",
        "event_ticker": EVENT,
        "series_ticker": "KXINXU",
        "target_ns": TARGET,
        "recv_ns": now_ns,
        "provenance": "synthetic",
        "bid_price_e4": bids,
        "bid_count_e2": tuple(count if bid else 0 for bid in bids),
        "bid_depth_e2": tuple(count if bid else 0 for bid in bids),
        "ask_price_e4": asks,
        "ask_count_e2": tuple(count if ask < 10_000 else 0 for ask in asks),
        "ask_depth_e2": tuple(count if ask < 10_000 else 0 for ask in asks),
        "inactive": (),
    }
    return LadderSnapshot(**(fields | changes))


def order(now_ns, ticker, side, price_e4, count_e2=1000, state="resting") -> OrderUpdate:
    return OrderUpdate(
        **(envelope(f"order-{now_ns}-{ticker}", now_ns) | {"source": "broker"}),
        client_order_id=f"c-{ticker}-{side}",
        order_id=f"o-{ticker}-{side}",
        event_ticker=EVENT,
        series_ticker="KXINXU",
        ticker=ticker,
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        filled_count_e2=0,
        remaining_count_e2=count_e2,
        previous_state="submitted",
        state=state,
        trigger="t",
        reason="",
        exchange_ns=now_ns,
    )


class Bench:
    """A core fed with messages at their own times; sequences count up by themselves."""

    def __init__(self, policy=None, calibrations=None):
        found = {"INXU": calibration()} if calibrations is None else calibrations
        self.core = PricerCore(policy or PricerPolicy(), found)
        self.sequence = 0
        self.effects: list[Effect] = []

    def send(self, message: Message, now_ns: int | None = None) -> list[Effect]:
        self.sequence += 1
        stream = "ORDERS" if isinstance(message, OrderUpdate) else "LADDERS"
        effects = self.core.handle(
            Received(
                now_ns=message.ts_pub_ns if now_ns is None else now_ns,
                message=message,
                stream=stream,
                sequence=self.sequence,
            )
        )
        self.effects += effects
        return effects


def proposals(effects) -> list[Proposal]:
    return [
        e.message for e in effects if isinstance(e, Publish) and isinstance(e.message, Proposal)
    ]


def fairs(effects) -> list[FairLadder]:
    return [
        e.message for e in effects if isinstance(e, Publish) and isinstance(e.message, FairLadder)
    ]


def timers(effects) -> list[SetTimer]:
    return [effect for effect in effects if isinstance(effect, SetTimer)]
