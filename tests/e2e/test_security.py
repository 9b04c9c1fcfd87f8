"""Who is not asked in gets nothing: every socket of a run, from outside; no secret in sight."""

import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from proto import broker_pb2, reporting_pb2
from tests.e2e.rig import Home, Run, until
from tests.e2e.test_up import as_json

pytestmark = pytest.mark.timeout(400)
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
NATS_LOGINS = (
    "{}",
    '{"user":"broker","pass":"guess"}',
    '{"user":"nobody","pass":""}',
    '{"auth_token":"guess"}',
)
PRIVATE_READS = ("portfolio/balance", "portfolio/orders", "portfolio/fills", "account/limits")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Run]]:
    """A run with all that can listen: two brokers, and orders at rest."""
    home = Home(tmp_path_factory.mktemp("security") / "home")
    words = ("--brokers", "2", "--date", "2026-10-02", "--speed", "3", "--release")
    shown = home.alpha("up", *words)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    run = Run(home.root / "up")
    assert run.some_rest()
    yield home, run
    home.alpha("down")
    home.clear()


def listeners(home: Home) -> dict[int, str]:
    """Return every listening port of the run's processes with its address, from the system."""
    return {
        connection.laddr.port: connection.laddr.ip
        for process in home.processes()
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def ports_of(run: Run) -> dict[str, list[int]]:
    """Return what the run says that it listens on, by kind."""
    state = until(run.state, "a state file")
    etc = run.root / "etc"
    exchange = json.loads((etc / "exchange.yaml").read_text())["exchange"]
    return {
        "nats": [int(state["nats_url"].rpartition(":")[2])],
        "exchange": [exchange["port"]],
        "index": [json.loads((etc / "index.yaml").read_text())["port"]],
        "admin": list(state["admin"].values()),
        "metrics": list(state["metrics"].values()),
    }


def test_all_listen_on_this_machine_alone_and_nothing_else_listens(up: tuple[Home, Run]) -> None:
    home, run = up
    found = listeners(home)
    assert set(found.values()) <= LOOPBACK
    known = ports_of(run)
    assert len(known["admin"]) == len(known["metrics"]) == 7
    assert sorted(found) == sorted(port for ports in known.values() for port in ports)


def test_nats_lets_nobody_in(up: tuple[Home, Run]) -> None:
    (port,) = ports_of(up[1])["nats"]
    for login in NATS_LOGINS:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
            link.sendall(f"CONNECT {login}\r\nSUB > 1\r\nPING\r\n".encode())
            said = b""
            while chunk := link.recv(65_536):  # it says why and closes
                said += chunk
        assert b"Authorization Violation" in said, login
        assert b"PONG" not in said
        assert b"MSG " not in said


def test_every_admin_call_demands_the_token(up: tuple[Home, Run]) -> None:
    modules = (broker_pb2, reporting_pb2)
    services = [one for module in modules for one in module.DESCRIPTOR.services_by_name.values()]
    methods = [method for service in services for method in service.methods]
    assert {"EngageKillSwitch", "ReleaseKillSwitch", "Query"} <= {one.name for one in methods}
    for port in ports_of(up[1])["admin"]:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            for method in methods:
                path = f"/{method.containing_service.full_name}/{method.name}"
                call = channel.unary_unary(path, bytes, bytes)
                for metadata in ((), (("authorization", "Bearer guess"),)):
                    with pytest.raises(grpc.RpcError) as refused:
                        call(b"", metadata=metadata, timeout=10)
                    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED, method.name


def test_metrics_demand_the_token(up: tuple[Home, Run]) -> None:
    for port in ports_of(up[1])["metrics"]:
        for headers in ({}, {"Authorization": "Bearer guess"}):
            answer = httpx.get(f"http://127.0.0.1:{port}/metrics", headers=headers, timeout=10)
            assert answer.status_code == 401
            assert "alpha" not in answer.text


def test_the_simulators_demand_their_keys(up: tuple[Home, Run]) -> None:
    ports = ports_of(up[1])
    exchange = f"127.0.0.1:{ports['exchange'][0]}/trade-api"
    for path in PRIVATE_READS:
        assert httpx.get(f"http://{exchange}/v2/{path}", timeout=10).status_code == 401
    orders = f"http://{exchange}/v2/portfolio/events/orders"
    assert httpx.delete(orders, timeout=10).status_code == 401
    assert httpx.post(orders, json={}, timeout=10).status_code == 401
    with pytest.raises(InvalidStatus, match="401"), connect(f"ws://{exchange}/ws/v2"):
        pass
    assert up[1].resting(), "nothing of ours was cancelled by a stranger"
    with connect(f"ws://127.0.0.1:{ports['index'][0]}/indices") as index:
        index.recv(10)  # its greeting
        index.send('{"action":"subscribe","params":"A.I:SPX"}')
        assert "not authenticated" in str(index.recv(10))


def test_no_secret_on_a_command_line_or_in_an_environment(up: tuple[Home, Run]) -> None:
    home, run = up
    secrets = run.secrets().values()
    processes = home.processes()
    assert len(processes) >= 11
    for process in processes:
        shown = " ".join(process.cmdline()) + str(process.environ())
        assert not [secret for secret in secrets if secret in shown], process.cmdline()


def test_no_secret_in_any_file_and_all_of_them_closed(up: tuple[Home, Run]) -> None:
    """After a report and the one shot too: logs, configuration, raw copies, streams, reports."""
    home, run = up
    report = home.alpha("report", "--json")
    assert report.returncode in (0, 1), report.stderr
    assert as_json(home, "kill-switch", "on")["confirmed_zero"] is True
    secrets = run.secrets()
    folder = run.root / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    places: list[Path] = list(run.files())
    searched = {path.relative_to(run.root).parts[0] for path in places}
    assert {"etc", "log", "raw", "reports", "nats", "ledger", "state.json"} <= searched
    found = [
        (name, str(path))
        for path in places
        if path.exists()
        for name, secret in secrets.items()
        if secret.encode() in path.read_bytes()
    ]
    assert found == []
