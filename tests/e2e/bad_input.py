"""Bad messages for every subject of the topology, made from one good sample of each type."""

import json
from collections import Counter
from typing import Any

from msgspec import Struct

from libs.common.messages import Message, encode
from libs.common.nats_bus import NatsBus
from libs.common.topology import (
    ORDERS_EPOCH,
    SUBJECTS,
    Service,
    stream_named,
    stream_of_subject,
    subject_of,
)
from tests.libs.common.samples import SAMPLES

HOUR_NS = 3_600_000_000_000
SECRET = "hush-never-show-this-8d1f"


class Bad(Struct, frozen=True):
    """One message that everybody must refuse, who may send it, and why it is refused."""

    sender: Service
    subject: str
    data: bytes
    reason: str


def bad_messages(now_ns: int) -> list[Bad]:
    """Return every kind of bad message for every subject but the fence's own."""
    found = []
    for subject in SUBJECTS:
        for carried in subject.carries:
            sample = next(one for one in SAMPLES if type(one) is carried)
            place = subject_of(sample)
            if place == ORDERS_EPOCH:
                continue
            sender = next(one for one in subject.writers if may_write(subject.pattern, one, place))
            found += [
                Bad(sender, where, data, why) for where, data, why in kinds(sample, place, now_ns)
            ]
    return found


def kinds(sample: Message, place: str, now_ns: int) -> list[tuple[str, bytes, str]]:
    """Return (subject, bytes, reason) of each kind of badness."""
    good = encode(sample)
    hour_later = changed(sample, ts_pub_ns=now_ns + HOUR_NS)
    timeless = stream_named(stream_of_subject(place)).timeless
    dated = [] if timeless else [(place, hour_later, "future_dated")]
    return [
        *dated,
        (place, f'{{"password": "{SECRET}", oops'.encode(), "undecodable"),
        (place, b"\x00\xff\xfe\x00", "undecodable"),
        (place, b"", "undecodable"),
        (place, good[: len(good) // 2], "undecodable"),
        (place, changed(sample, type="nonsense.9", token=SECRET), "undecodable"),
        (place, changed(sample, ts_event_ns=10**19), "undecodable"),
        (place, changed(sample, source=["a", "list"]), "undecodable"),
        (place, encode(stranger(sample)), "wrong_subject"),
    ]


def changed(sample: Message, **fields: Any) -> bytes:
    """Return a sample's JSON with fields set to what no encoder of ours would write."""
    return json.dumps({**json.loads(encode(sample)), **fields}).encode()


def stranger(sample: Message) -> Message:
    """Return a good message that belongs on another subject."""
    return next(one for one in SAMPLES if subject_of(one) != subject_of(sample))


def may_write(pattern: str, service: Service, place: str) -> bool:
    """Return whether a writer of the pattern may use this very subject (heartbeats, letters)."""
    return "{service}" not in pattern or f".{service}" in place


async def send(url: str, passwords: dict[str, str], messages: list[Bad]) -> Counter[Any]:
    """Publish as those who may; return how many per (stream, reason) were stored."""
    buses = {
        sender: await NatsBus.connect(url, sender, passwords[sender])
        for sender in {one.sender for one in messages}
    }
    try:
        for number, one in enumerate(messages):
            await buses[one.sender].publish(one.subject, one.data, message_id=f"bad-{number}")
    finally:
        for bus in buses.values():
            await bus.close()
    return Counter((stream_of_subject(one.subject), one.reason) for one in messages)
