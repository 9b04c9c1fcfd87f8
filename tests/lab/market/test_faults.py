"""Faults are read from one short form, and nothing else."""

import pytest

from lab.market.faults import FAULTS_MAX, Fault, FaultError, bad_frames, parse_faults

S = 1_000_000_000


def test_faults_are_read_in_order_of_time() -> None:
    assert parse_faults(["silence@+120s:5s", "garbage@+60s", "disconnect@+200s"]) == (
        Fault("garbage", 60 * S, 61 * S),
        Fault("silence", 120 * S, 125 * S),
        Fault("disconnect", 200 * S, 201 * S),
    )
    assert parse_faults([]) == ()


@pytest.mark.parametrize(
    "text",
    ["", "silence", "silence@+5s", "garbage@+5s:2s", "flood@+5s", "silence@-5s:1s", "x" * 99],
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(FaultError, match=r"expected a form like|takes"):
        parse_faults([text])


def test_their_number_is_bounded() -> None:
    with pytest.raises(FaultError, match="at most"):
        parse_faults(["garbage@+1s"] * (FAULTS_MAX + 1))


def test_bad_frames_are_of_different_kinds() -> None:
    frames = bad_frames(10 * S)
    assert len(set(frames)) == len(frames) == 7
    assert any(isinstance(frame, bytes) for frame in frames)
