"""The topology in JetStream's own words: configurations, API subjects, differences. Pure."""

from collections.abc import Mapping
from typing import Any

from libs.common.topology import Bucket, Durable, Stream
from libs.domain.eastern import NS_PER_S as NS_PER_S

MAX_PAYLOAD_BYTES = 1 << 20
MIN_SERVER_VERSION = (2, 12)
"""The first server with `persist_mode`."""

JETSTREAM_API = "$JS.API"
API = "$BUS.API"
"""What a service calls `JETSTREAM_API`; its account maps the few subjects that it has on it."""

BUCKET_HISTORY = 1
BUCKET_MAX_BYTES = 16 << 20
BUCKET_VALUE_MAX_BYTES = 64 << 10
BUCKET_DUPLICATE_WINDOW_S = 120

CODE_STREAM_NOT_FOUND = 10059
CODE_CONSUMER_NOT_FOUND = 10014
CODE_WRONG_LAST_SEQUENCE = 10071
CODES_TRANSIENT = frozenset({10008, 10009, 10023, 10158})
"""No leader, no peer, no resources just now, the same message id still in process."""

Config = dict[str, Any]


def bucket_stream(bucket: str) -> str:
    """Return the name of the stream that holds a bucket."""
    return f"KV_{bucket}"


def key_subject(bucket: str, key: str) -> str:
    """Return the subject that holds a key's values."""
    return f"$KV.{bucket}.{key}"


def stream_config(stream: Stream, replicas: int = 1) -> Config:
    """Return the configuration that provision creates and VERIFY expects."""
    config: Config = {
        "name": stream.name,
        "subjects": list(stream.subjects),
        "retention": "limits",
        "storage": "file",
        "num_replicas": replicas,
        "max_age": stream.max_age_s * NS_PER_S,
        "max_bytes": stream.max_bytes,
        "max_msgs": -1,
        "max_msg_size": -1,
        "discard": "new" if stream.refuse_when_full else "old",
        "duplicate_window": stream.duplicate_window_s * NS_PER_S,
        "allow_direct": True,
        "deny_delete": True,
    }
    if not stream.durable_writes and replicas == 1:  # the server knows it for one replica only
        config["persist_mode"] = "async"
    return config


def bucket_config(bucket: Bucket, replicas: int = 1) -> Config:
    """Return the configuration of the stream behind a bucket."""
    age_ns = bucket.ttl_s * NS_PER_S
    window_ns = BUCKET_DUPLICATE_WINDOW_S * NS_PER_S
    return {
        "name": bucket_stream(bucket.name),
        "subjects": [f"$KV.{bucket.name}.>"],
        "retention": "limits",
        "storage": "file",
        "num_replicas": replicas,
        "max_msgs_per_subject": BUCKET_HISTORY,
        "max_age": age_ns,
        "max_bytes": BUCKET_MAX_BYTES,
        "max_msg_size": BUCKET_VALUE_MAX_BYTES,
        "discard": "new",
        "duplicate_window": min(age_ns, window_ns) or window_ns,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
    }


def durable_config(durable: Durable) -> Config:
    """Return the configuration of a durable pull consumer."""
    return {
        "durable_name": durable.name,
        "deliver_policy": "last_per_subject" if durable.conflated else "all",
        "ack_policy": "all" if durable.conflated else "explicit",
        "ack_wait": durable.ack_wait_s * NS_PER_S,
        "max_ack_pending": durable.max_ack_pending,
        "max_deliver": durable.max_deliver,
        "filter_subjects": list(durable.subjects),
    }


def differences(what: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return one line per setting that is not as expected; [] when all are."""
    lines = []
    for key, want in expected.items():
        got = found.get(key, type(want)())  # the server leaves out what is zero, false or empty
        if key == "filter_subjects" and not got and "filter_subject" in found:
            got = [found["filter_subject"]]
        same = sorted(got) == sorted(want) if isinstance(want, list) else got == want
        if not same:
            lines.append(f"{what} {key}: expected {want!r}, found {got!r}")
    return lines


def matches(pattern: str, subject: str) -> bool:
    """Say whether a subject is covered by a pattern with `*` and `>`."""
    wanted = pattern.split(".")
    tokens = subject.split(".")
    for index, want in enumerate(wanted):
        if want == ">":
            return len(tokens) > index
        if index >= len(tokens) or want not in ("*", tokens[index]):
            return False
    return len(wanted) == len(tokens)
