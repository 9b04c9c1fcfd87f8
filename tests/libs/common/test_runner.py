"""The runner over a bus in memory: the order of things, and what ends a service."""

import asyncio
import socket
from pathlib import Path

import pytest
from msgspec.structs import replace

from libs.common.admin import probe_health
from libs.common.bus import BusMismatch, Fence
from libs.common.config import ConfigError, ServiceConfig
from libs.common.effects import (
    CancelTimer,
    Effect,
    Event,
    Publish,
    Received,
    SetTimer,
)
from libs.common.memory_bus import MemoryBus
from libs.common.messages import (
    Message,
    decode,
    encode,
)
from libs.common.runner import Fatal, Runner
from libs.common.topology import Service, subject_of
from tests.libs.common.runner_rig import (
    EPOCH,
    NOW,
    UPDATE,
    VERDICT,
    Act,
    Kick,
    Rig,
    S,
    ScriptedApp,
)

# The way through the states


async def test_recovery_ends_before_a_message_comes(rig: Rig) -> None:
    rig.app.gate.clear()
    rig.store(VERDICT)
    rig.start()
    await rig.until(lambda: "recover" in rig.app.log)
    for _ in range(50):
        await asyncio.sleep(0)
    assert rig.received() == []
    assert [beat.state for beat in rig.beats()] == []
    rig.app.gate.set()
    await rig.until(rig.received)
    assert rig.app.log == ["recover", "recovered", "run"]
    event = rig.app.core.events[0]
    assert isinstance(event, Received)
    assert event.message == VERDICT
    assert (event.stream, event.sequence, event.now_ns) == ("VERDICTS", 1, NOW)


async def test_a_stop_drains_and_says_so(rig: Rig) -> None:
    await rig.ready()
    assert rig.runner is not None
    rig.runner.stop()
    assert await rig.ended() is None
    assert rig.app.log == ["recover", "recovered", "run", "drain"]
    assert [beat.state for beat in rig.beats()] == ["READY", "DRAIN", "STOPPED"]


async def test_one_that_dies_does_not_say_that_it_stopped(rig: Rig) -> None:
    await rig.ready()
    rig.app.end.set()
    assert isinstance(await rig.ended(), Fatal)
    assert [beat.state for beat in rig.beats()] == ["READY", "DRAIN"]


async def test_a_stop_in_the_middle_of_recovery_is_obeyed(rig: Rig) -> None:
    rig.app.gate.clear()
    rig.start()
    await rig.until(lambda: rig.app.log == ["recover"])
    assert rig.runner is not None
    rig.runner.stop()
    assert await rig.ended() is None
    assert rig.app.log == ["recover", "drain"]


async def test_heartbeats_come_by_the_run_s_clock(rig: Rig) -> None:
    await rig.ready()
    await rig.clock.advance_to(NOW + 12 * S)
    beats = rig.beats()
    assert [(beat.state, beat.ts_pub_ns - NOW) for beat in beats] == [
        ("READY", 0),
        ("READY", 5 * S),
        ("READY", 10 * S),
    ]
    assert {(beat.service, beat.instance, beat.detail) for beat in beats} == {
        ("broker", "broker-1", "all quiet")
    }
    assert len({beat.id for beat in beats}) == 3


async def test_health_serves_only_while_ready(rig: Rig) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rig.config = ServiceConfig(
        **{name: getattr(rig.config, name) for name in rig.config.__struct_fields__}
        | {"admin_port": port}
    )
    rig.app.gate.clear()
    rig.start()
    await rig.until(lambda: rig.app.log)
    assert await probe_health(f"127.0.0.1:{port}") == "NOT_SERVING"
    rig.app.gate.set()
    await rig.until(lambda: "run" in rig.app.log)
    assert await probe_health(f"127.0.0.1:{port}") == "SERVING"


# Effects


async def test_effects_happen_in_order_and_the_outside_gets_the_publishes_before_it(
    rig: Rig,
) -> None:
    await rig.ready()
    rig.app.core.answer = lambda event: (
        [
            Act(name="first"),
            Publish(message=UPDATE),
            Act(name="second"),
            Publish(message=EPOCH),
            Act(name="third"),
        ]
        if isinstance(event, Kick)
        else []
    )
    published = rig.kick()
    assert [name for name, _ in rig.app.performed] == ["first", "second", "third"]
    assert [len(after) for _, after in rig.app.performed] == [0, 1, 2]
    assert len(published) == 2
    stored = [decode(one.data) for one in rig.hub.log("ORDERS").after(0)]
    assert stored == [UPDATE, EPOCH]


class RecordingBus(MemoryBus):
    """A bus that remembers fences, and fails as it is told."""

    fences: list[Fence | None]
    failure: Exception | None = None

    def publish(
        self, subject: str, data: bytes, *, message_id: str, fence: Fence | None = None
    ) -> asyncio.Future[int]:
        self.fences.append(fence)
        if self.failure is not None:
            failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            failed.set_exception(self.failure)
            failed.add_done_callback(lambda done: done.exception())
            return failed
        return super().publish(subject, data, message_id=message_id, fence=fence)

    async def verify(self) -> None:
        if isinstance(self.failure, BusMismatch):
            raise self.failure


@pytest.fixture
async def recording(rig: Rig) -> RecordingBus:
    bus = RecordingBus(rig.hub, Service.BROKER)
    bus.fences = []
    rig.bus = bus
    return bus


async def test_a_fenced_publish_carries_the_app_s_epoch(rig: Rig, recording) -> None:
    await rig.ready()
    rig.store(EPOCH)
    rig.app.fence = rig.hub.log("ORDERS").last_sequence
    rig.app.core.answer = lambda _: [
        Publish(message=UPDATE, fenced=True),
        Publish(message=replace(UPDATE, id="another")),
    ]
    recording.fences.clear()
    await asyncio.gather(*rig.kick())
    assert recording.fences == [Fence("orders.epoch", rig.app.fence), None]


async def test_a_deposed_writer_ends(rig: Rig) -> None:
    await rig.ready()
    rig.store(EPOCH)
    rig.app.fence = rig.hub.log("ORDERS").last_sequence
    rig.store(EPOCH)  # another broker took over
    rig.app.core.answer = lambda _: [Publish(message=UPDATE, fenced=True)]
    rig.kick()
    error = await rig.ended()
    assert isinstance(error, Fatal)
    assert "FenceRefused" in str(error)
    assert len(rig.hub.log("ORDERS").after(0)) == 2


async def test_a_publish_that_fails_ends_the_service_in_words(rig: Rig) -> None:
    await rig.ready()
    rig.app.core.answer = lambda _: [Publish(message=VERDICT)]  # risk's, not the broker's
    rig.kick()
    error = await rig.ended()
    assert isinstance(error, Fatal)
    assert "verdicts.KXINXU" in str(error)
    assert "drain" in rig.app.log


# Timers


async def test_on_a_closed_bus_effects_and_the_drain_still_happen(rig: Rig) -> None:
    """A cancel that follows its intent, and the drain of what rests, do not need the bus."""
    await rig.ready()
    await rig.bus.close()
    rig.app.core.answer = lambda _: [Publish(message=VERDICT), Act(name="cancel")]
    rig.kick()
    assert [name for name, _ in rig.app.performed] == ["cancel"]
    assert isinstance(await rig.ended(), Fatal)
    assert rig.app.log[-1] == "drain"


async def test_timers_fire_at_their_time_replace_and_cancel(rig: Rig) -> None:
    await rig.ready()
    answers: dict[str, list[Effect]] = {
        "set": [SetTimer(key="a", at_ns=NOW + S), SetTimer(key="b", at_ns=NOW + 2 * S)],
        "again": [SetTimer(key="a", at_ns=NOW + 3 * S)],
        "cancel": [CancelTimer(key="b"), CancelTimer(key="never-set")],
    }
    rig.app.core.answer = lambda e: answers[e.name] if isinstance(e, Kick) else []
    for name in answers:
        rig.kick(name)
    await rig.clock.advance_to(NOW + 10 * S)
    assert rig.fired() == [("a", NOW + 3 * S, NOW + 3 * S)]


async def test_a_timer_in_the_past_fires_at_once(rig: Rig) -> None:
    await rig.ready()
    rig.app.core.answer = lambda e: (
        [SetTimer(key="late", at_ns=NOW - S)] if isinstance(e, Kick) else []
    )
    rig.kick()
    await rig.until(rig.fired)
    assert rig.fired() == [("late", NOW - S, NOW)]


async def test_a_timer_that_sets_itself_goes_on(rig: Rig) -> None:
    await rig.ready()

    def every_second(event: Event) -> list[Effect]:
        return [CancelTimer(key="tick"), SetTimer(key="tick", at_ns=event.now_ns + S)]

    rig.app.core.answer = every_second
    rig.kick()
    await rig.clock.advance_to(NOW + 3 * S)
    assert [now_ns - NOW for _, _, now_ns in rig.fired()] == [S, 2 * S, 3 * S]


# What ends a service


async def test_a_core_that_fails_ends_the_service_and_hears_no_more(rig: Rig) -> None:
    await rig.ready()

    def broken(event: Event) -> list[Effect]:
        raise KeyError("no such order")

    rig.app.core.answer = broken
    rig.kick()
    heard = len(rig.app.core.events)
    assert rig.kick() == []
    assert len(rig.app.core.events) == heard
    error = await rig.ended()
    assert isinstance(error, Fatal)
    assert str(error) == "core failed: KeyError: 'no such order'"
    assert rig.app.log[-1] == "drain"


async def test_what_a_failed_core_did_not_handle_is_not_acknowledged(rig: Rig) -> None:
    await rig.ready()

    def broken(event: Event) -> list[Effect]:
        raise ValueError("poison")

    rig.app.core.answer = broken
    rig.store(VERDICT)
    assert isinstance(await rig.ended(), Fatal)
    assert rig.hub.acknowledged["broker-VERDICTS"] == 0
    again = Rig(Path(rig.config.admin_token_file).parent)
    again.hub, again.bus = rig.hub, rig.hub.bus(Service.BROKER)
    await again.ready()
    await again.until(again.received)
    assert again.received()[0] == VERDICT
    await again.until(lambda: rig.hub.acknowledged["broker-VERDICTS"] == 1)
    assert again.runner is not None
    again.runner.stop()
    await again.ended()


@pytest.mark.parametrize("place", ["recover", "run"])
async def test_an_app_that_fails_ends_the_service_as_it_failed(rig: Rig, place: str) -> None:
    rig.app.fails_in = place
    rig.start()
    error = await rig.ended()
    assert isinstance(error, ValueError)
    assert str(error) == f"broken in {place}"
    assert rig.app.log[-1] == "drain"


async def test_adapters_that_end_by_themselves_end_the_service(rig: Rig) -> None:
    await rig.ready()
    rig.app.end.set()
    error = await rig.ended()
    assert isinstance(error, Fatal)
    assert "ended by themselves" in str(error)


async def test_a_spawned_task_that_fails_ends_the_service(rig: Rig) -> None:
    await rig.ready()

    async def broken() -> None:
        raise OSError("the socket is gone")

    assert rig.app.context is not None
    rig.app.context.spawn(broken(), "adapter")
    error = await rig.ended()
    assert isinstance(error, Fatal)
    assert str(error) == "adapter: OSError: the socket is gone"


async def test_an_effect_that_fails_in_a_timer_ends_the_service(rig: Rig) -> None:
    await rig.ready()
    rig.app.fails_in = "perform"
    rig.app.core.answer = lambda e: (
        [SetTimer(key="t", at_ns=NOW + S)] if isinstance(e, Kick) else [Act(name="x")]
    )
    rig.kick()
    await rig.clock.advance_to(NOW + S)
    error = await rig.ended()
    assert isinstance(error, Fatal)
    assert str(error) == "timer t: ValueError: broken in perform"


async def test_a_drain_that_fails_hides_nothing_and_closes_all(rig: Rig) -> None:
    await rig.ready()
    rig.app.fails_in = "drain"
    rig.app.end.set()
    error = await rig.ended()
    assert isinstance(error, Fatal)
    assert "ended by themselves" in str(error)
    assert rig.bus._closed


async def test_a_bus_that_is_not_as_the_topology_says_ends_before_recovery(
    rig: Rig, recording
) -> None:
    recording.failure = BusMismatch("stream ORDERS is missing")
    rig.start()
    error = await rig.ended()
    assert isinstance(error, BusMismatch)
    assert rig.app.log == ["drain"]


async def test_a_lost_connection_ends_the_service(rig: Rig) -> None:
    await rig.ready()
    rig.bus.fatal.set_exception(BusMismatch("closed by the other side"))
    error = await rig.ended()
    assert isinstance(error, Fatal)
    assert "closed by the other side" in str(error)


async def test_a_busy_port_or_a_missing_token_ends_in_one_line(rig: Rig) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        fields = {name: getattr(rig.config, name) for name in rig.config.__struct_fields__}
        for wrong in (
            {"admin_port": port},
            {"metrics_port": port},
            {"admin_token_file": "none/there"},
        ):
            config = ServiceConfig(**(fields | wrong))
            runner = Runner(ScriptedApp(), rig.hub.bus(Service.BROKER), rig.clock, config)
            with pytest.raises(ConfigError) as refused:
                await runner.run()
            assert next(iter(wrong)) in str(refused.value)
            assert "\n" not in str(refused.value)


# Bad input


async def test_bad_messages_are_dead_lettered_and_good_ones_still_come(rig: Rig) -> None:
    await rig.ready()
    rig.put("verdicts.KXINXU.some", b"garbage")
    rig.put("verdicts.KXINXU.another", encode(VERDICT))
    rig.store(VERDICT)
    await rig.until(lambda: rig.received() and len(rig.letters()) == 2)
    assert rig.received() == [VERDICT]
    assert {(one.sequence, one.reason.split(":")[0]) for one in rig.letters()} == {
        (1, "undecodable"),
        (2, "wrong_subject"),
    }
    await rig.until(lambda: rig.hub.acknowledged["broker-VERDICTS"] == 3)


async def test_a_conflated_stream_gives_only_the_newest_of_each_subject(rig: Rig) -> None:
    for n in range(20):
        rig.store(replace(VERDICT, id=f"verdict-{n}"))
    await rig.ready()
    await rig.until(lambda: rig.hub.acknowledged["broker-VERDICTS"] == 20)
    assert {message.id for message in rig.received()} == {"verdict-19"}


async def test_the_newest_of_each_subject_is_known_again_after_a_restart(rig: Rig) -> None:
    rig.store(VERDICT)
    await rig.ready()
    await rig.until(lambda: rig.hub.acknowledged["broker-VERDICTS"] == 1)
    assert rig.runner is not None
    rig.runner.stop()
    await rig.ended()
    again = Rig(Path(rig.config.admin_token_file).parent)
    again.hub, again.bus = rig.hub, rig.hub.bus(Service.BROKER)
    await again.ready()
    assert again.received() == [VERDICT]
    assert again.runner is not None
    again.runner.stop()
    await again.ended()


async def test_reading_back_passes_over_what_was_refused_when_it_came(rig: Rig) -> None:
    rig.store(EPOCH)
    rig.put(subject_of(UPDATE), b"garbage")
    rig.put("orders.KXINXU.another", encode(UPDATE))
    rig.store(UPDATE)
    ahead = replace(UPDATE, id="said by a clock that is ahead", ts_pub_ns=NOW + 3_600 * S)
    rig.store(ahead)  # an order all the same
    await rig.ready()
    assert rig.app.context is not None
    folded: list[tuple[Message, int]] = []
    last = await rig.app.context.read_back("ORDERS", lambda *one: folded.append(one))
    assert folded == [(EPOCH, 1), (UPDATE, 4), (ahead, 5)]
    assert last == 5
    assert await rig.app.context.read_back("ORDERS", lambda *_: None, after=5) == 5
