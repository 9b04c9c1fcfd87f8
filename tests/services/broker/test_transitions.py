import pytest

from libs.common.messages import OPEN_STATES
from services.broker.transitions import (
    ENDED,
    STATES,
    TABLE,
    IllegalTransition,
    Trigger,
    next_state,
)

PAIRS = [(state, trigger) for state in STATES for trigger in Trigger]


@pytest.mark.parametrize(("state", "trigger"), PAIRS)
def test_each_pair_is_legal_or_raises(state, trigger):
    if (state, trigger) in TABLE:
        assert next_state(state, trigger) in STATES
    else:
        with pytest.raises(IllegalTransition, match=f"order {state}: expected one of"):
            next_state(state, trigger)


def test_every_state_is_either_open_or_ended():
    assert frozenset(STATES) == OPEN_STATES | ENDED
    assert not OPEN_STATES & ENDED


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("sent rest fill_part fill_all", "filled"),
        ("sent fill_part rest_part cancel", "cancelled"),
        ("sent fill_all", "filled"),
        ("sent refuse", "rejected"),
        ("withhold", "rejected"),
        ("sent rest expire", "expired"),
        ("sent lose rest cancel", "cancelled"),
        ("lose absent", "rejected"),
        ("sent rest cancel fill_all", "filled"),  # the fill won the race
        ("sent rest cancel fill_part", "cancelled"),
        ("sent lose absent reappear rest_part", "partially_filled"),  # a ghost
        ("sent rest expire lose", "expired"),  # our cancel's 404 after the exchange's expiry
    ],
)
def test_lives(path, end):
    state = "intent"
    for trigger in path.split():
        state = next_state(state, Trigger(trigger))
    assert state == end


@pytest.mark.parametrize(
    ("state", "trigger"),
    [
        ("intent", "rest"),  # nothing rests that was not sent
        ("intent", "fill_all"),
        ("resting", "refuse"),  # what rests can't be refused any more
        ("resting", "absent"),  # what was taken is never argued away
        ("partially_filled", "absent"),
        ("partially_filled", "rest"),  # fills are never lost again
        ("submitted", "absent"),
        ("filled", "rest"),
        ("unknown", "sent"),  # never sent a second time
        ("unknown", "refuse"),
    ],
)
def test_what_can_never_be(state, trigger):
    with pytest.raises(IllegalTransition):
        next_state(state, Trigger(trigger))


def test_only_proof_leads_out_of_unknown():
    ways_out = {trigger for (state, trigger), after in TABLE.items() if state == "unknown" != after}
    assert ways_out == {"rest", "rest_part", "fill_all", "cancel", "expire", "absent"}


def test_an_order_that_ended_comes_back_only_through_unknown():
    comebacks = {after for (state, _), after in TABLE.items() if state in ENDED} - ENDED
    assert comebacks == {"unknown"}
