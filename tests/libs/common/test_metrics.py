"""The metrics endpoint: shown to who has the token, and a hindrance to nobody."""

import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from libs.common.config import ConfigError
from libs.common.metrics import Metrics, MetricsServer

TOKEN = "the-token-of-the-run"


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    metrics = Metrics()
    metrics.received_total.labels("TICKS").inc(3)
    server = MetricsServer(metrics, "127.0.0.1", 0, TOKEN)
    yield server
    server.close()


def asked(server: MetricsServer, path: str = "/metrics", **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_with_the_token_the_metrics_are_shown(server: MetricsServer) -> None:
    status, text = asked(server, Authorization=f"Bearer {TOKEN}")
    assert status == 200
    assert 'alpha_messages_received_total{stream="TICKS"} 3.0' in text
    assert "process_resident_memory_bytes" in text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"bearer {TOKEN}"},
        {"Authorization": "Bearer \xff"},
    ],
)
def test_without_it_nothing_is_shown(server: MetricsServer, headers: dict[str, str]) -> None:
    status, text = asked(server, **headers)
    assert status == 401
    assert "alpha_" not in text
    assert TOKEN not in text


def test_a_client_that_says_nothing_keeps_nobody_waiting(server: MetricsServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        status, _ = asked(server, Authorization=f"Bearer {TOKEN}")
        assert status == 200
        server.close()  # nor does it hinder the end


def test_a_busy_port_is_one_line(server: MetricsServer) -> None:
    with pytest.raises(ConfigError) as refused:
        MetricsServer(Metrics(), "127.0.0.1", server.port, TOKEN)
    text = str(refused.value)
    assert "\n" not in text
    assert f"metrics_port: expected a free port, found 127.0.0.1:{server.port}" in text


def test_a_closed_server_frees_its_port() -> None:
    first = MetricsServer(Metrics(), "127.0.0.1", 0, TOKEN)
    first.close()
    MetricsServer(Metrics(), "127.0.0.1", first.port, TOKEN).close()


def test_every_name_has_one_prefix_and_no_ticker_as_a_label() -> None:
    names, labels = set(), set()
    for family in Metrics().registry.collect():
        if family.name.startswith("process_"):
            continue
        names.add(family.name)
        labels |= {label for sample in family.samples for label in sample.labels}
    for counted in vars(Metrics()).values():
        labels |= set(getattr(counted, "_labelnames", ()))
    assert all(re.fullmatch(r"alpha_[a-z_]+", name) for name in names)
    assert not labels & {"ticker", "event_ticker", "event", "order_id", "client_order_id"}
