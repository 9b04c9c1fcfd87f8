"""The table agrees with itself and with all that is generated from it."""

from pathlib import Path

import pytest

from libs.common import messages as m
from libs.common.jetstream import matches
from libs.common.nats_config import GENERATED_FILES
from libs.common.topology import (
    BUCKETS,
    DURABLES,
    REQUESTS,
    SERVICES,
    STREAMS,
    SUBJECTS,
    Service,
    durables_of,
    stream_named,
    stream_of_subject,
    streams_read_by,
    wildcard,
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", GENERATED_FILES)
def test_a_generated_file_is_what_the_topology_says(name: str) -> None:
    assert (ROOT / name).read_text() == GENERATED_FILES[name](), (
        f"{name} is stale: run `python -m libs.common.nats_config`"
    )


def test_generated_files_hold_no_password() -> None:
    lines = (ROOT / "deploy/nats/permissions.conf").read_text().splitlines()
    passwords = [line.split()[1] for line in lines if "password:" in line]
    assert passwords == [f"$NATS_PASSWORD_{s.upper()}" for s in (Service.PROVISION, *_rest())]


def _rest() -> list[Service]:
    return [service for service in Service if service is not Service.PROVISION]


def test_a_subject_lies_in_its_stream_and_in_no_other() -> None:
    for row in SUBJECTS:
        subject = wildcard(row.pattern).replace("*", "x")
        holders = [
            stream.name
            for stream in STREAMS
            if any(matches(pattern, subject) for pattern in stream.subjects)
        ]
        assert holders == [row.stream]
        assert stream_of_subject(subject) == row.stream


def test_every_message_is_carried_by_one_subject() -> None:
    carried = [kind for row in SUBJECTS for kind in row.carries]
    assert sorted(k.__name__ for k in carried) == sorted(k.__name__ for k in m.MESSAGE_TYPES)


def test_an_override_is_on_the_status_stream_as_long_as_it_may_last() -> None:
    """Risk knows it again from there. 2,291 B/s came in on 2026-12-01, one window quoted."""
    status = stream_named("STATUS")
    week_s = 7 * 86_400
    assert status.max_age_s >= week_s
    assert status.max_bytes > 1.5 * 2_291 * week_s


def test_a_subject_has_one_owner_or_one_per_service() -> None:
    for row in SUBJECTS:
        assert len(row.writers) == 1 or "{service}" in row.pattern, row.pattern
        assert row.readers, row.pattern


def test_only_the_broker_writes_orders_and_fills() -> None:
    writers = {s for row in SUBJECTS if row.stream in ("ORDERS", "FILLS") for s in row.writers}
    assert writers == {Service.BROKER}
    assert {s for bucket in BUCKETS if bucket.name == "control" for s in bucket.writers} == {
        Service.BROKER
    }


def test_what_may_not_be_lost_is_fsynced_and_never_dropped() -> None:
    for name in ("ORDERS", "FILLS"):
        assert stream_named(name).durable_writes
        assert stream_named(name).refuse_when_full
    assert stream_named("VERDICTS").durable_writes


def test_a_stream_knows_duplicates_for_longer_than_a_publish_is_retried() -> None:
    assert all(stream.duplicate_window_s >= 120 for stream in STREAMS)
    assert all(stream_named(name).duplicate_window_s >= 600 for name in ("ORDERS", "FILLS"))


def test_durables_follow_from_the_readers() -> None:
    for row in DURABLES:
        assert row.name == f"{row.service}-{row.stream}"
        assert row in durables_of(row.service)
        assert row.stream in streams_read_by(row.service)
    assert len({row.name for row in DURABLES}) == len(DURABLES)
    assert not any(durables_of(service) for service in (Service.REPORTING, Service.CONSOLE))


def test_orders_and_fills_are_never_conflated() -> None:
    assert not any(row.conflated for row in DURABLES if row.stream in ("ORDERS", "FILLS", "DEAD"))


def test_no_service_is_asked_on_the_hot_path() -> None:
    assert [(r.server, r.clients) for r in REQUESTS] == [(Service.BROKER, (Service.FEEDS,))]


def test_provision_and_console_take_no_part_in_the_work() -> None:
    assert not {Service.PROVISION, Service.CONSOLE} & set(SERVICES)
    for row in SUBJECTS:
        assert set(row.writers) <= set(SERVICES)


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("orders.*.*", "orders.a.b", True),
        ("orders.*.*", "orders.a", False),
        ("orders.*.*", "orders.a.b.c", False),
        ("orders.>", "orders.a.b", True),
        ("orders.>", "orders", False),
        ("orders.epoch", "orders.epoch", True),
        ("orders.epoch", "orders.other", False),
        ("*.a", "x.a", True),
    ],
)
def test_patterns_match_as_nats_says(pattern: str, subject: str, expected: bool) -> None:
    assert matches(pattern, subject) is expected
