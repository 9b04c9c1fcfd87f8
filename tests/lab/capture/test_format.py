"""Captures: what goes in comes out, from anywhere; whatever is wrong has a type and a line."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.capture import errors
from lab.capture import format as capture
from lab.capture.format import CaptureReader, CaptureWriter, Head, Record

HEAD = Head(kind="streams", provenance="synthetic", about={"day": "2024-08-05"})


def record(at_ns, text="x"):
    return Record(at_ns, "TICKS", "ticks", at_ns, text.encode())


def written(path, records, head=HEAD):
    with CaptureWriter(path, head) as writer:
        for one in records:
            writer.add(one)
    return path


def read(path, from_ns=0):
    with CaptureReader(path) as reader:
        return list(reader.read(from_ns))


BYTES = st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=40)), max_size=60)


@given(BYTES)
def test_what_goes_in_comes_out_and_a_block_is_no_matter(tmp_path_factory, steps):
    at_ns, records = 0, []
    for number, (step_ns, data) in enumerate(steps):
        at_ns += step_ns
        records.append(Record(at_ns, "LADDERS", "é", number, data))
    path = tmp_path_factory.mktemp("one") / "x.cap"
    assert read(written(path, records)) == records


@pytest.fixture
def many(tmp_path):
    """Several blocks: sizes come from the format's own bound."""
    count = capture.BLOCK_RECORDS * 2 + 7
    return written(tmp_path / "many.cap", (record(10 * n) for n in range(count))), count


def test_a_reader_begins_anywhere_by_the_index(many):
    path, count = many
    with CaptureReader(path) as reader:
        assert reader.head == HEAD
        assert (reader.records, reader.first_ns, reader.last_ns) == (count, 0, 10 * (count - 1))
        assert len(reader.blocks) == 3
        for from_ns in (0, 1, 10 * capture.BLOCK_RECORDS - 5, 10 * (count - 1), 10 * count):
            expected = range(-(-from_ns // 10), count)
            assert [one.sequence // 10 for one in reader.read(from_ns)] == list(expected)


def test_large_records_fill_blocks_by_bytes(tmp_path):
    big = "y" * (capture.BLOCK_BYTES // 2)
    path = written(tmp_path / "big.cap", (record(n, big) for n in range(5)))
    with CaptureReader(path) as reader:
        assert [block.records for block in reader.blocks] == [2, 2, 1]


def test_an_empty_capture_is_one(tmp_path):
    assert read(written(tmp_path / "no.cap", ())) == []


def test_a_capture_is_never_written_over_nor_left_half_done(tmp_path):
    path = written(tmp_path / "x.cap", [record(1)])
    with pytest.raises(errors.NotACapture, match="expected a new file"):
        CaptureWriter(path, HEAD)
    half = tmp_path / "half.cap"
    with pytest.raises(errors.BadRecord, match="records in order of time, found 4 after 5"):
        written(half, [record(5), record(4)])
    assert not half.exists()


def test_every_cut_is_named_as_one(many, tmp_path):
    whole = many[0].read_bytes()
    for size in (12, 40, len(whole) // 2, len(whole) - 1):
        path = tmp_path / "cut.cap"
        path.write_bytes(whole[:size])
        with pytest.raises(errors.Truncated, match=r"cut\.cap: expected .* found "):
            CaptureReader(path)


@pytest.mark.parametrize("part", ["head", "block", "index"])
def test_a_changed_byte_is_a_wrong_checksum(many, tmp_path, part):
    data = bytearray(many[0].read_bytes())
    with CaptureReader(many[0]) as reader:
        (index_at,) = struct.unpack("<Q", data[-16:-8])
        place = {"head": 12, "block": reader.blocks[1].offset, "index": index_at}[part]
    data[place + 8 + 3] ^= 0x40
    path = tmp_path / "changed.cap"
    path.write_bytes(data)
    with pytest.raises(errors.WrongChecksum, match="crc32"):
        read(path)


def test_an_index_that_points_elsewhere_is_refused(many, tmp_path):
    data = bytearray(many[0].read_bytes())
    data[-16:-8] = struct.pack("<Q", len(data) + 5)
    path = tmp_path / "lost.cap"
    path.write_bytes(data)
    with pytest.raises(errors.WrongChecksum, match="an index within the file"):
        CaptureReader(path)


def test_another_version_and_other_files_are_refused(many, tmp_path):
    data = bytearray(many[0].read_bytes())
    data[8] = 2
    newer = tmp_path / "newer.cap"
    newer.write_bytes(data)
    with pytest.raises(errors.UnknownVersion, match="expected version 1, found 2"):
        CaptureReader(newer)
    for path, found in ((tmp_path / "none.cap", "No such file"), (tmp_path / "text", "b'timesta")):
        if path.name == "text":
            path.write_text("timestamp,open\n")
        with pytest.raises(errors.NotACapture, match=found):
            CaptureReader(path)


def test_a_block_with_other_contents_than_the_index_says_is_refused(tmp_path, many):
    """Right checksum, wrong records: a writer's mistake must not pass for data."""
    data = bytearray(many[0].read_bytes())
    with CaptureReader(many[0]) as reader:
        offset = reader.blocks[2].offset
    size, _ = struct.unpack("<II", data[offset : offset + 8])
    for content, told in ((b"junk", "readable"), (b"\x90", "7 records in block 2, found 0")):
        packed = capture.zstd.compress(content)
        assert len(packed) <= size
        changed = (
            data[: offset + 8] + packed + b"\0" * (size - len(packed)) + data[offset + 8 + size :]
        )
        changed[offset : offset + 8] = struct.pack("<II", len(packed), zlib.crc32(packed))
        path = tmp_path / f"{told[:3]}.cap"
        path.write_bytes(changed)
        with pytest.raises(errors.BadRecord, match=told):
            read(path)
