"""What stands for runner and bus: readers by the topology, timers, fences, copies."""

import pytest

from lab.drive.carrier import MemoryCarrier, lab_streams
from lab.drive.effects import EffectLog
from lab.drive.schedule import Schedule
from lab.drive.services import Services
from libs.common.bus import FenceRefused
from libs.common.effects import CancelTimer, Event, Publish, Received, SetTimer, TimerFired
from libs.common.memory_bus import MemoryHub
from libs.common.messages import BrokerEpoch, Cause, ClockSample, envelope
from libs.common.topology import Service

HOP_NS = 1_000


class Go(Event, frozen=True, kw_only=True):
    effects: tuple


class Echo:
    """A core that does what it is told and remembers what it was given."""

    def __init__(self):
        self.given = []

    def handle(self, event):
        self.given.append(event)
        return list(event.effects) if isinstance(event, Go) else []


@pytest.fixture
def driven():
    schedule = Schedule(10**18)
    hub = MemoryHub(lambda: schedule.now_ns, lab_streams())
    cores = {one: Echo() for one in (Service.FEEDS, Service.RISK, Service.PRICER, Service.BROKER)}
    services = Services(schedule, MemoryCarrier(hub), EffectLog(), cores, HOP_NS)
    return services, cores


def sample(schedule, name="a"):
    cause = Cause(name, name, schedule.now_ns)
    return ClockSample(**envelope(cause, "feeds"), reference="x", skew_ns=0, uncertainty_ns=0)


def epoch(schedule, number):
    cause = Cause(f"epoch {number}", "", schedule.now_ns)
    return BrokerEpoch(**envelope(cause, "broker"), epoch=number, broker="b", account="a")


def go(services, service, *effects):
    services[service].dispatch(Go(now_ns=services.schedule.now_ns, effects=effects))


def test_a_message_reaches_the_readers_of_its_subject_a_hop_later(driven):
    services, cores = driven
    message = sample(services.schedule)
    go(services, Service.FEEDS, Publish(message=message))
    sent_ns = services.schedule.now_ns
    assert not cores[Service.RISK].given
    services.schedule.run_until(sent_ns + HOP_NS)
    (got,) = cores[Service.RISK].given
    assert got == Received(now_ns=sent_ns + HOP_NS, message=message, stream="TICKS", sequence=1)
    assert not cores[Service.PRICER].given  # topology: the clock is none of the pricer's


def test_a_message_said_twice_is_delivered_once(driven):
    services, cores = driven
    message = sample(services.schedule)
    go(services, Service.FEEDS, Publish(message=message), Publish(message=message))
    services.schedule.run_until(services.schedule.now_ns + HOP_NS)
    assert len(cores[Service.RISK].given) == 1
    assert services.published == 1


def test_timers_are_replaced_cancelled_and_fire_once(driven):
    services, cores = driven
    now_ns = services.schedule.now_ns
    go(
        services,
        Service.PRICER,
        SetTimer(key="moved", at_ns=now_ns + 10),
        SetTimer(key="moved", at_ns=now_ns + 30),
        SetTimer(key="gone", at_ns=now_ns + 20),
        CancelTimer(key="gone"),
        SetTimer(key="past", at_ns=now_ns - 5),
    )
    services.schedule.run_until(now_ns + 100)
    fired = [one for one in cores[Service.PRICER].given if isinstance(one, TimerFired)]
    assert fired == [
        TimerFired(now_ns=now_ns, key="past", at_ns=now_ns - 5),
        TimerFired(now_ns=now_ns + 30, key="moved", at_ns=now_ns + 30),
    ]


def test_a_fence_that_is_over_ends_the_run(driven):
    services, _ = driven
    services.take_fence(Service.BROKER, services.say(Service.BROKER, epoch(services.schedule, 1)))
    services.say(Service.BROKER, epoch(services.schedule, 2))
    third = Publish(message=epoch(services.schedule, 3), fenced=True)
    with pytest.raises(FenceRefused):
        go(services, Service.BROKER, third)


def test_a_fence_holds_for_as_long_as_the_bars_reach(driven):
    services, _ = driven
    services.take_fence(Service.BROKER, services.say(Service.BROKER, epoch(services.schedule, 1)))
    services.schedule.run_until(services.schedule.now_ns + 400 * 86_400 * 10**9)
    go(services, Service.BROKER, Publish(message=epoch(services.schedule, 2), fenced=True))
    assert services.published == 2


def test_the_digest_knows_every_effect_its_order_and_its_time(driven):
    def digest(*steps):
        log = EffectLog()
        for service, now_ns, effect in steps:
            log.add(service, now_ns, effect)
        return log.digest

    one, other = SetTimer(key="a", at_ns=1), SetTimer(key="b", at_ns=1)
    known = digest(("risk", 1, one), ("risk", 1, other))
    assert known == digest(("risk", 1, one), ("risk", 1, other))
    assert len(
        {
            known,
            digest(("risk", 1, other), ("risk", 1, one)),
            digest(("risk", 1, one)),
            digest(("risk", 2, one), ("risk", 1, other)),
            digest(("pricer", 1, one), ("risk", 1, other)),
        }
    ) == 5  # fmt: skip
