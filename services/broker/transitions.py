"""The life of an order as one table: (state, trigger) -> state. Anything not in it raises.

The states are those of `libs.common.messages.OrderState`. A trigger is a *proven* fact about the
order: what the exchange says, or that we never asked it. Refusals of an amend or a cancel are no
triggers: a proven refusal leaves the order as it was.
"""

from enum import StrEnum
from typing import get_args

from libs.common.messages import OrderState

STATES: tuple[OrderState, ...] = get_args(OrderState)
ENDED: frozenset[OrderState] = frozenset({"filled", "cancelled", "rejected", "expired"})
"""States of an order that does not rest, as far as the exchange has proved it."""


class Trigger(StrEnum):
    """What became known about an order."""

    SENT = "sent"
    """The request to place it leaves us now."""
    REST = "rest"
    """The exchange says that it rests, unfilled."""
    REST_PART = "rest_part"
    """The exchange says that it rests, partly filled."""
    FILL_PART = "fill_part"
    """A fill of a part was seen, which says nothing about the rest of it."""
    FILL_ALL = "fill_all"
    """It is filled whole."""
    REFUSE = "refuse"
    """The exchange proved that it did not take the order."""
    WITHHOLD = "withhold"
    """It never left us, or was turned away unread (429)."""
    LOSE = "lose"
    """A write's outcome is unknown, a cancel met a 404, or a read that should show it did not."""
    CANCEL = "cancel"
    """The exchange says that the rest of it was cancelled."""
    EXPIRE = "expire"
    """The exchange says that it ran into its expiration time."""
    ABSENT = "absent"
    """Complete reads, apart in time, prove that the exchange never took it."""
    REAPPEAR = "reappear"
    """A late read shows it at rest although we took it for ended."""


class IllegalTransition(AssertionError):
    """A trigger that a state does not allow: a mistake of ours, never of the exchange."""


_T = Trigger
TABLE: dict[tuple[OrderState, Trigger], OrderState] = {
    ("intent", _T.SENT): "submitted",
    ("intent", _T.WITHHOLD): "rejected",  # kill switch, lease, budget or time, after the intent
    ("intent", _T.LOSE): "unknown",  # we crashed after the intent: sent or not, nobody knows
    ("submitted", _T.REST): "resting",
    ("submitted", _T.REST_PART): "partially_filled",
    ("submitted", _T.FILL_PART): "partially_filled",  # the socket was faster than the answer
    ("submitted", _T.FILL_ALL): "filled",
    ("submitted", _T.REFUSE): "rejected",
    ("submitted", _T.WITHHOLD): "rejected",
    ("submitted", _T.LOSE): "unknown",
    ("submitted", _T.CANCEL): "cancelled",  # self-trade prevention, or a pause before the answer
    ("submitted", _T.EXPIRE): "expired",  # a slow answer to an order placed close to its end
    ("resting", _T.REST): "resting",  # an amend's answer, or the same news a second time
    ("resting", _T.REST_PART): "partially_filled",
    ("resting", _T.FILL_PART): "partially_filled",
    ("resting", _T.FILL_ALL): "filled",
    ("resting", _T.LOSE): "unknown",
    ("resting", _T.CANCEL): "cancelled",
    ("resting", _T.EXPIRE): "expired",
    # No REST here: filled counts never fall, so a stale "unfilled" has become REST_PART.
    ("partially_filled", _T.REST_PART): "partially_filled",
    ("partially_filled", _T.FILL_PART): "partially_filled",
    ("partially_filled", _T.FILL_ALL): "filled",
    ("partially_filled", _T.LOSE): "unknown",
    ("partially_filled", _T.CANCEL): "cancelled",
    ("partially_filled", _T.EXPIRE): "expired",
    ("unknown", _T.REST): "resting",
    ("unknown", _T.REST_PART): "partially_filled",
    ("unknown", _T.FILL_PART): "unknown",  # it was alive then; is it now? The fill can't say
    ("unknown", _T.FILL_ALL): "filled",
    ("unknown", _T.LOSE): "unknown",  # an urgent cancel of an unknown order was lost too
    ("unknown", _T.CANCEL): "cancelled",
    ("unknown", _T.EXPIRE): "expired",
    ("unknown", _T.ABSENT): "rejected",
    # An ended order keeps its end, but fills still come in: the books need each of them.
    ("filled", _T.FILL_ALL): "filled",
    ("filled", _T.CANCEL): "filled",  # the cancel and the last fill crossed on the way
    ("filled", _T.EXPIRE): "filled",
    ("filled", _T.LOSE): "filled",  # the socket told of the fill, the answer itself got lost
    ("filled", _T.REAPPEAR): "unknown",  # larger than we knew: an amend that we took for lost
    ("cancelled", _T.REST): "cancelled",  # a read from before the cancel (stale for 360 ms), or
    ("cancelled", _T.REST_PART): "cancelled",  # a place answer overtaken by the cancel
    ("cancelled", _T.FILL_PART): "cancelled",  # filled in part first, and told of it late
    ("cancelled", _T.FILL_ALL): "filled",  # real: the fill won the race against the cancel
    ("cancelled", _T.CANCEL): "cancelled",
    ("cancelled", _T.EXPIRE): "cancelled",
    ("cancelled", _T.LOSE): "cancelled",  # a second cancel's 404: it was gone, and we know why
    ("cancelled", _T.REAPPEAR): "unknown",  # a ghost: reads differ, so we do not know
    ("expired", _T.REST): "expired",
    ("expired", _T.REST_PART): "expired",
    ("expired", _T.FILL_PART): "expired",
    ("expired", _T.FILL_ALL): "filled",
    ("expired", _T.CANCEL): "expired",
    ("expired", _T.EXPIRE): "expired",
    ("expired", _T.LOSE): "expired",  # our cancel at T-2 s met the exchange's own expiry
    ("expired", _T.REAPPEAR): "unknown",
    # A rejected order has no business at the exchange. If it shows up there after all, the
    # proof was wrong: back to unknown, and from there by reading.
    ("rejected", _T.REST): "unknown",
    ("rejected", _T.REST_PART): "unknown",
    ("rejected", _T.FILL_PART): "unknown",
    ("rejected", _T.FILL_ALL): "filled",
    ("rejected", _T.CANCEL): "cancelled",
    ("rejected", _T.EXPIRE): "expired",
    ("rejected", _T.LOSE): "rejected",  # an urgent cancel of an order that never was
    ("rejected", _T.REAPPEAR): "unknown",
}


def next_state(state: OrderState, trigger: Trigger) -> OrderState:
    """Return the state after a trigger; raise `IllegalTransition` for a pair not in the table."""
    after = TABLE.get((state, trigger))
    if after is None:
        allowed = sorted(str(known) for held, known in TABLE if held == state)
        raise IllegalTransition(f"order {state}: expected one of {allowed}, got {trigger}")
    return after
