"""`alpha replay`: a capture's digest, and what can't be used in one line."""

import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from cli.main import app
from lab.capture.export import STREAMS_KIND
from lab.capture.format import CaptureWriter, Head, Record
from libs.common.config import ConfigError
from libs.common.messages import encode
from libs.common.topology import subject_of
from tests.lab.backtest.making import NOON, write_bars
from tests.lab.capture.messages import DAY_NS, S, tick


@pytest.fixture
def capture(tmp_path):
    path = tmp_path / "ticks.cap"
    with CaptureWriter(path, Head(kind=STREAMS_KIND, provenance="synthetic")) as writer:
        for second in range(5):
            one = tick(DAY_NS + second * S)
            writer.add(Record(one.ts_pub_ns, "TICKS", subject_of(one), second + 1, encode(one)))
    return path


def replay(*words):
    given = ["replay", *(str(word) for word in words)]
    return CliRunner().invoke(app, given, catch_exceptions=False)


def test_the_result_is_json(capture):
    shown = replay(capture, "--json")
    assert shown.exit_code == 0
    values = json.loads(shown.output)
    assert values["inputs"] == 5
    assert len(values["effects_digest"]) == 32
    again = json.loads(replay(capture, "--json", "--speed", "9000").output)
    assert again["effects_digest"] == values["effects_digest"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--speed", "fast"), "--speed: expected max, or above 0"),
        (("--speed", "-1"), "--speed: expected max, or above 0"),
        (("--bus", "kafka"), "--bus: expected memory or nats"),
    ],
)
def test_what_cannot_be_used_is_named(capture, words, told):
    with pytest.raises(ConfigError, match=told):
        replay(capture, *words)


def test_what_is_no_capture_is_named(tmp_path, capture):
    cut = tmp_path / "cut.cap"
    cut.write_bytes(capture.read_bytes()[:-3])
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "index.ws-2024-08-05.jsonl").touch()
    for path, told in (
        (tmp_path / "none.cap", "No such file"),
        (cut, "expected its end"),
        (raw, "alpha export --raw"),
    ):
        with pytest.raises(ConfigError, match=told):
            replay(path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_bars_give_the_same_digest_over_nats(tmp_path):
    """Two closes of one index, ten minutes each; the broker begins anew between them."""
    for day in (5, 6):
        close = NOON.replace(day=day, hour=20)
        write_bars(tmp_path, close - timedelta(minutes=10), 10, name=f"day{day}", seed=day)
    memory, nats = (
        json.loads(replay(tmp_path, "--bus", bus, "--json").stdout) for bus in ("memory", "nats")
    )
    assert memory["fills"] > 0
    assert (nats["bus"], nats["kind"]) == ("nats", "bars")
    same = ("effects_digest", "effects", "messages", "orders", "fills", "settled_pnl_e6")
    assert [nats[name] for name in same] == [memory[name] for name in same]
