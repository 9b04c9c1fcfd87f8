"""The same capture and seed give the same bytes: twice, at any speed, over MemoryBus and NATS."""

from datetime import timedelta

import pytest

from lab.backtest.spans import find_spans
from lab.backtest.world import World
from lab.capture.errors import BadRecord
from lab.capture.export import STREAMS_KIND
from lab.capture.feeds import FEEDS_KIND, records_of
from lab.capture.format import CaptureReader, CaptureWriter, Head, Record
from lab.drive.carrier import memory_carrier
from lab.drive.config import load_drive
from lab.drive.cores import load_calibrations
from lab.drive.nats_carrier import NatsCarrier
from lab.replay.run import Replay, at_speed
from libs.common.messages import IndexTick, OrderUpdate, Verdict, decode
from libs.common.topology import SERVICES
from tests.lab.backtest.making import NOON, write_bars

S = 1_000_000_000
KEPT_NS = 40 * S
"""Long enough for some dozens of orders, short enough for NATS one message at a time."""


@pytest.fixture(scope="module")
def setting():
    config = load_drive("replay")
    return config, load_calibrations(config)


@pytest.fixture(scope="module")
def captures(setting, tmp_path_factory):
    """Run the first part of a window and keep both what feeds was told and what was published."""
    folder = tmp_path_factory.mktemp("captures")
    write_bars(folder, NOON - timedelta(minutes=15), 15)
    (span,) = find_spans([folder], 1, None, None).spans
    world = World(*setting, None, start_ns=span.start_ns - S, seed=1)
    until_ns = span.start_ns + KEPT_NS
    inputs, messages = [], []
    world.market.record = lambda event: inputs.extend(records_of(event))
    fold = world.services.watch

    def watch(stream, sequence, subject, message, data):
        messages.append(Record(world.schedule.now_ns, stream, subject, sequence, data))
        fold(stream, sequence, subject, message, data)

    world.services.watch = watch

    class Enough(Exception):
        pass

    def progress(span, now_ns):
        if now_ns >= until_ns:
            raise Enough

    with pytest.raises(Enough):
        world.run(span, progress, S)
    paths = {}
    for kind, records in ((FEEDS_KIND, inputs), (STREAMS_KIND, messages)):
        paths[kind] = folder / f"{kind}.cap"
        with CaptureWriter(paths[kind], Head(kind=kind, provenance="replay")) as writer:
            for record in records:
                writer.add(record)
    return paths, messages


def replayed(setting, path, *, seed=1, carrier=memory_carrier, speed=None):
    said = []
    with CaptureReader(path) as reader:
        run = Replay(reader, *setting, seed=seed, carrier=carrier)
        fold = run.services.watch

        def watch(stream, sequence, subject, message, data):
            said.append((stream, message))
            fold(stream, sequence, subject, message, data)

        run.services.watch = watch
        result = run.run("memory", at_speed(speed))
        run.close()
    return result, said


@pytest.mark.parametrize("kind", [FEEDS_KIND, STREAMS_KIND])
def test_twice_at_any_speed_and_over_nats_the_effects_are_the_same_bytes(
    setting, captures, kind, fresh_nats
):
    path = captures[0][kind]
    first, said = replayed(setting, path)
    assert any(isinstance(message, Verdict) and message.quotes for _, message in said)
    again, _ = replayed(setting, path, speed=5_000.0)

    def nats(now_ns):
        secrets = {service: fresh_nats.passwords[service] for service in SERVICES}
        return NatsCarrier(fresh_nats.url, secrets)

    over_nats, said_there = replayed(setting, path, carrier=nats)
    assert first.effects_digest == again.effects_digest == over_nats.effects_digest
    assert said == said_there
    assert first.effects == over_nats.effects > 500


def test_another_seed_takes_other_times(setting, captures):
    path = captures[0][FEEDS_KIND]
    assert (
        replayed(setting, path)[0].effects_digest
        != replayed(setting, path, seed=2)[0].effects_digest
    )


def test_feeds_says_what_it_said_then(setting, captures):
    paths, messages = captures
    then = [decode(one.data) for one in messages if one.source == "TICKS"]
    _, said = replayed(setting, paths[FEEDS_KIND])
    ticks = [message for _, message in said if isinstance(message, IndexTick)]
    assert ticks == [one for one in then if isinstance(one, IndexTick)]


def test_recorded_books_take_our_orders(setting, captures):
    result, said = replayed(setting, captures[0][FEEDS_KIND])
    assert result.orders > 0
    states = {message.state for _, message in said if isinstance(message, OrderUpdate)}
    assert "resting" in states
    assert "unknown" not in states


def test_from_an_export_the_broker_is_dry_and_the_decisions_are_made_again(setting, captures):
    paths, messages = captures
    result, said = replayed(setting, paths[STREAMS_KIND])
    assert result.orders == result.fills == 0
    updates = [message for _, message in said if isinstance(message, OrderUpdate)]
    assert updates
    assert {(one.state, one.reason) for one in updates} == {("cancelled", "not_sent dry")} or {
        "dry" in one.reason for one in updates
    } == {True}
    assert result.inputs < len(messages)  # what pricer, risk and broker said then is not said again


def test_a_record_that_is_no_input_is_named(setting, tmp_path):
    for kind, told in ((FEEDS_KIND, "an input of feeds"), (STREAMS_KIND, "a message of ours")):
        path = tmp_path / f"{kind}.cap"
        with CaptureWriter(path, Head(kind=kind, provenance="replay")) as writer:
            writer.add(Record(NOON_NS, "TICKS", "", 1, b"junk"))
        with pytest.raises(BadRecord, match=told):
            replayed(setting, path)


NOON_NS = int(NOON.timestamp()) * S
