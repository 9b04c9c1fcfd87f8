"""Raw copies: everything that came, dated, bounded, and never at the cost of the feed."""

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.clock import ManualClock
from libs.common.logs import make_logger
from services.feeds.raw import RawLog
from tests.services.feeds.feeding import NOW, S

CLOCK = ManualClock(NOW)  # 2024-08-05 in UTC
LOG = make_logger("feeds", CLOCK)


async def flushed(raw: RawLog) -> None:
    """Let the writer end, which writes what is left."""
    task = asyncio.create_task(raw.run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def lines(directory: Path, name: str = "index.ws-2024-08-05.jsonl") -> list[dict[str, object]]:
    text = (directory / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


async def test_frames_are_kept_as_they_came(tmp_path: Path) -> None:
    raw = RawLog(tmp_path / "raw", "index.ws", CLOCK, LOG, 10_000)
    raw.add('[{"ev":"A"}]\n', NOW)
    raw.add(b"\x00\xff", NOW + 1)
    await flushed(raw)
    assert lines(tmp_path / "raw") == [
        {"recv_ns": NOW, "raw": '[{"ev":"A"}]\n'},
        {"recv_ns": NOW + 1, "raw": "\x00\\xff"},
    ]


async def test_a_second_run_goes_on_in_the_day_s_file(tmp_path: Path) -> None:
    for n in range(2):
        raw = RawLog(tmp_path, "index.ws", CLOCK, LOG, 10_000)
        raw.add(str(n), NOW)
        await flushed(raw)
    assert [line["raw"] for line in lines(tmp_path)] == ["0", "1"]


async def test_each_day_has_its_file(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    raw = RawLog(tmp_path, "index.ws", clock, LOG, 10_000)
    raw.add("first", NOW)
    raw._flush()
    await clock.advance_to(NOW + 24 * 3600 * S)
    raw.add("second", NOW)
    await flushed(raw)
    assert [line["raw"] for line in lines(tmp_path)] == ["first"]
    assert [line["raw"] for line in lines(tmp_path, "index.ws-2024-08-06.jsonl")] == ["second"]


async def test_at_its_bound_the_copy_stops_and_counts_what_it_lost(tmp_path: Path) -> None:
    raw = RawLog(tmp_path, "index.ws", CLOCK, LOG, 200)
    for _ in range(3):
        for _ in range(10):
            raw.add("x" * 20, NOW)
        raw._flush()
    await flushed(raw)
    size = (tmp_path / "index.ws-2024-08-05.jsonl").stat().st_size
    assert size <= 200
    assert raw.lost_count == 30 - len(lines(tmp_path)) > 0


async def test_a_directory_that_cannot_be_made_costs_the_copy_not_the_feed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    raw = RawLog(blocked / "raw", "index.ws", CLOCK, LOG, 10_000)
    raw.add("x", NOW)
    raw._flush()
    assert raw.lost_count == 1
    blocked.unlink()
    raw.add("y", NOW)
    await flushed(raw)
    assert [line["raw"] for line in lines(blocked / "raw")] == ["y"]


@given(st.one_of(st.text(), st.binary()))
def test_nothing_that_comes_raises(tmp_path_factory, frame) -> None:
    raw = RawLog(Path("unused"), "index.ws", CLOCK, LOG, 10_000)
    raw.add(frame, NOW)
    assert raw.lost_count in (0, 1)
