"""What can't start says so in one line: what was expected, found, to do; and leaves nothing.

Lines of a service's own log (JSON) may precede it: they are on the same stream.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli.keys import write_exchange_key
from cli.run_directory import RunDirectory
from libs.common.policy_files import config_arguments
from libs.common.topology import Service
from tests.e2e.rig import PYTHON, ROOT, SERVICES, Home
from tests.nats_fixture import NatsRig

BAD_CONFIG = 2
OPERATING = 3
KEY_ID = "00000000-0000-4000-8000-000000000001"


class Bench:
    """Configuration of any service, good unless a test spoils it."""

    def __init__(self, root: Path, nats: NatsRig) -> None:
        self.run = RunDirectory.create(root / "run")
        self.nats = nats
        write_exchange_key(self.run, KEY_ID, self.run.secrets / "exchange-key.pem")

    def values(self, service: Service) -> dict[str, Any]:
        """Return what `alpha` would write, with no one behind the outside addresses."""
        nowhere = "127.0.0.1:9"
        password = self.run.write_secret(f"{service}.password", self.nats.passwords[service])
        own: dict[str, dict[str, Any]] = {
            "feeds": {
                "index_url": f"ws://{nowhere}/indices",
                "index_key_file": str(self.run.token("index.key")),
                "exchange_rest_url": f"http://{nowhere}/trade-api/v2",
                "exchange_ws_url": f"ws://{nowhere}/trade-api/ws/v2",
                "raw_directory": str(self.run.root / "raw"),
                "provenance": "synthetic",
            },
            "broker": {
                "exchange_rest_url": f"http://{nowhere}/trade-api/v2",
                "exchange_ws_url": f"ws://{nowhere}/trade-api/ws/v2",
                "key_id": KEY_ID,
                "key_file": str(self.run.secrets / "exchange-key.pem"),
                "account": "alpha",
            },
            "reporting": {
                "ledger": str(self.run.root / "ledger"),
                "reports_dir": str(self.run.reports),
            },
        }
        return {
            "service": service,
            "nats_url": self.nats.url,
            "nats_password_file": str(password),
            "admin_token_file": str(self.run.token("admin.token")),
            **own.get(service, {}),
        }

    def start(self, service: Service, **spoiled: Any) -> subprocess.CompletedProcess[str]:
        """Run a service until it gives up."""
        own = self.run.write_config(service, self.values(service) | spoiled)
        return run_module(f"services.{service}", *config_arguments(service, own))


def run_module(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a module of ours to its end."""
    return subprocess.run(
        [PYTHON, "-m", module, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def assert_one_line(shown: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Check the exit code, and that standard error says it in its one line that is no log."""
    assert shown.returncode == code, shown.stderr
    lines = [line for line in shown.stderr.splitlines() if not is_log(line)]
    assert len(lines) == 1, shown.stderr
    for word in words:
        assert word in lines[0]


def is_log(line: str) -> bool:
    """Return whether a line is one of a service's structured log."""
    return line.startswith('{"service"') and "Traceback" not in line and bool(json.loads(line))


@contextmanager
def taken_port() -> Iterator[int]:
    """Listen on a port for a while."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


@pytest.fixture
def bench(tmp_path: Path, nats: NatsRig) -> Bench:
    return Bench(tmp_path, nats)


@pytest.mark.parametrize("service", [Service.FEEDS, Service.BROKER, Service.REPORTING])
def test_unknown_key(bench: Bench, service: Service) -> None:
    shown = bench.start(service, hartbeat_s=5)
    assert_one_line(shown, BAD_CONFIG, f"{service}.yaml", "hartbeat_s", "expected a known key")


def test_missing_files(bench: Bench) -> None:
    shown = run_module("services.risk", "--config", str(bench.run.root / "none.yaml"))
    assert_one_line(shown, BAD_CONFIG, "none.yaml", "expected a YAML file", "No such file")
    shown = bench.start(Service.BROKER, nats_password_file=str(bench.run.root / "none"))
    assert_one_line(shown, BAD_CONFIG, "nats_password_file", "expected a readable file", "none")


def test_no_nats_there(bench: Bench) -> None:
    with taken_port() as port:
        pass
    shown = bench.start(Service.PRICER, nats_url=f"nats://127.0.0.1:{port}")
    assert_one_line(shown, OPERATING, str(port))


def test_wrong_nats_password(bench: Bench) -> None:
    wrong = bench.run.write_secret("wrong.password", "not-the-password")
    shown = bench.start(Service.MONITORS, nats_password_file=str(wrong))
    assert_one_line(shown, OPERATING, "monitors")
    assert "not-the-password" not in shown.stderr


@pytest.mark.parametrize(
    ("service", "key"),
    [(Service.MONITORS, "admin_port"), (Service.REPORTING, "metrics_port")],
)
def test_busy_port(bench: Bench, service: Service, key: str) -> None:
    with taken_port() as port:
        shown = bench.start(service, **{key: port})
    assert_one_line(shown, BAD_CONFIG, key, "expected a free port", str(port))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda key: key.chmod(0o640), "0640"),
        (lambda key: key.unlink(), "found none"),
        (lambda key: key.write_text("no key at all\n"), "expected a PEM private key"),
    ],
)
def test_exchange_key_that_cannot_be_used(bench: Bench, spoil: Any, said: str) -> None:
    spoil(bench.run.secrets / "exchange-key.pem")
    assert_one_line(bench.start(Service.BROKER), BAD_CONFIG, "key_file", said)


def test_streams_that_were_never_provisioned(bench: Bench, tmp_path: Path) -> None:
    empty = NatsRig(tmp_path / "empty")
    empty.start()
    try:
        shown = bench.start(Service.RISK, nats_url=empty.url)
    finally:
        empty.kill()
    assert_one_line(shown, OPERATING, "stream", "run provision")


def test_provision_with_a_wrong_password(bench: Bench) -> None:
    wrong = bench.run.write_secret("wrong.password", "not-the-password")
    words = ("--url", bench.nats.url, "--password-file", str(wrong))
    assert_one_line(run_module("libs.common.provision", *words), 1, str(Service.PROVISION))


def test_no_nats_server_program(home: Home, tmp_path: Path) -> None:
    """The same Python seen through a link in an empty folder has no server beside it."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.symlink_to(PYTHON)
    site = Path(PYTHON).parents[1]
    shutil.copy(site / "pyvenv.cfg", tmp_path / "pyvenv.cfg")
    (tmp_path / "lib").symlink_to(site / "lib")
    shown = subprocess.run(
        [str(python), "-c", "from cli.main import main; main()", "demo", "--speed", "60"],
        env=home.environment({"PATH": "", "PYTHONPATH": str(ROOT)}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert_one_line(shown, BAD_CONFIG, "nats-server: expected the program", "install")
    assert home.nothing_runs(1)


def test_home_that_cannot_be_written(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for words in (("demo",), ("up",)):
        shown = home.alpha(*words, extra={"ALPHA_HOME": str(tmp_path / "file")})
        assert_one_line(shown, BAD_CONFIG, "run directory: expected to write in")
    assert home.nothing_runs(1)


def test_wrong_admin_token(home: Home, bench: Bench) -> None:
    """The broker refuses the call; the command says so in one line."""
    run = RunDirectory.create(home.root / "up")
    ports = asyncio.run(serve_and_ask(bench, run, home))
    assert_one_line(ports, OPERATING, "UNAUTHENTICATED", "expected the run's admin token")


async def serve_and_ask(
    bench: Bench, run: RunDirectory, home: Home
) -> subprocess.CompletedProcess[str]:
    """Serve an admin endpoint whose token is another than the run's; ask it for its state."""
    from libs.common.admin import AdminServer

    server = AdminServer("127.0.0.1", 0, "the-right-token", ())
    await server.start()
    await server.set_serving(True)
    run.write_secret("admin.token", "a-wrong-token")
    keeper = await asyncio.create_subprocess_exec(
        PYTHON, "-c", "import signal; signal.pause()", "alpha-keeper"
    )
    try:
        run.write_state(
            {
                "supervisor_pid": keeper.pid,
                "admin": dict.fromkeys(SERVICES, server.port),
                "processes": [],
            }
        )
        return await asyncio.to_thread(home.alpha, "kill-switch", "status")
    finally:
        keeper.kill()
        await keeper.wait()
        await server.close()


def test_a_service_leaves_nothing_behind(bench: Bench) -> None:
    before = {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}
    bench.start(Service.REPORTING, admin_token_file=str(bench.run.root / "none"))
    after = {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}
    assert after <= before
    assert not list(bench.run.root.glob("ledger/lock"))


@pytest.mark.slow
def test_up_with_a_key_that_others_can_read(home: Home) -> None:
    """A service that keeps dying ends the start, with its own last words."""
    run = RunDirectory.create(home.root / "up")
    key = run.secrets / "exchange-key.pem"
    write_exchange_key(run, KEY_ID, key)
    key.chmod(0o640)
    shown = home.alpha("up")
    assert_one_line(shown, OPERATING, "could not start", "broker keeps dying", "0640")
    assert home.nothing_runs(5)
    assert run.read_state() is None
