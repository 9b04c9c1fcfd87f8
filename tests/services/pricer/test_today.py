"""Minutes out of ticks, and what the pricer believes of today."""

from math import log

from services.pricer.today import LATE_NS_MAX, MinuteTape, Today
from tests.services.pricer.builders import MINUTE, OPEN, S, calibration, mixture, tick

START = OPEN


def fed(ticks):
    tape = MinuteTape()
    return [move for at, level in ticks if (move := tape.fold(START + at, level)) is not None]


def test_a_minute_is_from_end_to_end():
    moves = fed([(0, 100), (30 * S, 120), (MINUTE, 110), (2 * MINUTE, 121)])
    assert [(a - START, b - START) for a, b, _ in moves] == [(0, MINUTE), (MINUTE, 2 * MINUTE)]
    assert [round(c, 12) for _, _, c in moves] == [round(log(1.1), 12)] * 2


def test_the_last_tick_before_the_end_stands_for_it_if_it_is_recent():
    near, late = MINUTE - S, MINUTE - LATE_NS_MAX - S
    assert len(fed([(0, 100), (near, 110), (MINUTE + S, 150), (2 * MINUTE, 121)])) == 2
    assert fed([(0, 100), (late, 110), (MINUTE + S, 150), (2 * MINUTE, 121)]) == []


def test_no_move_spans_a_gap_and_old_ticks_are_left_out():
    assert fed([(0, 100), (2 * MINUTE, 120)]) == []
    assert len(fed([(0, 100), (MINUTE, 110), (30 * S, 500), (2 * MINUTE, 121)])) == 2


def test_the_belief_is_of_minutes_that_ended():
    today = Today({"INXU": mixture()})
    for second in range(0, 3 * 60 + 30, 10):
        today.fold(tick(OPEN + second * S, level=5220.0 + second % 60 / 10))
    belief = today.belief("INXU", OPEN + 3 * MINUTE + 30 * S)
    assert belief.at_ns == OPEN + 3 * MINUTE
    assert today.belief("INXU", OPEN + 2 * MINUTE) is None  # our clock was set back
    assert today.belief("INX", OPEN + 3 * MINUTE) is None


def test_other_indices_nights_and_models_that_do_not_learn_leave_no_belief():
    today = Today({"INXU": mixture(), "INX": calibration()})
    night = OPEN - 12 * 60 * MINUTE
    for minute in range(3):
        today.fold(tick(night + minute * MINUTE, level=5220.0 + minute))
        today.fold(tick(OPEN + minute * MINUTE, level=20_000.0, symbol="I:NDX"))
    assert today.belief("INXU", OPEN + 3 * MINUTE) is None
    assert today.belief("INX", OPEN + 3 * MINUTE) is None
