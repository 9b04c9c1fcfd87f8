"""On a running server each service can do its own work and nothing else.

What is allowed is worked out here from the rows of the topology, not from `rights_of`.
"""

import asyncio
import json
import re
from collections.abc import Iterable

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from libs.common.bus import BusUnavailable
from libs.common.jetstream import matches
from libs.common.nats_bus import NatsBus
from libs.common.nats_connection import connect_client
from libs.common.topology import (
    BUCKETS,
    DURABLES,
    SERVICES,
    SIGN_WEBSOCKET,
    STREAMS,
    SUBJECTS,
    Durable,
    Service,
    streams_read_by,
)
from tests.libs.common.bus.buses import Collector, Consuming
from tests.nats_fixture import NatsRig

USERS = [service for service in Service if service is not Service.PROVISION]


def subjects_of(pattern: str) -> list[str]:
    """Return real subjects of a pattern, one per service where it names one."""
    plain = pattern.replace("*", "x1")
    return [plain.replace("{service}", service) for service in SERVICES]


ALL_SUBJECTS = sorted({s for row in SUBJECTS for s in subjects_of(row.pattern)})


def own_subjects(service: Service) -> set[str]:
    return {
        row.pattern.replace("*", "x1").replace("{service}", service)
        for row in SUBJECTS
        if service in row.writers
    }


def management() -> list[str]:
    """Return what changes or lists streams and consumers, by both names of the API."""
    calls = ["INFO", "STREAM.NAMES", "STREAM.LIST"]
    for stream in ("ORDERS", "KV_control", "NEW"):
        calls += [
            f"STREAM.{verb}.{stream}"
            for verb in ("CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE", "MSG.GET", "RESTORE")
        ]
        calls += [
            f"CONSUMER.CREATE.{stream}",
            f"CONSUMER.CREATE.{stream}.mine.orders.>",
            f"CONSUMER.DURABLE.CREATE.{stream}.mine",
            f"CONSUMER.DELETE.{stream}.risk-ORDERS",
            f"CONSUMER.LIST.{stream}",
        ]
    return [f"{api}.{call}" for api in ("$JS.API", "$BUS.API") for call in calls]


def durable_calls(durable: Durable) -> list[str]:
    place = f"{durable.stream}.{durable.name}"
    return [
        f"$BUS.API.CONSUMER.MSG.NEXT.{place}",
        f"$BUS.API.CONSUMER.INFO.{place}",
        f"$JS.ACK.{place}.1.1.1.1.1",
    ]


def direct_gets(stream: str) -> list[str]:
    return [f"$BUS.API.DIRECT.GET.{stream}", f"$BUS.API.DIRECT.GET.{stream}.some.subject"]


async def refused(
    rig: NatsRig, service: Service, publish: Iterable[str], subscribe: Iterable[str] = ()
) -> set[str]:
    """Return which subjects the server refuses to a service, in small letters as it tells them."""
    found: set[str] = set()

    def note(error: Exception) -> None:
        match = re.search(r'permissions violation for \w+ to "([^"]*)"', str(error), re.I)
        assert match is not None, error
        found.add(match[1])

    client = await connect_client(rig.url, service, rig.passwords[service], on_error=note)
    for subject in publish:
        await client.publish(subject, b"x")

    async def ignore(_: Msg) -> None: ...

    for subject in subscribe:
        await client.subscribe(subject, cb=ignore)
    # The server answers in order, so refusals have come before the pong; the first ping of
    # nats-py goes out before what it has buffered.
    await client.flush()
    await client.flush()
    await client.close()
    return found


def small(subjects: Iterable[str]) -> set[str]:
    return {subject.lower() for subject in subjects}


@pytest.mark.parametrize("service", USERS)
async def test_a_service_publishes_on_its_own_subjects_only(
    fresh_nats: NatsRig, service: Service
) -> None:
    own = own_subjects(service)
    assert own or service is Service.CONSOLE
    foreign = set(ALL_SUBJECTS) - own
    assert await refused(fresh_nats, service, ALL_SUBJECTS) == small(foreign)
    observer = await fresh_nats.connect(Service.REPORTING)
    async with asyncio.timeout(10):  # a synced stream stores behind the answer to a ping
        while (stored := await stored_subjects(observer)) < own:
            await observer.round_trip()
    assert stored == own
    await observer.close()


async def stored_subjects(observer: NatsBus) -> set[str]:
    read = [await observer.read(stream.name, after=0) for stream in STREAMS]
    return {message.subject for messages in read for message in messages}


@pytest.mark.parametrize("service", USERS)
async def test_a_service_reaches_its_own_durables_streams_and_buckets_only(
    nats: NatsRig, service: Service
) -> None:
    durables = [call for row in DURABLES for call in durable_calls(row)]
    own = {call for row in DURABLES if row.service is service for call in durable_calls(row)}
    reads = [call for stream in STREAMS for call in direct_gets(stream.name)]
    own |= {call for name in streams_read_by(service) for call in direct_gets(name)}
    for bucket in BUCKETS:
        reads += direct_gets(f"KV_{bucket.name}")
        if service in bucket.readers + bucket.writers:
            own |= set(direct_gets(f"KV_{bucket.name}"))
    candidates = [*durables, *reads]
    assert await refused(nats, service, candidates) == small(set(candidates) - own)


@pytest.mark.parametrize("service", USERS)
async def test_a_service_writes_its_own_buckets_only(fresh_nats: NatsRig, service: Service) -> None:
    keys = {bucket.name: f"$KV.{bucket.name}.some_key" for bucket in BUCKETS}
    foreign = {keys[bucket.name] for bucket in BUCKETS if service not in bucket.writers}
    assert await refused(fresh_nats, service, keys.values()) == small(foreign)


@pytest.mark.parametrize("service", USERS)
async def test_no_service_manages_streams_or_consumers(nats: NatsRig, service: Service) -> None:
    calls = management()
    assert await refused(nats, service, calls) == small(calls)


@pytest.mark.parametrize("service", USERS)
async def test_a_service_hears_its_own_inbox_only(nats: NatsRig, service: Service) -> None:
    inboxes = [f"_INBOX_{user}.>" for user in Service]
    others = [">", "_INBOX.>", "_R_.>", "$JS.API.>", "$JS.ACK.>", "$KV.>", SIGN_WEBSOCKET]
    streams = [pattern for stream in STREAMS for pattern in stream.subjects]
    own = {f"_INBOX_{service}.>"}
    if service is Service.BROKER:
        own.add(SIGN_WEBSOCKET)
    if service is Service.CONSOLE:
        own |= set(streams)
    everything = [*inboxes, *others, *streams]
    assert await refused(nats, service, (), everything) == small(set(everything) - own)


@pytest.mark.parametrize("service", USERS)
async def test_a_service_speaks_into_nobodys_inbox(nats: NatsRig, service: Service) -> None:
    inboxes = [f"_INBOX_{user}.x" for user in Service]
    calls = [*inboxes, "_R_.x", "$SYS.REQ.SERVER.PING", SIGN_WEBSOCKET]
    allowed = {SIGN_WEBSOCKET} if service is Service.FEEDS else set()
    assert await refused(nats, service, calls) == small(set(calls) - allowed)


async def test_every_service_does_its_own_work(fresh_nats: NatsRig) -> None:
    buses = {service: await fresh_nats.connect(service) for service in SERVICES}
    for service, bus in buses.items():
        await bus.verify()
        for subject in own_subjects(service):
            await bus.publish(subject, b"x", message_id=f"{service}-{subject}")
    for durable in DURABLES:
        expected = sum(
            any(matches(pattern, subject) for pattern in durable.subjects)
            for service in SERVICES
            for subject in own_subjects(service)
        )
        got = Collector()
        async with Consuming(buses[durable.service], durable, got):
            await got.until(lambda data, expected=expected: len(data) >= expected)  # type: ignore[misc]
        assert len(got.data) == expected
    for bucket in BUCKETS:
        for service in SERVICES:
            if service in bucket.writers:
                await buses[service].put(bucket.name, "a_key", b"value", revision=0)
        for service in bucket.readers:
            assert await buses[service].get(bucket.name, "a_key") is not None
    for bus in buses.values():
        assert not bus.fatal.done()
        await bus.close()


async def test_the_console_watches_what_is_said(nats: NatsRig) -> None:
    heard: asyncio.Queue[Msg] = asyncio.Queue()
    console = await connect_client(nats.url, Service.CONSOLE, nats.passwords[Service.CONSOLE])

    async def take(message: Msg) -> None:
        if message.data == b"a live tick":
            await heard.put(message)

    for stream in STREAMS:
        await console.subscribe(stream.subjects[0], cb=take)
    await console.flush()
    feeds = await nats.connect(Service.FEEDS)
    sequence = await feeds.publish("ticks.index.LIVE", b"a live tick", message_id="live")
    async with asyncio.timeout(10):
        assert (await heard.get()).subject == "ticks.index.LIVE"
    await console.close()
    await feeds.close()
    view = await nats.connect(Service.CONSOLE)
    assert (await view.read("TICKS", after=sequence - 1))[0].data == b"a live tick"
    await view.close()


async def test_no_answer_can_be_sent_to_a_foreign_stream(fresh_nats: NatsRig) -> None:
    """A reply subject is not checked against rights: it must lead nowhere."""
    pricer = await connect_client(
        fresh_nats.url, Service.PRICER, fresh_nats.passwords[Service.PRICER]
    )
    await _ask(pricer, "ladders.fair.a.b", b"forged order")
    target = "orders.a.b"
    get = "$BUS.API.DIRECT.GET.LADDERS"
    last = json.dumps({"last_by_subj": "ladders.fair.a.b"}).encode()
    pull = "$BUS.API.CONSUMER.MSG.NEXT.LADDERS.pricer-LADDERS"
    for subject, body in [
        (get, last),
        (f"{get}.ladders.fair.a.b", b""),
        (pull, b'{"batch": 1, "no_wait": true}'),
        ("ladders.fair.a.b", b"its acknowledgement"),
        ("$BUS.API.STREAM.INFO.LADDERS", b""),
        ("$BUS.API.CONSUMER.INFO.LADDERS.pricer-LADDERS", b""),
    ]:
        await pricer.publish(subject, body, reply=target)
    await pricer.flush()
    await pricer.flush()
    await _ask(pricer, "$BUS.API.STREAM.INFO.LADDERS", b"")
    broker = await fresh_nats.connect(Service.BROKER)
    assert await broker.publish("orders.c.d", b"genuine", message_id="1") == 1
    assert [message.subject for message in await broker.read("ORDERS", after=0)] == ["orders.c.d"]
    await broker.close()
    await pricer.close()


async def _ask(client: Client, subject: str, body: bytes) -> None:
    await client.request(subject, body, timeout=5)


async def test_a_wrong_password_is_told_at_once(nats: NatsRig) -> None:
    with pytest.raises(BusUnavailable, match="refused the name or password"):
        await NatsBus.connect(nats.url, Service.RISK, nats.passwords[Service.BROKER])


async def test_without_a_user_there_is_no_connection(nats: NatsRig) -> None:
    with pytest.raises(BusUnavailable, match="refused"):
        await NatsBus.connect(nats.url, Service.RISK, "")
