"""Clocks: exact scaled time, and manual time that wakes sleepers in their order."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.clock import ClockSpec, ManualClock, ScaledClock, SystemClock

S = 1_000_000_000
NOON = 1_722_873_600 * S


def test_without_anchors_it_is_the_system_s_time() -> None:
    clock = ClockSpec().build()
    before = time.time_ns()
    assert isinstance(clock, SystemClock)
    assert before <= clock.now_ns() <= time.time_ns()


def test_a_scaled_clock_shows_its_anchor_and_runs_at_its_rate() -> None:
    wall_ns = time.time_ns()
    clock = ClockSpec(rate=10.0, wall_anchor_ns=wall_ns, virtual_anchor_ns=NOON).build()
    assert isinstance(clock, ScaledClock)
    low = NOON + 10 * (time.time_ns() - wall_ns)
    shown = clock.now_ns()
    high = NOON + 10 * (time.time_ns() - wall_ns)
    assert low <= shown <= high


@given(st.integers(-3600, 3600), st.sampled_from([0.5, 1.0, 10.0, 60.0]))
def test_an_anchor_in_the_past_or_future_only_shifts(offset_s: int, rate: float) -> None:
    wall_ns = time.time_ns() + offset_s * S
    clock = ScaledClock(wall_ns, NOON, rate)
    expected_ns = NOON - offset_s * S * rate
    assert abs(clock.now_ns() - expected_ns) < 5 * S * rate


async def test_a_scaled_sleep_ends_when_its_time_has_come() -> None:
    clock = ScaledClock(time.time_ns(), NOON, 1_000.0)
    due_ns = clock.now_ns() + 20 * S  # 20 ms of real time
    await clock.sleep_until(due_ns)
    assert clock.now_ns() >= due_ns
    await clock.sleep_until(due_ns)  # past: at once


async def test_a_system_sleep_ends_when_its_time_has_come() -> None:
    clock = SystemClock()
    due_ns = clock.now_ns() + S // 100
    await clock.sleep_until(due_ns)
    assert clock.now_ns() >= due_ns
    await clock.sleep(0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 10.0},
        {"rate": 0.0, "wall_anchor_ns": 1, "virtual_anchor_ns": 1},
        {"rate": 1e5, "wall_anchor_ns": 1, "virtual_anchor_ns": 1},
        {"rate": float("nan"), "wall_anchor_ns": 1, "virtual_anchor_ns": 1},
        {"wall_anchor_ns": 1},
        {"virtual_anchor_ns": 1},
    ],
)
def test_an_impossible_clock_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"clock"):
        ClockSpec(**wrong)


async def woken(clock: ManualClock, times: list[int], log: list[tuple[int, int]]) -> None:
    async def sleeper(number: int, at_ns: int) -> None:
        await clock.sleep_until(at_ns)
        log.append((number, clock.now_ns()))

    async with asyncio.TaskGroup() as group:
        for number, at_ns in enumerate(times):
            group.create_task(sleeper(number, at_ns))
        await clock.advance_to(max([*times, clock.now_ns()]) + 1)


@given(st.lists(st.integers(1, 20), max_size=12))
async def test_sleepers_wake_in_order_each_at_its_own_time(times: list[int]) -> None:
    log: list[tuple[int, int]] = []
    await woken(ManualClock(0), times, log)
    assert log == sorted(
        ((number, at_ns) for number, at_ns in enumerate(times)),
        key=lambda entry: (entry[1], entry[0]),
    )


async def test_a_sleeper_that_sleeps_again_wakes_again_on_the_same_way() -> None:
    clock, seen = ManualClock(0), []

    async def tick() -> None:
        for _ in range(3):
            await clock.sleep(1.0)
            seen.append(clock.now_ns())

    task = asyncio.create_task(tick())
    await clock.advance_to(10 * S)
    await task
    assert seen == [S, 2 * S, 3 * S]
    assert clock.now_ns() == 10 * S


async def test_a_cancelled_sleeper_hinders_nobody() -> None:
    clock = ManualClock(0)
    gone = asyncio.create_task(clock.sleep_until(1))
    stays = asyncio.create_task(clock.sleep_until(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    await clock.advance_to(5)
    await stays


async def test_past_sleeps_return_at_once_and_time_never_runs_back() -> None:
    clock = ManualClock(7)
    await clock.sleep_until(7)
    await clock.sleep(0)
    with pytest.raises(AssertionError, match="time runs forward"):
        await clock.advance_to(6)
