"""An order's life as messages, over the pricer's small ladder of 2024-08-05."""

from typing import Any

from lab.fills.observe import Observations, Observer
from libs.common import messages as m
from tests.services.pricer.builders import EVENT, OPEN, TICKERS, S, definition, envelope, snapshot

MARKET: dict[str, Any] = {"event_ticker": EVENT, "series_ticker": "KXINXU"}
RUNG = 2
"""Where the small ladder is bid 35 and asked 65, fair at 50."""


def fair(now_ns: int, probability: float = 0.5) -> m.FairLadder:
    return m.FairLadder(
        **(envelope(f"fair-{now_ns}", now_ns) | {"source": "pricer"}),
        **MARKET,
        ladder_id="ladder-1",
        target_ns=definition().target_ns,
        model="index",
        calibration_id="c",
        level_e4=52_200_000,
        level_ns=now_ns,
        mean=5220.0,
        sigma=10.0,
        probabilities=(0.98, 0.84, probability, 0.16, 0.02),
    )


def intent(
    now_ns: int, client="c1", action="place", price_e4=3600, count_e2=100, side="bid"
) -> m.OrderIntent:
    return m.OrderIntent(
        **(envelope(f"intent-{client}-{now_ns}", now_ns) | {"source": "broker"}),
        **MARKET,
        action=action,
        client_order_id=client,
        order_id="",
        ticker=TICKERS[RUNG],
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        expiration_ns=definition().target_ns - 2 * S,
        verdict_id="v",
        epoch=1,
        reason="quote",
    )


def update(
    now_ns: int, state: m.OrderState, client="c1", price_e4=3600, count_e2=100, filled_e2=0,
    side="bid",
) -> m.OrderUpdate:  # fmt: skip
    ended = state in ("cancelled", "expired", "filled")
    return m.OrderUpdate(
        **(envelope(f"update-{client}-{now_ns}", now_ns) | {"source": "broker"}),
        **MARKET,
        client_order_id=client,
        order_id=f"x-{client}",
        ticker=TICKERS[RUNG],
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        filled_count_e2=filled_e2,
        remaining_count_e2=0 if ended else count_e2 - filled_e2,
        previous_state="submitted",
        state=state,
        trigger="t",
        reason="",
        exchange_ns=now_ns,
    )


def fill(now_ns: int, client="c1", price_e4=3600, count_e2=100, side="bid") -> m.Fill:
    return m.Fill(
        **(envelope(f"fill-{client}-{now_ns}", now_ns) | {"source": "broker"}),
        **MARKET,
        trade_id=f"t-{client}-{now_ns}",
        order_id=f"x-{client}",
        client_order_id=client,
        ticker=TICKERS[RUNG],
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        is_taker=False,
        fee_e6=0,
        exchange_ns=now_ns,
    )


def opening() -> tuple[m.Message, ...]:
    """Return what is known before any order: ladder, books, fair value at the window's start."""
    return definition(), snapshot(OPEN), fair(OPEN)


def observed(*messages: m.Message) -> Observations:
    """Return what an observer makes of messages in this order."""
    observer = Observer()
    for sequence, message in enumerate(messages, 1):
        observer.fold(message, "ORDERS", sequence)
    return observer.finish()
