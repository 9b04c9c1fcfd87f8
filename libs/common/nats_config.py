"""Render the server's configuration from the topology: users, their least rights, JetStream.

`python -m libs.common.nats_config` rewrites `deploy/nats/permissions.conf` and
`docs/topology.md`; a test proves that both are what the topology says.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from libs.common.jetstream import API, JETSTREAM_API, MAX_PAYLOAD_BYTES, bucket_stream
from libs.common.topology import (
    BUCKETS,
    REQUESTS,
    SERVICES,
    STREAMS,
    SUBJECTS,
    Service,
    durables_of,
    streams_read_by,
)
from libs.common.topology_page import GENERATED_BY, render_topology_page

BUS_ACCOUNT = "BUS"
STORE_BYTES_MAX = 64 << 30
"""What streams may reserve; a plain number, so that a small disk does not refuse to start."""


class Rights(Struct, frozen=True):
    """What one user may do; nothing else."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    may_answer: bool = False


def inbox_prefix(service: Service) -> str:
    """Return the first token of a service's own inboxes."""
    return f"_INBOX_{service}"


def password_variable(service: Service) -> str:
    """Return the environment variable that holds a user's password in a deployment."""
    return f"NATS_PASSWORD_{service.upper()}"


def streams_seen_by(service: Service) -> tuple[str, ...]:
    """Return the streams that a service reads or writes: those it verifies at its start."""
    seen = {subject.stream for subject in SUBJECTS if service in subject.writers}
    seen |= set(streams_read_by(service))
    return tuple(stream.name for stream in STREAMS if stream.name in seen)


def rights_of(service: Service) -> Rights:
    """Return a service's least rights, computed from the topology."""
    own_inbox = f"{inbox_prefix(service)}.>"
    if service is Service.PROVISION:
        return Rights((f"{JETSTREAM_API}.>",), (own_inbox,))
    publish = _said_by(service)
    publish += [request.subject for request in REQUESTS if service in request.clients]
    served = [request.subject for request in REQUESTS if service is request.server]
    for durable in durables_of(service):
        place = f"{durable.stream}.{durable.name}"
        publish += [
            f"{API}.CONSUMER.MSG.NEXT.{place}",
            f"{API}.CONSUMER.INFO.{place}",
            f"$JS.ACK.{place}.>",
        ]
    reads = list(streams_read_by(service))
    buckets = [bucket for bucket in BUCKETS if service in bucket.readers + bucket.writers]
    publish += [f"{API}.STREAM.INFO.{name}" for name in streams_seen_by(service)]
    for name in reads + [bucket_stream(bucket.name) for bucket in buckets]:
        publish += [f"{API}.DIRECT.GET.{name}", f"{API}.DIRECT.GET.{name}.>"]
    publish += [f"$KV.{bucket.name}.>" for bucket in buckets if service in bucket.writers]
    watched: list[str] = []
    if service is Service.CONSOLE:
        watched = [pattern for stream in STREAMS for pattern in stream.subjects]
    return Rights(tuple(publish), (own_inbox, *served, *watched), bool(served))


def render_accounts(passwords: Mapping[Service, str]) -> str:
    """Return the `accounts` block; a password is the text to stand there, quotes included.

    Each service lives in an account of its own, and JetStream in one that they reach only by
    the subjects listed here. In one common account a service could put any text on any stream:
    it asks for a stored message and names a foreign subject as the place for the answer.
    """
    services = [service for service in Service if service is not Service.PROVISION]
    lines = ["accounts {", f"  {BUS_ACCOUNT} {{", "    jetstream: enabled"]
    lines += [*_user(Service.PROVISION, passwords), *_exports(services), "  }"]
    for service in services:
        lines += [f"  {service.upper()} {{", *_user(service, passwords), *_imports(service)]
        lines += [*_own_exports(service), "  }"]
    return "\n".join([*lines, "}", ""])


def _user(service: Service, passwords: Mapping[Service, str]) -> list[str]:
    rights = rights_of(service)
    lines = [
        "    users: [ {",
        f"      user: {service}",
        f"      password: {passwords[service]}",
        "      permissions: {",
        *_allowed("publish", rights.publish),
        *_allowed("subscribe", rights.subscribe),
    ]
    if rights.may_answer:
        lines.append('        allow_responses: { max: 1, expires: "10s" }')
    return [*lines, "      }", "    } ]"]


def _exports(services: Sequence[Service]) -> list[str]:
    """Return what the bus lets in from whom, and what the console may watch."""
    asked = {request.subject for request in REQUESTS}
    users: dict[str, list[Service]] = {}
    for service in services:
        for subject in rights_of(service).publish:
            if subject not in asked:
                users.setdefault(_on_bus(subject), []).append(service)
    rows = [_export("service", subject, by) for subject, by in users.items()]
    return ["    exports: [", *rows, "    ]"]


def _own_exports(service: Service) -> list[str]:
    """Return what a service answers, and what the console hears of it.

    The console hears the speaker, not the bus account: nats-server does not hand on what came
    in as a service import (its issue 8338). So it may see what the bus then refused.
    """
    served = [request for request in REQUESTS if request.server is service]
    rows = [_export("service", request.subject, request.clients) for request in served]
    rows += [_export("stream", subject, [Service.CONSOLE]) for subject in _said_by(service)]
    return ["    exports: [", *rows, "    ]"] if rows else []


def _export(kind: str, subject: str, services: Sequence[Service]) -> str:
    accounts = ", ".join(service.upper() for service in services)
    many = ".MSG.NEXT." in subject or ".DIRECT.GET." in subject
    answers = "response_type: stream, " if many else ""
    return f"      {{ {kind}: {_quoted(subject)}, {answers}accounts: [{accounts}] }}"


def _imports(service: Service) -> list[str]:
    servers = {request.subject: request.server.upper() for request in REQUESTS}
    rows = []
    for subject in rights_of(service).publish:
        account, there = servers.get(subject, BUS_ACCOUNT), _on_bus(subject)
        to = f", to: {_quoted(subject)}" if there != subject else ""
        rows.append(f"      {{ service: {{ account: {account}, subject: {_quoted(there)} }}{to} }}")
    if service is Service.CONSOLE:
        rows += [
            f"      {{ stream: {{ account: {speaker.upper()}, subject: {_quoted(subject)} }} }}"
            for speaker in SERVICES
            for subject in _said_by(speaker)
        ]
    return ["    imports: [", *rows, "    ]"]


def _said_by(service: Service) -> list[str]:
    return [
        subject.pattern.replace("{service}", service)
        for subject in SUBJECTS
        if service in subject.writers
    ]


def _on_bus(subject: str) -> str:
    """Return the name in the bus account of what a service calls `subject`."""
    return subject.replace(API, JETSTREAM_API, 1) if subject.startswith(API) else subject


def _allowed(kind: str, patterns: Sequence[str]) -> list[str]:
    rows = [f"          {_quoted(pattern)}" for pattern in patterns]
    return [f"        {kind}: {{ allow: [", *rows, "        ] }"]


def _quoted(text: str) -> str:
    return json.dumps(text)


def render_server(
    *,
    store_directory: Path,
    ports_directory: Path,
    passwords: Mapping[Service, str],
    host: str = "127.0.0.1",
    port: int = 0,
) -> str:
    """Return the whole configuration of a single server; port 0 takes a free one.

    `sync_interval: always`: an acknowledged order survives the loss of power (jetstream.md).
    """
    quoted = {service: _quoted(password) for service, password in passwords.items()}
    return f"""\
server_name: kalshi-alpha
listen: {_quoted(f"{host}:{port or -1}")}
ports_file_dir: {_quoted(str(ports_directory))}
max_payload: {MAX_PAYLOAD_BYTES}
ping_interval: "10s"
ping_max: 2
jetstream {{
  store_dir: {_quoted(str(store_directory))}
  sync_interval: always
  max_memory_store: 0
  max_file_store: {STORE_BYTES_MAX}
}}
{render_accounts(quoted)}"""


def render_permissions_file() -> str:
    """Return `deploy/nats/permissions.conf`: the users, passwords as environment variables."""
    variables = {service: f"${password_variable(service)}" for service in Service}
    return f"# {GENERATED_BY}; do not edit\n{render_accounts(variables)}"


GENERATED_FILES = {
    "deploy/nats/permissions.conf": render_permissions_file,
    "docs/topology.md": render_topology_page,
}


def main() -> None:
    """Rewrite the generated files of the repository."""
    root = Path(__file__).resolve().parents[2]
    for name, render in GENERATED_FILES.items():
        (root / name).write_text(render())


if __name__ == "__main__":
    main()
